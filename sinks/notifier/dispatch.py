"""Which messages are due, and what became of each attempt to send one.

A lane is one recipient in one incident. Within a lane messages go out in the order in which
they were asked for: while one waits, also for its next attempt, the later ones wait behind it.
Digests have a lane of their own for each recipient. Of what is due at once the most severe goes
first.
"""

from collections.abc import Collection
from typing import Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sinks.database import upsert
from sinks.notifier.outbox import UNSENT, Entry, after_failed, entry_of, id_from
from sinks.notifier.store import add_deliveries
from sinks.notifier.tables import message, pause, thread

_earlier = message.alias()
_RETRIED = {"state": sa.case((message.c.cancelled != "", "withheld"), else_="waiting")}
"""What a message that was being sent becomes: it waits again, unless it was cancelled meanwhile."""


async def claim_due(
    connection: AsyncConnection, channel: str, now_ms: int, limit: int
) -> list[Entry]:
    """Claims the first message of each lane whose time has come; with the thread it follows."""
    is_behind = sa.exists().where(
        _earlier.c.incident_id == message.c.incident_id,
        _earlier.c.recipient == message.c.recipient,
        _earlier.c.state.in_(UNSENT),
        _earlier.c.seq < message.c.seq,
    )
    first = (
        sa.select(message.c.seq)
        .where(
            message.c.state == "waiting",
            message.c.channel == channel,
            message.c.next_attempt_ms <= now_ms,
            ~is_behind,
        )
        .order_by(message.c.severity, message.c.next_attempt_ms, message.c.seq)
        .limit(limit)
    )
    seqs = (await connection.scalars(first)).all()
    if not seqs:
        return []
    claim = message.update().where(message.c.seq.in_(seqs))
    await connection.execute(claim.values(state="sending", tries=message.c.tries + 1))
    follows = sa.and_(
        thread.c.incident_id == message.c.incident_id,
        thread.c.recipient == message.c.recipient,
        thread.c.channel == message.c.channel,
    )
    query = sa.select(message, thread.c.token).join_from(message, thread, follows, isouter=True)
    rows = await connection.execute(query.where(message.c.seq.in_(seqs)).order_by(message.c.seq))
    return [_claimed(row) for row in rows]


def _claimed(row: sa.Row[tuple[object, ...]]) -> Entry:
    entry = entry_of(row)
    content = msgspec.structs.replace(
        entry.content, thread=row.token, may_have_arrived=row.tries > 1
    )
    return msgspec.structs.replace(entry, content=content)


async def with_further_ways(connection: AsyncConnection, channel: str, limit: int) -> list[Entry]:
    """Messages that wait for the channel, also for their next attempt, and could go another way."""
    query = (
        sa.select(message)
        .where(
            message.c.state == "waiting",
            message.c.channel == channel,
            message.c.further_ways > 0,
        )
        .order_by(message.c.severity, message.c.seq)
        .limit(limit)
    )
    return [entry_of(row) for row in await connection.execute(query)]


async def hurry(connection: AsyncConnection, channel: str, now_ms: int) -> None:
    """What waits for its next attempt need not: the channel works again."""
    waiting = message.update().where(
        message.c.state == "waiting",
        message.c.channel == channel,
        message.c.next_attempt_ms > now_ms,
    )
    await connection.execute(waiting.values(next_attempt_ms=now_ms))


async def release(connection: AsyncConnection, channel: str, under_way: Collection[str]) -> None:
    """Lets messages wait again that were claimed and are not under way: a crash left them."""
    left = message.update().where(
        message.c.state == "sending",
        message.c.channel == channel,
        message.c.message_id.not_in(under_way),
    )
    await connection.execute(left.values(**_RETRIED))


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
    """The message has arrived; its thread, if it began one, is kept for the next.

    With a digest everything in it has arrived.
    """
    await _set(connection, entry, state="sent", attempts=entry.attempts + 1, sent_ms=now_ms)
    await _settle_digest(connection, entry, "sent", now_ms)
    if thread_token is not None and entry.content.incident_id:
        values = {
            "incident_id": entry.content.incident_id,
            "recipient": entry.content.recipient,
            "channel": entry.channel,
            "token": thread_token,
        }
        await upsert(connection, thread, values)


async def mark_waiting(
    connection: AsyncConnection,
    entry: Entry,
    next_ms: int,
    detail: str,
    *,
    may_have_arrived: bool = True,
) -> None:
    """The attempt failed; the next one is at `next_ms`, unless the message was cancelled.

    It may have arrived all the same, unless the receiver has said that it was not taken.
    """
    values: dict[str, object] = {
        "attempts": entry.attempts + 1,
        "next_attempt_ms": next_ms,
        "detail": detail,
    }
    if not may_have_arrived:
        values["tries"] = message.c.tries - 1
    change = message.update().where(message.c.message_id == entry.content.id)
    await connection.execute(change.values(**values, **_RETRIED))


