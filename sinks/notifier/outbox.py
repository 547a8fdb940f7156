"""Messages to send: how they are kept, which are due, and what became of them.

A lane is one recipient in one incident. Within a lane messages go out in the order in which
they were asked for: while one waits, also for its next attempt, the later ones wait behind it.
"""

import uuid
from collections.abc import Collection, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.incidents import Delivery, DeliveryStatus, FailureClass
from sinks.database import upsert
from sinks.notifier.channels.channel import Message
from sinks.notifier.tables import message, pause, thread

_UNSENT = ("waiting", "sending")
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


def message_id(event_id: str, recipient: str, channel: str) -> str:
    """Follows from what the message is about, so that every attempt carries the same id."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join((event_id, recipient, channel))))


async def add(connection: AsyncConnection, entries: Sequence[tuple[Entry, str | None]]) -> None:
    """Keeps messages, each to be sent or, if there is a reason beside it, as withheld."""
    if entries:
        rows = [_row(entry, withheld) for entry, withheld in entries]
        await connection.execute(message.insert(), rows)


def _row(entry: Entry, withheld: str | None) -> dict[str, str | int | bytes | None]:
    content = entry.content
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
        "state": "waiting" if withheld is None else "withheld",
        "asked_ms": entry.asked_ms,
        "recorded_ms": entry.recorded_ms,
        "detection_delay_ms": entry.detection_delay_ms,
        "attempts": 0,
        "next_attempt_ms": entry.asked_ms,
        "detail": withheld or "",
    }


async def told(connection: AsyncConnection, incident_id: str) -> dict[str, str]:
    """Who was told of the incident, or is about to be, with the rule by which first."""
    query = (
        sa.select(message.c.recipient, message.c.rule)
        .where(message.c.incident_id == incident_id, message.c.state.in_((*_UNSENT, "sent")))
        .order_by(message.c.seq)
    )
    rules: dict[str, str] = {}
    for row in await connection.execute(query):
        rules.setdefault(row.recipient, row.rule)
    return rules


async def overtake(connection: AsyncConnection, incident_id: str, recipient: str) -> list[Entry]:
    """Withholds updates that were never tried and that a newer message makes idle."""
    where = (
        message.c.incident_id == incident_id,
        message.c.recipient == recipient,
        message.c.state == "waiting",
        message.c.stage == "updated",
        message.c.attempts == 0,
    )
    entries = [_entry(row) for row in await connection.execute(sa.select(message).where(*where))]
    if entries:
        change = message.update().where(*where)
        await connection.execute(change.values(state="withheld", detail="overtaken"))
    return entries


async def claim_due(
    connection: AsyncConnection, channel: str, now_ms: int, limit: int
) -> list[Entry]:
    """Claims the first message of each lane whose time has come; with the thread it follows."""
    earlier = message.alias()
    is_behind = sa.exists().where(
        earlier.c.incident_id == message.c.incident_id,
        earlier.c.recipient == message.c.recipient,
        earlier.c.state.in_(_UNSENT),
        earlier.c.seq < message.c.seq,
    )
    first = (
        sa.select(message.c.seq)
        .where(
            message.c.state == "waiting",
            message.c.channel == channel,
            message.c.next_attempt_ms <= now_ms,
            ~is_behind,
        )
        .order_by(message.c.next_attempt_ms, message.c.seq)
        .limit(limit)
    )
    seqs = (await connection.scalars(first)).all()
    if not seqs:
        return []
    claim = message.update().where(message.c.seq.in_(seqs)).values(state="sending")
    await connection.execute(claim)
    follows = sa.and_(
        thread.c.incident_id == message.c.incident_id,
        thread.c.recipient == message.c.recipient,
        thread.c.channel == message.c.channel,
    )
    query = sa.select(message, thread.c.token).join_from(message, thread, follows, isouter=True)
    rows = await connection.execute(query.where(message.c.seq.in_(seqs)).order_by(message.c.seq))
    return [_entry(row, row.token) for row in rows]


async def release(connection: AsyncConnection, channel: str, under_way: Collection[str]) -> None:
    """Lets messages wait again that were claimed and are not under way: a crash left them."""
    left = message.update().where(
        message.c.state == "sending",
        message.c.channel == channel,
        message.c.message_id.not_in(under_way),
    )
    await connection.execute(left.values(state="waiting"))


async def next_attempt_ms_after(
    connection: AsyncConnection, channel: str, now_ms: int
) -> int | None:
    """When the next message of the channel that is not yet due will be, None if there is none."""
    query = sa.select(sa.func.min(message.c.next_attempt_ms)).where(
        message.c.state == "waiting",
        message.c.channel == channel,
        message.c.next_attempt_ms > now_ms,
    )
    found = await connection.scalar(query)
    return None if found is None else int(found)


async def mark_sent(
    connection: AsyncConnection, entry: Entry, thread_token: str | None, now_ms: int
) -> None:
    """The message has arrived; its thread, if it began one, is kept for the next."""
    await _set(connection, entry, state="sent", attempts=entry.attempts + 1)
    if thread_token is not None:
        values = {
            "incident_id": entry.content.incident_id,
            "recipient": entry.content.recipient,
            "channel": entry.channel,
            "token": thread_token,
        }
        await upsert(connection, thread, values)


async def mark_waiting(
    connection: AsyncConnection, entry: Entry, next_ms: int, detail: str
) -> None:
    """The attempt failed; the next one is at `next_ms`."""
    await _set(
        connection,
        entry,
        state="waiting",
        attempts=entry.attempts + 1,
        next_attempt_ms=next_ms,
        detail=detail,
    )


async def mark_failed(connection: AsyncConnection, entry: Entry, detail: str) -> None:
    """The message will not be tried again."""
    await _set(connection, entry, state="failed", attempts=entry.attempts + 1, detail=detail)


async def waiting_elsewhere(connection: AsyncConnection, channels: Collection[str]) -> list[Entry]:
    """Waiting messages for channels that are no longer there."""
    query = sa.select(message).where(
        message.c.state.in_(_UNSENT), message.c.channel.not_in(channels)
    )
    return [_entry(row) for row in await connection.execute(query.order_by(message.c.seq))]


async def backlog(connection: AsyncConnection, channel: str) -> tuple[int, int | None]:
    """How many messages of the channel wait, and when the oldest was asked for, Unix ms."""
    query = sa.select(sa.func.count(), sa.func.min(message.c.asked_ms)).where(
        message.c.state.in_(_UNSENT), message.c.channel == channel
    )
    count, oldest_ms = (await connection.execute(query)).one()
    return int(count), oldest_ms


async def forget(connection: AsyncConnection, before_ms: int) -> None:
    """Drops what was asked for before a time and is over, with threads that nothing is left of."""
    old = sa.and_(message.c.asked_ms < before_ms, message.c.state.not_in(_UNSENT))
    await connection.execute(message.delete().where(old))
    is_used = sa.exists().where(message.c.incident_id == thread.c.incident_id)
    await connection.execute(thread.delete().where(~is_used))


async def pause_channel(connection: AsyncConnection, channel: str, until_ms: int) -> None:
    """Nothing goes out over the channel before `until_ms`."""
    await upsert(connection, pause, {"channel": channel, "until_ms": until_ms})


async def paused_until_ms(connection: AsyncConnection, channel: str) -> int:
    """Until when the channel is paused; 0 where it is not."""
    query = sa.select(pause.c.until_ms).where(pause.c.channel == channel)
    return int(await connection.scalar(query) or 0)


async def find(connection: AsyncConnection, event_id: str, recipient: str) -> Sequence[Entry]:
    """The messages that told a recipient of an event."""
    query = sa.select(message).where(
        message.c.event_id == event_id, message.c.recipient == recipient
    )
    return [_entry(row) for row in await connection.execute(query)]


async def _set(connection: AsyncConnection, entry: Entry, **values: str | int) -> None:
    change = message.update().where(message.c.message_id == entry.content.id)
    await connection.execute(change.values(**values))


def _entry(row: sa.Row[tuple[object, ...]], token: str | None = None) -> Entry:
    content = msgspec.json.decode(row.content, type=Message)
    return Entry(
        content=msgspec.structs.replace(content, thread=token) if token else content,
        channel=row.channel,
        rule=row.rule,
        asked_ms=row.asked_ms,
        recorded_ms=row.recorded_ms,
        detection_delay_ms=row.detection_delay_ms,
        attempts=row.attempts,
    )
