"""Moments to come, in the store: they survive every crash and fire when their time has come."""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sinks.database import upsert
from sinks.notifier.tables import incident, timer


class Timer(NamedTuple):
    """One moment. `subject` tells those of a kind apart; `state` is its machine's, as bytes."""

    kind: str
    subject: str
    incident_id: str
    due_ms: int | None
    state: bytes


async def put(connection: AsyncConnection, timer_: Timer) -> None:
    """Sets or changes a timer; one without a time to come keeps its state only."""
    await upsert(connection, timer, timer_._asdict())


async def drop(connection: AsyncConnection, kind: str, subject: str) -> None:
    """Takes a timer away with its state."""
    await connection.execute(timer.delete().where(timer.c.kind == kind, timer.c.subject == subject))


async def get(connection: AsyncConnection, kind: str, subject: str) -> Timer | None:
    """One timer, None if there is none."""
    query = sa.select(timer).where(timer.c.kind == kind, timer.c.subject == subject)
    row = (await connection.execute(query)).first()
    return None if row is None else Timer(*row)


async def of_incident(connection: AsyncConnection, kind: str, incident_id: str) -> list[Timer]:
    """All timers of one kind of an incident."""
    query = (
        sa.select(timer)
        .where(timer.c.incident_id == incident_id, timer.c.kind == kind)
        .order_by(timer.c.subject)
    )
    return [Timer(*row) for row in await connection.execute(query)]


async def due(connection: AsyncConnection, now_ms: int, limit: int) -> Sequence[Timer]:
    """The timers whose time has come, the longest due first."""
    query = (
        sa.select(timer)
        .where(timer.c.due_ms <= now_ms)
        .order_by(timer.c.due_ms, timer.c.kind, timer.c.subject)
        .limit(limit)
    )
    return [Timer(*row) for row in await connection.execute(query)]


async def next_due_ms(connection: AsyncConnection) -> int | None:
    """When the next timer is due, None if none is."""
    found = await connection.scalar(sa.select(sa.func.min(timer.c.due_ms)))
    return None if found is None else int(found)


async def forget(connection: AsyncConnection) -> None:
    """Drops what has nothing to come and whose incident is no longer known."""
    is_known = sa.exists().where(incident.c.incident_id == timer.c.incident_id)
    await connection.execute(
        timer.delete().where(timer.c.due_ms.is_(None), timer.c.incident_id != "", ~is_known)
    )
