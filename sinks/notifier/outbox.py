"""Messages to send: how they are asked for and kept, and who has heard of an incident.

What is due and what became of each attempt is in `dispatch`; what is held back, in `holding`.
"""

import uuid
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.incidents import Delivery, DeliveryStatus, FailureClass
from sinks.database import insert
from sinks.notifier.channels.channel import Message
from sinks.notifier.family import TOLD_WITH
from sinks.notifier.tables import message, thread

UNSENT = ("waiting", "sending")
_NAMESPACE = uuid.UUID("6a0b5f0e-54f3-5c0c-9f4e-0d2a6f1a7c11")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A message with what the outbox knows of it. `attempts` are those that failed."""

    content: Message
    channel: str
    rule: str
    asked_ms: int
    recorded_ms: int
    detection_delay_ms: int | None
    attempts: int = 0

    def delivery(
        self,
        status: DeliveryStatus,
        time_ms: int,
        *,
        attempt: int = 0,
        failure: FailureClass | None = None,
        detail: str = "",
        seconds_to_communicate: float | None = None,
    ) -> Delivery:
        """The record of one step in this message's life."""
        return Delivery(
            message_id=self.content.id,
            event_id=self.content.event_id,
            incident_id=self.content.incident_id,
            status=status,
            time_ms=time_ms,
            recipient=self.content.recipient,
            audience=self.content.audience,
            channel=self.channel,
            rule=self.rule,
            subject=self.content.subject,
            attempt=attempt,
            failure=failure,
            detail=detail,
            seconds_to_communicate=seconds_to_communicate,
        )


class Placed(NamedTuple):
    """An entry with what is done with it: `waiting` to be sent, `held` until a time, `withheld`."""

    entry: Entry
    state: Literal["waiting", "held", "withheld"] = "waiting"
    detail: str = ""
    hold_until_ms: int | None = None


def message_id(event_id: str, recipient: str, channel: str, key: str = "") -> str:
    """Follows from what the message is about, so that every attempt carries the same id.

    `key` tells messages about one event to one recipient apart.
    """
    parts = (event_id, recipient, channel, key) if key else (event_id, recipient, channel)
    return id_from(*parts)


def after_failed(channel: str) -> str:
    """What stands by a message that goes by its next way, since one has failed."""
    return f"after {channel} failed"


