"""`tocsin why`: why somebody was told of an incident, or was not, step by step."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from deploy.configuration import load
from deploy.console import new_console
from deploy.credentials import SecretError, resolve
from schemas.configuration import Configuration, Recipient
from schemas.incidents import Delivery, Incident, IncidentEvent
from schemas.printable import one_line
from schemas.times import stamp
from sinks.database import Database, StoreError
from sinks.notifier import tables
from sinks.notifier.intake import router_of
from sinks.notifier.people import People
from sinks.notifier.store import Taken, read_incident, read_taken, read_trail
from sinks.notifier.verdicts import Verdict, verdict, why_not

_SAID = {
    "delivered": "[green]told[/]",
    "on_its_way": "[yellow]is being told[/]",
    "held": "[yellow]held back[/]",
    "failed": "[red]could not be reached[/]",
    "withheld": "[yellow]not told[/]",
    "not_concerned": "[yellow]not told[/]",
}


class Story(msgspec.Struct, frozen=True):
    """What the notifier's store knows of one incident."""

    incident: Incident
    taken: tuple[Taken, ...]
    trail: tuple[Delivery, ...]


class NoStory(Exception):  # noqa: N818 - reads as what happened
    """There is nothing to tell; says why."""


def run_why(incident: str, *, who: str, config: Path | None, json: Path | None) -> int:
    """Prints one verdict an event, with every step; 1 if there is nothing to tell, 2 if nobody has
    that name or address."""
    configuration = load(config)
    people = People(configuration)
    recipient = people.known(who)
    if recipient is None:
        known = ", ".join(sorted(people.recipients))
        print(f"{who!r} is no recipient's name or address; there are {known}", file=sys.stderr)
        return 2
    try:
        story = asyncio.run(_read(configuration, incident))
    except NoStory as error:
        print(error, file=sys.stderr)
        return 1
    verdicts = verdicts_of(configuration, people, recipient, story)
    _show(new_console(), story, recipient, verdicts)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(verdicts), indent=2))
    return 0


def verdicts_of(
    configuration: Configuration, people: People, recipient: Recipient, story: Story
) -> list[Verdict]:
    """One verdict for each event of the incident."""
    router = router_of(configuration)
    found = []
    told: dict[str, str] = {}
    for taken in story.taken:
        event = _event(story.incident, taken)

        def reasons(event: IncidentEvent = event, taken: Taken = taken) -> Sequence[str]:
            return why_not(
                router,
                event,
                recipient,
                told,
                lambda schedule: people.on_call(schedule, taken.taken_ms),
            )

        made = verdict(taken.event_id, recipient.name, story.trail, reasons)
        if made.outcome == "delivered":
            told[recipient.name] = made.rule
        found.append(made)
    return found


async def _read(configuration: Configuration, incident_id: str) -> Story:
    section = configuration.notifier
    where = section.store
    try:
        password = (
            resolve(section.store_password, "notifier.store_password")
            if section.store_password
            else None
        )
        database = Database(tables.SCHEMA, where, password)
        if not _is_there(database):
            raise NoStory(f"notifier.store: {where} is not there; has the notifier run with it?")
        try:
            async with database.reading() as connection:
                incident = await read_incident(connection, incident_id)
                taken = await read_taken(connection, incident_id)
                trail = await read_trail(connection, incident_id)
        finally:
            await database.close()
    except (SecretError, StoreError, SQLAlchemyError, OSError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise NoStory(f"notifier.store: {where} cannot be read: {reason}") from error
    if incident is None:
        raise NoStory(f"the notifier knows no incident {incident_id}")
    return Story(incident, tuple(taken), tuple(trail))


def _is_there(database: Database) -> bool:
    """Whether there is a store to look into: opening SQLite would make an empty one."""
    return database.dialect != "sqlite" or Path(database.url.database or "").exists()


def _event(incident: Incident, taken: Taken) -> IncidentEvent:
    """The event as far as it decided who was told."""
    then = msgspec.structs.replace(
        incident,
        severity=taken.severity,
        services=taken.services,
        state=taken.state,
        visibility=taken.visibility,
        acknowledged_by=taken.acknowledged_by,
        silenced_by=taken.silenced_by,
    )
    return IncidentEvent(
        incident_id=incident.id,
        version=int(taken.event_id.rpartition("/")[2]),
        type=taken.type,
        time_ms=taken.time_ms,
        actor=taken.actor,
        text="",
        incident=then,
    )


def _show(
    console: Console, story: Story, recipient: Recipient, verdicts: Sequence[Verdict]
) -> None:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    incident = story.incident
    say(f"[bold]{escape(incident.id)}[/] {incident.severity} {escape(one_line(incident.title))}")
    whom = f"{recipient.name} ({recipient.audience}, {recipient.channel})"
    say(f"for {escape(whom)}; wall time, UTC")
    for taken, made in zip(story.taken, verdicts, strict=True):
        kind = taken.type.replace("_", " ")
        rule = f" by rule {escape(made.rule)}" if made.rule else ""
        say(f"{stamp(taken.taken_ms)}  {kind} ({taken.severity}): {_SAID[made.outcome]}{rule}")
        for step in made.steps:
            by = f"{escape(step.channel)}, rule {escape(step.rule)}"
            say(f"  {stamp(step.time_ms)}  {step.step:<12} {by}: {escape(one_line(step.detail))}")
        for reason in made.reasons if made.outcome == "not_concerned" else ():
            say(f"  {'':19}  {'not routed':<12} {escape(reason)}")
