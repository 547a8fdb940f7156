"""The part of `tocsin check` that fills every template, so that none fails in an outage."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from jinja2 import TemplateError

from deploy.commands.preview import internal_names, lines_about, read_incidents, rendered
from schemas.configuration import Configuration, Recipient
from schemas.incidents import Incident
from schemas.silences import Silence, SilenceEvent
from sinks.notifier.language import FOLDER, Language
from sinks.notifier.messages import Ask, Digest, HandOver, Held, SilenceNotice
from sinks.notifier.preview import event_at
from sinks.notifier.sandbox import described
from sinks.notifier.silences import extend_command
from sinks.notifier.words import NOTICES, Writer

RECORDED = Path(__file__).parent.parent / "examples" / "incidents.jsonl"
"""Incidents of three recorded faults, as `tocsin replay --json` writes them."""
ENDINGS = (".j2", ".toml")

Wrong = tuple[str, str]
"""What was looked at, and how to mend it."""


def broken_templates(configuration: Configuration) -> Iterator[Wrong]:
    """Every template that cannot be filled, tells customers something internal, or has a name
    that nothing asks for."""
    folder = configuration.notifier.templates
    if folder is not None:
        if not Path(folder).is_dir():
            yield "notifier.templates", f"{folder} is no folder"
            return
        yield from _strangers(Path(folder))
    recorded = read_incidents(RECORDED)
    writer = Writer(configuration.catalogue, folder)
    told: dict[str, list[str]] = {}
    for about in (*recorded, _as_ours(recorded[0], configuration)):
        yield from _fill(configuration, about, writer, told)
    for line in lines_about(told):
        yield "notifier templates", line
    yield from _notices(configuration, recorded[0], writer)


def _fill(
    configuration: Configuration, incident: Incident, writer: Writer, told: dict[str, list[str]]
) -> Iterator[Wrong]:
    """What cannot be filled; what tells something internal is added to `told`."""
    try:
        made = list(rendered(configuration, incident, writer=writer))
    except (TemplateError, OSError, ValueError, LookupError) as error:
        yield "notifier templates", described(error)
        return
    for name, places in internal_names(configuration, [incident], made).items():
        told.setdefault(name, []).extend(places)


def _notices(configuration: Configuration, incident: Incident, writer: Writer) -> Iterator[Wrong]:
    """Digests, hand-overs and what asks somebody for something, in the recipients' languages."""
    for recipient in configuration.notifier.recipients:
        try:
            _write_notices(writer, recipient, incident)
        except (TemplateError, OSError, ValueError, LookupError) as error:
            yield f"notices to {recipient.name}", described(error)


def _write_notices(writer: Writer, recipient: Recipient, incident: Incident) -> None:
    event = event_at(incident, "updated", "en")
    for kind in sorted(NOTICES):
        ask = Ask(stage="updated", kind=kind, recipient=recipient, rule="check", event=event)
        writer.write(ask)
    held = Held(
        message_id="",
        incident_id=incident.id,
        stage="opened",
        severity="P3",
        subject=incident.title,
        asked_ms=event.time_ms,
        reason="limit",
    )
    writer.digest(
        Digest(
            recipient=recipient,
            rule="check",
            items=(held,),
            count=1,
            incidents=1,
            first_ms=event.time_ms,
            last_ms=event.time_ms,
        )
    )
    for comes_on in (True, False):
        writer.hand_over(
            HandOver(
                recipient=recipient,
                schedule="check",
                comes_on=comes_on,
                other=None,
                time_ms=event.time_ms,
                until_ms=None,
                open_incidents=(incident.title,),
            )
        )
    for what in ("ending", "ended"):
        writer.silence(_silence_notice(recipient, incident, what))


def _silence_notice(
    recipient: Recipient, incident: Incident, what: Literal["ending", "ended"]
) -> SilenceNotice:
    silence = Silence(
        id="check",
        matchers=("service=check",),
        starts_ms=incident.opened_ms,
        ends_ms=incident.opened_ms + 3_600_000,
        author=recipient.name,
    )
    event = SilenceEvent(
        type=what,
        environment=incident.environment,
        silence=silence,
        time_ms=silence.ends_ms,
        incidents=(incident.id,),
    )
    return SilenceNotice(
        recipient=recipient,
        rule="check",
        event=event,
        is_author=True,
        name=silence.id,
        extend=extend_command(event),
    )


def _strangers(folder: Path) -> Iterator[Wrong]:
    """Files whose names nothing asks for: most often a slip of the pen."""
    shipped = {file.relative_to(FOLDER / "en").as_posix() for file in FOLDER.glob("en/**/*.*")}
    for file in sorted(folder.rglob("*")):
        if file.suffix not in ENDINGS or file.name.startswith("_"):
            continue
        language, _, name = file.relative_to(folder).as_posix().partition("/")
        whole = name.replace(f".{_type_of(file)}.", ".") if _type_of(file) else name
        if not _is_language(language):
            yield str(file), f"{language} is no language; templates are <language>/<audience>/…"
        elif whole not in shipped:
            near = difflib.get_close_matches(whole, sorted(shipped), 1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(sorted(shipped))}"
            yield str(file), f"nothing asks for a template of this name; {hint}"


def _type_of(file: Path) -> str:
    """`reopened` of `acknowledgement.reopened.j2`."""
    return file.suffixes[0].removeprefix(".") if len(file.suffixes) == 2 else ""


def _is_language(code: str) -> bool:
    try:
        Language(code)
    except ValueError:
        return False
    return True


def _as_ours(incident: Incident, configuration: Configuration) -> Incident:
    """The incident as if it had happened to services of this catalogue."""
    ours = [s.name for s in configuration.catalogue.services if s.public_name]
    names = dict(zip(incident.services, ours, strict=False))
    if not names:
        return incident
    replace = msgspec.structs.replace
    return replace(
        incident,
        services=tuple(names.values()),
        signals=tuple(
            replace(signal, service=names.get(signal.service, signal.service))
            for signal in incident.signals
        ),
    )