async def mark_failed(
    connection: AsyncConnection, entry: Entry, detail: str, now_ms: int | None = None
) -> None:
    """The message will not be tried again; nor will, with a digest, what is in it."""
    await _set(connection, entry, state="failed", attempts=entry.attempts + 1, detail=detail)
    await _settle_digest(connection, entry, "failed", now_ms or entry.asked_ms, detail)


async def fall_over(
    connection: AsyncConnection, entry: Entry, now_ms: int, note: str = ""
) -> Entry | None:
    """Sends a message that its channel has failed to deliver by the recipient's next way.

    It keeps its place in the lane and becomes a message with an id of its own, as the way is
    another; `note` says so below its text. None if there is no further way.
    """
    if not entry.content.ways:
        return None
    way, *further = entry.content.ways
    content = msgspec.structs.replace(
        entry.content,
        id=id_from(entry.content.id, way.channel, way.address),
        address=way.address,
        text=f"{entry.content.text}\n\n{note}".strip(),
        ways=tuple(further),
        thread=None,
    )
    values = {
        "message_id": content.id,
        "content": msgspec.json.encode(content),
        "channel": way.channel,
        "attempts": 0,
        "tries": 0,
        "further_ways": len(further),
        "next_attempt_ms": now_ms,
        "detail": after_failed(entry.channel),
    }
    change = message.update().where(message.c.message_id == entry.content.id)
    await connection.execute(change.values(**values, **_RETRIED))
    members = message.update().where(message.c.digest_id == entry.content.id)
    await connection.execute(members.values(digest_id=content.id))
    return msgspec.structs.replace(entry, content=content, channel=way.channel, attempts=0)


async def waiting_elsewhere(connection: AsyncConnection, channels: Collection[str]) -> list[Entry]:
    """Waiting messages for channels that are no longer there."""
    query = sa.select(message).where(
        message.c.state.in_(UNSENT), message.c.channel.not_in(channels)
    )
    return [entry_of(row) for row in await connection.execute(query.order_by(message.c.seq))]


async def backlog(connection: AsyncConnection, channel: str) -> tuple[int, int | None]:
    """How many messages of the channel wait, and when the oldest was asked for, Unix ms."""
    query = sa.select(sa.func.count(), sa.func.min(message.c.asked_ms)).where(
        message.c.state.in_(UNSENT), message.c.channel == channel
    )
    count, oldest_ms = (await connection.execute(query)).one()
    return int(count), oldest_ms


async def pause_channel(connection: AsyncConnection, channel: str, until_ms: int) -> None:
    """Nothing goes out over the channel before `until_ms`, or before what was said earlier."""
    latest_ms = max(until_ms, await paused_until_ms(connection, channel))
    await upsert(connection, pause, {"channel": channel, "until_ms": latest_ms})


async def paused_until_ms(connection: AsyncConnection, channel: str) -> int:
    """Until when the channel is paused; 0 where it is not."""
    query = sa.select(pause.c.until_ms).where(pause.c.channel == channel)
    return int(await connection.scalar(query) or 0)


async def _set(connection: AsyncConnection, entry: Entry, **values: str | int | bytes) -> None:
    change = message.update().where(message.c.message_id == entry.content.id)
    await connection.execute(change.values(**values))


async def _settle_digest(
    connection: AsyncConnection,
    digest: Entry,
    state: Literal["sent", "failed"],
    now_ms: int,
    detail: str = "",
) -> None:
    """What has become of a digest has become of everything in it."""
    if digest.content.kind != "digest":
        return
    where = message.c.digest_id == digest.content.id
    rows = list(await connection.execute(sa.select(message).where(where).order_by(message.c.seq)))
    said = detail or "in a digest"
    await connection.execute(message.update().where(where).values(state=state, detail=said))
    steps = []
    for row in rows:
        entry = entry_of(row)
        delay_ms = entry.detection_delay_ms
        first = state == "sent" and delay_ms is not None
        seconds = ((delay_ms or 0) + max(0, now_ms - entry.recorded_ms)) / 1000 if first else None
        step = entry.delivery(
            state,
            now_ms,
            attempt=1,
            failure="gave_up" if state == "failed" else None,
            detail=said,
            seconds_to_communicate=seconds,
        )
        steps.append(step)
    await add_deliveries(connection, steps)
