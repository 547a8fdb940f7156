"""`tocsin preview`: every message that an incident leads to, before anybody gets it."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from jinja2 import TemplateError
from rich.console import Console
from rich.markup import escape

from deploy.commands.explain import NoStory, story_of
from deploy.configuration import load
from deploy.console import new_console
from schemas.configuration import Configuration
from schemas.incidents import Incident, IncidentEvent
from schemas.reading import UNREADABLE, said
from sinks.disclosure import leaks
from sinks.notifier.language import languages
from sinks.notifier.preview import Preview, previews
from sinks.notifier.sandbox import described
from sinks.notifier.words import Writer


def run_preview(
    incident: str | None,
    *,
    config: Path | None,
    source: Path | None,
    json: Path | None,
    language: str | None,
    audience: str | None,
    time_zone: str,
) -> int:
    """Prints the messages; returns 1 if a customer would read something internal, else 0.

    Returns 2 where there is no such incident or a template does not work.
    """
    configuration = load(config)
    try:
        found = list(_incidents(configuration, incident, source))
        writer = Writer(configuration.catalogue, configuration.notifier.templates)
        shown = [
            made
            for one in found
            for made in rendered(
                configuration, one, language=language, time_zone=time_zone, writer=writer
            )
            if audience is None or made.audience.startswith(audience)
        ]
    except TemplateError as error:
        print(f"tocsin preview: {described(error)}", file=sys.stderr)
        return 2
    except (NoStory, ValueError, LookupError, OSError) as error:
        print(f"tocsin preview: {said(error)}", file=sys.stderr)
        return 2
    if json is not None:
        json.write_bytes(b"".join(msgspec.json.encode(made) + b"\n" for made in shown))
    console = new_console()
    if json is None or incident is not None:
        for made in shown:
            _print(console, made)
    told = internal(configuration, found, shown)
    for line in told:
        console.print(f"[red]mend[/]  {escape(line)}", soft_wrap=True)
    console.print(f"{_count(shown, 'message')} about {_count(found, 'incident')}")
    return 1 if told else 0


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def rendered(
    configuration: Configuration,
    incident: Incident,
    *,
    language: str | None = None,
    time_zone: str = "UTC",
    writer: Writer | None = None,
) -> Iterator[Preview]:
    """All messages about an incident. Raises jinja2.TemplateError, and ValueError for a language
    or a zone that there is not."""
    section = configuration.notifier
    asked = (language,) if language else spoken(configuration)
    return previews(
        incident,
        configuration.catalogue,
        writer or Writer(configuration.catalogue, section.templates),
        languages=asked,
        time_zone=time_zone,
        cadence=section.cadence,
    )


def spoken(configuration: Configuration) -> tuple[str, ...]:
    """The languages that ship, and those of the recipients."""
    theirs = (recipient.language for recipient in configuration.notifier.recipients)
    return tuple(dict.fromkeys((*languages(), *theirs)))


def internal(
    configuration: Configuration, incidents: Sequence[Incident], shown: Sequence[Preview]
) -> list[str]:
    """What is internal in messages to customers, a line for each name, however often it is read."""
    return lines_about(internal_names(configuration, incidents, shown))


def internal_names(
    configuration: Configuration, incidents: Sequence[Incident], shown: Iterable[Preview]
) -> dict[str, list[str]]:
    """What is internal in messages to customers, and which messages have it."""
    known = {incident.id: incident for incident in incidents}
    found: dict[str, list[str]] = {}
    for made in shown:
        if not made.audience.startswith("customer"):
            continue
        where = f"{made.language}, {made.audience}, {made.type} of {made.incident_id}"
        text = f"{made.subject}\n{made.text}"
        for name in leaks(text, known[made.incident_id], configuration.catalogue):
            found.setdefault(name, []).append(where)
    return found


def lines_about(found: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each internal name: its first place, and in how many more messages it stands."""
    lines = []
    for name, places in sorted(found.items()):
        more = f" (and {_count(places[1:], 'message')} more)" if len(places) > 1 else ""
        lines.append(f"{places[0]}{more}: names {name}, which no customer is to read")
    return lines


def read_incidents(path: Path) -> list[Incident]:
    """The incidents of a file that `tocsin replay --json` wrote, or the last ones of its log.

    Raises ValueError with the line that cannot be read, and OSError.
    """
    found: dict[str, Incident] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            made = _incident_in(line)
        except UNREADABLE as error:
            raise ValueError(
                f"{path}:{number}: {error}; give a file written by `tocsin replay --json`"
            ) from error
        found[made.id] = made
    return list(found.values())


def _incident_in(line: bytes) -> Incident:
    try:
        return msgspec.json.decode(line, type=Incident)
    except msgspec.ValidationError:
        if b'"incident":' not in line:
            raise
        return msgspec.json.decode(line, type=IncidentEvent).incident


def _incidents(
    configuration: Configuration, incident: str | None, source: Path | None
) -> Iterator[Incident]:
    if source is None:
        if incident is None:
            raise NoStory("name an incident, or a file of incidents with --from")
        yield story_of(configuration.case_store, incident).events[-1].incident
        return
    found = read_incidents(source)
    if incident is None:
        yield from found
        return
    one = next((made for made in found if made.id == incident), None)
    if one is None:
        known = ", ".join(made.id for made in found) or "none"
        raise NoStory(f"{source} holds no incident {incident}; it holds {known}")
    yield one


def _print(console: Console, made: Preview) -> None:
    head = f"{made.incident_id}  {made.stage} ({made.type})  to {made.audience} in {made.language}"
    if made.sample:
        head += "  (what a person writes is a sample)"
    console.rule(escape(head), align="left", style="dim")
    console.print(f"[bold]{escape(made.subject)}[/]\n", soft_wrap=True)
    console.print(escape(made.text) + "\n", soft_wrap=True)