def id_from(*parts: str) -> str:
    """The same id for the same parts, on every machine."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join(parts)))


async def add(connection: AsyncConnection, placed: Sequence[Placed]) -> None:
    """Keeps messages; one whose id is known already is the same and changes nothing."""
    if placed:
        statement = insert(connection, message).on_conflict_do_nothing(
            index_elements=["message_id"]
        )
        await connection.execute(statement, [_row(each) for each in placed])


def _row(placed: Placed) -> dict[str, str | int | bytes | None]:
    entry, content = placed.entry, placed.entry.content
    return {
        "message_id": content.id,
        "event_id": content.event_id,
        "incident_id": content.incident_id,
        "stage": content.stage,
        "recipient": content.recipient,
        "audience": content.audience,
        "channel": entry.channel,
        "rule": entry.rule,
        "subject": content.subject,
        "content": msgspec.json.encode(content),
        "state": placed.state,
        "kind": content.kind,
        "severity": content.severity,
        "hold_until_ms": placed.hold_until_ms,
        "hold_reason": placed.detail if placed.state == "held" else "",
        "cancelled": "",
        "tries": 0,
        "further_ways": len(content.ways),
        "asked_ms": entry.asked_ms,
        "recorded_ms": entry.recorded_ms,
        "detection_delay_ms": entry.detection_delay_ms,
        "attempts": 0,
        "next_attempt_ms": entry.asked_ms,
        "detail": placed.detail,
    }


async def told(connection: AsyncConnection, incident_id: str) -> dict[str, str]:
    """Who was told of the incident, or is about to be, with the rule by which first."""
    return {name: rule for name, (rule, _) in (await heard(connection, incident_id)).items()}


async def heard(connection: AsyncConnection, incident_id: str) -> dict[str, tuple[str, bool]]:
    """Who was told of the incident, or is about to be: the rule by which first, and whether
    anything of it is more than held back. Who knows of it from another incident was told, too."""
    states = (*UNSENT, "sent", "held", "digested")
    is_known = sa.and_(message.c.state == "withheld", message.c.detail.startswith(TOLD_WITH))
    query = (
        sa.select(message.c.recipient, message.c.rule, message.c.state)
        .where(
            message.c.incident_id == incident_id,
            sa.or_(message.c.state.in_(states), is_known),
        )
        .order_by(message.c.seq)
    )
    found: dict[str, tuple[str, bool]] = {}
    for row in await connection.execute(query):
        rule, before = found.get(row.recipient, (row.rule, False))
        found[row.recipient] = (rule, before or row.state != "held")
    return found


async def overtake(connection: AsyncConnection, incident_id: str, recipient: str) -> list[Entry]:
    """Withholds updates that were never tried and that a newer message makes idle."""
    where = (
        message.c.incident_id == incident_id,
        message.c.recipient == recipient,
        message.c.state == "waiting",
        message.c.stage == "updated",
        message.c.attempts == 0,
    )
    entries = [entry_of(row) for row in await connection.execute(sa.select(message).where(*where))]
    if entries:
        change = message.update().where(*where)
        await connection.execute(change.values(state="withheld", detail="overtaken"))
    return entries


async def overtake_about(connection: AsyncConnection, prefix: str, recipient: str) -> list[Entry]:
    """Withholds what a recipient has not been told yet of that whose events begin so."""
    where = (
        message.c.event_id.startswith(prefix, autoescape=True),
        message.c.recipient == recipient,
        message.c.state.in_(("waiting", "held")),
        message.c.attempts == 0,
    )
    entries = [entry_of(row) for row in await connection.execute(sa.select(message).where(*where))]
    if entries:
        change = message.update().where(*where)
        await connection.execute(change.values(state="withheld", detail="overtaken"))
    return entries


async def is_known(connection: AsyncConnection, event_id: str) -> bool:
    """Whether there is a message, also a withheld one, about an event."""
    query = sa.select(message.c.seq).where(message.c.event_id == event_id).limit(1)
    return (await connection.execute(query)).first() is not None


async def count_as_pages(connection: AsyncConnection, message_ids: Sequence[str]) -> None:
    """News that is a page, too: what takes back pages takes it back, as long as it is not sent."""
    change = message.update().where(message.c.message_id.in_(message_ids))
    await connection.execute(change.values(kind="page"))


async def forget(connection: AsyncConnection, before_ms: int) -> None:
    """Drops what was asked for before a time and is over, with threads that nothing is left of."""
    kept = (*UNSENT, "held", "digested")
    old = sa.and_(message.c.asked_ms < before_ms, message.c.state.not_in(kept))
    await connection.execute(message.delete().where(old))
    is_used = sa.exists().where(message.c.incident_id == thread.c.incident_id)
    await connection.execute(thread.delete().where(~is_used))


async def find(connection: AsyncConnection, event_id: str, recipient: str) -> Sequence[Entry]:
    """The messages that told a recipient of an event."""
    query = sa.select(message).where(
        message.c.event_id == event_id, message.c.recipient == recipient
    )
    return [entry_of(row) for row in await connection.execute(query)]


def entry_of(row: sa.Row[tuple[object, ...]]) -> Entry:
    """A row of the table, as it was kept."""
    return Entry(
        content=msgspec.json.decode(row.content, type=Message),
        channel=row.channel,
        rule=row.rule,
        asked_ms=row.asked_ms,
        recorded_ms=row.recorded_ms,
        detection_delay_ms=row.detection_delay_ms,
        attempts=row.attempts,
    )
