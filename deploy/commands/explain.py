"""`tocsin explain`: why an incident was opened, how it was graded, and who was told."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import msgspec

from deploy.configuration import load
from deploy.console import put
from deploy.credentials import SecretError, resolve
from schemas.configuration import CaseStore
from schemas.incidents import Delivery, EventType, Incident, IncidentEvent
from schemas.printable import one_line
from schemas.reading import UNREADABLE, said
from schemas.times import stamp
from streams.explain import explain

TIMEOUT_SECONDS = 10

T = TypeVar("T", bound=msgspec.Struct)


class Story(NamedTuple):
    """What is told of one incident."""

    events: tuple[IncidentEvent, ...]
    deliveries: tuple[Delivery, ...]


class Entry(msgspec.Struct, frozen=True):
    """An event as the case store's timeline has it: with the incident where that matters."""

    version: int
    type: EventType
    time_ms: int
    actor: str
    text: str
    changes: dict[str, str]
    incident: Incident | None


class Timeline(msgspec.Struct, frozen=True):
    """`/api/v1/cases/INC-…/timeline`."""

    events: tuple[Entry, ...]
    deliveries: tuple[Delivery, ...]


class Case(msgspec.Struct, frozen=True):
    """`/api/v1/cases/INC-…`."""

    incident: Incident


class NoStory(Exception):  # noqa: N818 - reads as what happened
    """There is nothing to tell; says why and where else to look."""


def run_explain(incident: str, *, config: Path | None, log: Path | None) -> int:
    """Prints the story of one incident; returns the exit code."""
    try:
        if log is not None:
            story = Story(_from_log(log, incident), ())
        else:
            story = story_of(load(config).case_store, incident)
    except NoStory as error:
        put(str(error), sys.stderr)
        return 1
    put(explain(story.events))
    if log is None:
        put(told(story.deliveries))
    return 0


def told(deliveries: Sequence[Delivery]) -> str:
    """Who was told, over which channel, and how that went."""
    lines = [
        f"  {stamp(step.time_ms)}  {step.status:<12} {step.recipient} ({step.audience}) by "
        f"{step.channel}, rule {step.rule}: {one_line(step.detail or step.subject)}"
        for step in sorted(deliveries, key=lambda step: (step.time_ms, step.id))
        if step.status != "asked"
    ]
    return "\n".join(["Who was told (wall time, UTC)", *(lines or ["  nobody"])])


def _from_log(path: Path, incident: str) -> tuple[IncidentEvent, ...]:
    decoder = msgspec.json.Decoder(IncidentEvent)
    try:
        events = tuple(decoder.decode(line) for line in path.read_bytes().splitlines())
    except (OSError, *UNREADABLE) as error:
        raise NoStory(
            f"{said(error, path)}; give a log written by `tocsin replay --events`"
        ) from error
    found = tuple(event for event in events if event.incident_id == incident)
    if not found:
        known = ", ".join(dict.fromkeys(event.incident_id for event in events)) or "none"
        raise NoStory(f"{path} holds no incident {incident}; it holds {known}")
    return found


def story_of(section: CaseStore, incident: str) -> Story:
    """What the case store tells of an incident. Raises `NoStory`."""
    address = f"/api/v1/cases/{quote(incident, safe='')}"
    access = _access(section)
    timeline = _get(section.public_url, f"{address}/timeline", incident, Timeline, access)
    if not timeline.events:
        raise NoStory(f"the case store has no events of {incident} yet")
    latest = _get(section.public_url, address, incident, Case, access).incident
    return Story(tuple(_events(timeline.events, latest)), timeline.deliveries)


class Access(NamedTuple):
    """The token that is sent, if there is one, and why there is none."""

    token: str | None
    missing: str


def _access(section: CaseStore) -> Access:
    """The first token that can be read; where reading is open, it works without any."""
    missing = ["set case_store.read_token"]
    secrets = (("read_token", section.read_token), ("token", section.token))
    for name, secret in secrets:
        try:
            if secret is not None:
                return Access(resolve(secret, f"case_store.{name}"), "")
        except SecretError as error:
            missing.append(str(error))
    return Access(None, "; ".join(missing[1:] or missing))


def _events(entries: Sequence[Entry], latest: Incident) -> Iterator[IncidentEvent]:
    """The log anew: what is not said of a state is the state that was said last."""
    known = entries[0].incident or latest
    for entry in entries:
        known = latest if entry is entries[-1] else entry.incident or known
        yield IncidentEvent(
            incident_id=latest.id,
            version=entry.version,
            type=entry.type,
            time_ms=entry.time_ms,
            actor=entry.actor,
            text=entry.text,
            changes=entry.changes,
            incident=known,
        )


def _get(public_url: str, address: str, incident: str, kind: type[T], access: Access) -> T:
    """A document of the case store. Raises `NoStory`."""
    url = public_url.rstrip("/") + address
    request = Request(url)  # noqa: S310 - from the configuration
    if access.token is not None:
        # Unredirected: a token is for the case store alone, wherever that may point to.
        request.add_unredirected_header("Authorization", f"Bearer {access.token}")
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
            return msgspec.json.decode(answer.read(), type=kind)
    except HTTPError as error:
        if error.code == 404:
            raise NoStory(f"the case store knows no incident {incident}") from error
        if error.code == 401:
            why = access.missing or "the one in this configuration is not the case store's"
            raise NoStory(f"the case store wants a token: {why}") from error
        raise NoStory(f"{url} answers {error.code}") from error
    except UNREADABLE as error:
        raise NoStory(
            f"{url} answers something else than a case store of this version ({error}): is "
            f"case_store.public_url right?"
        ) from error
    except (URLError, OSError) as error:
        raise NoStory(
            f"the case store does not answer at {public_url} ({error}): is it running, and is "
            f"case_store.public_url right?"
        ) from error
