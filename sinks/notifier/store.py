"""Records that several parts of the notifier read and write in one transaction."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.incidents import (
    Command,
    Delivery,
    EventType,
    Incident,
    IncidentEvent,
    Severity,
    State,
    Visibility,
)
from sinks.database import upsert
from sinks.notifier.muting import Open
from sinks.notifier.tables import delivery, incident, preference, setting, trail

UNSUBSCRIBED = "unsubscribed"


async def read_incident(connection: AsyncConnection, incident_id: str) -> Incident | None:
    """The latest state of an incident, None if it is not known."""
    row = (
        await connection.execute(
            sa.select(incident.c.state).where(incident.c.incident_id == incident_id)
        )
    ).first()
    return None if row is None else msgspec.json.decode(row.state, type=Incident)


async def read_version(connection: AsyncConnection, incident_id: str) -> int:
    """The version of an incident's latest state, 0 if it is not known."""
    found = await connection.scalar(
        sa.select(incident.c.version).where(incident.c.incident_id == incident_id)
    )
    return int(found or 0)


async def write_incident(connection: AsyncConnection, state: Incident, version: int) -> str:
    """Notes the latest state of an incident; its family."""
    family = await _family(connection, state)
    values = {
        "incident_id": state.id,
        "version": version,
        "state": msgspec.json.encode(state),
        "is_open": state.state not in ("resolved", "closed"),
        "severity": state.severity,
        "opened_ms": state.opened_ms,
        "family": family,
    }
    await upsert(connection, incident, values)
    return family


async def _family(connection: AsyncConnection, state: Incident) -> str:
    """That of what it was taken out of or merged into; a merge makes one family of two."""
    other = state.merged_into or state.split_from
    if other is None:
        return state.id
    known = sa.select(incident.c.family).where(incident.c.incident_id == other)
    family = await connection.scalar(known) or other
    if state.merged_into is not None:
        own = sa.select(incident.c.family).where(incident.c.incident_id == state.id)
        if (before := await connection.scalar(own)) not in (None, family):
            joins = incident.update().where(incident.c.family == before)
            await connection.execute(joins.values(family=family))
    return str(family)


async def kin_of(connection: AsyncConnection, family: str, incident_id: str) -> list[Incident]:
    """The other incidents of a family, by age."""
    query = (
        sa.select(incident.c.state)
        .where(incident.c.family == family, incident.c.incident_id != incident_id)
        .order_by(incident.c.opened_ms, incident.c.incident_id)
    )
    return [msgspec.json.decode(state, type=Incident) for state in await connection.scalars(query)]


async def open_incidents(connection: AsyncConnection, limit: int = 1000) -> list[Incident]:
    """Incidents that are not over, the most severe and then the newest first."""
    query = (
        sa.select(incident.c.state)
        .where(incident.c.is_open)
        .order_by(incident.c.severity, incident.c.opened_ms.desc(), incident.c.incident_id)
        .limit(limit)
    )
    return [msgspec.json.decode(state, type=Incident) for state in await connection.scalars(query)]


async def older_open(connection: AsyncConnection, than: Incident) -> list[Open]:
    """Open incidents that could inhibit one: opened no later, and no less severe."""
    query = sa.select(incident.c.state).where(
        incident.c.is_open,
        incident.c.severity <= than.severity,
        incident.c.opened_ms <= than.opened_ms,
        incident.c.incident_id != than.id,
    )
    decoder = msgspec.json.Decoder(_OpenState)
    found = [decoder.decode(state) for state in await connection.scalars(query)]
    return [Open(each.id, each.severity, each.services, each.opened_ms) for each in found]


class _OpenState(msgspec.Struct):
    id: str
    severity: Severity
    services: tuple[str, ...]
    opened_ms: int


async def add_deliveries(connection: AsyncConnection, deliveries: Iterable[Delivery]) -> None:
    """Puts delivery records into the outbox, in order, and into the trail."""
    made = [(each, msgspec.json.encode(each)) for each in deliveries]
    if not made:
        return
    outgoing = [
        {"incident_id": each.incident_id or each.recipient, "value": value} for each, value in made
    ]
    await connection.execute(delivery.insert(), outgoing)
    kept = [
        {
            "incident_id": each.incident_id,
            "recipient": each.recipient,
            "time_ms": each.time_ms,
            "value": value,
        }
        for each, value in made
    ]
    await connection.execute(trail.insert(), kept)


async def add_command(connection: AsyncConnection, command: Command, topic: str) -> None:
    """Puts a command into the outbox."""
    values = {
        "incident_id": command.incident_id,
        "value": msgspec.json.encode(command),
        "topic": topic,
    }
    await connection.execute(delivery.insert(), [values])


class Taken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As much of an event that was taken in as decided who was told of it."""

    event_id: str
    type: EventType
    time_ms: int
    taken_ms: int
    actor: str
    severity: Severity
    services: tuple[str, ...]
    state: State
    visibility: Visibility
    acknowledged_by: str | None = None
    silenced_by: str | None = None


async def add_taken(connection: AsyncConnection, event: IncidentEvent, now_ms: int) -> None:
    """Notes in the trail that an event was taken in."""
    incident_ = event.incident
    taken = Taken(
        event_id=event.id,
        type=event.type,
        time_ms=event.time_ms,
        taken_ms=now_ms,
        actor=event.actor,
        severity=incident_.severity,
        services=incident_.services,
        state=incident_.state,
        visibility=incident_.visibility,
        acknowledged_by=incident_.acknowledged_by,
        silenced_by=incident_.silenced_by,
    )
    values = {
        "incident_id": event.incident_id,
        "recipient": "",
        "time_ms": now_ms,
        "value": msgspec.json.encode(taken),
    }
    await connection.execute(trail.insert(), [values])


async def read_taken(connection: AsyncConnection, incident_id: str) -> list[Taken]:
    """The events of an incident that were taken in, in order."""
    query = (
        sa.select(trail.c.value)
        .where(trail.c.incident_id == incident_id, trail.c.recipient == "")
        .order_by(trail.c.seq)
    )
    return [msgspec.json.decode(value, type=Taken) for value in await connection.scalars(query)]


async def read_trail(
    connection: AsyncConnection, incident_id: str, recipient: str | None = None
) -> list[Delivery]:
    """Every delivery record of an incident, in order; of one recipient, if given."""
    query = sa.select(trail.c.value).where(
        trail.c.incident_id == incident_id, trail.c.recipient != ""
    )
    if recipient is not None:
        query = query.where(trail.c.recipient == recipient)
    values = await connection.scalars(query.order_by(trail.c.seq))
    return [msgspec.json.decode(value, type=Delivery) for value in values]


async def forget_trail(connection: AsyncConnection, before_ms: int) -> None:
    """Drops delivery records from before a time."""
    await connection.execute(trail.delete().where(trail.c.time_ms < before_ms))


async def unsubscribe(connection: AsyncConnection, recipient: str, now_ms: int) -> None:
    """The recipient wants to hear nothing more."""
    values = {"recipient": recipient, "name": UNSUBSCRIBED, "value": "all", "set_ms": now_ms}
    await upsert(connection, preference, values)


async def subscribe_again(connection: AsyncConnection, recipient: str) -> None:
    """The recipient wants to hear again."""
    await connection.execute(
        preference.delete().where(
            preference.c.recipient == recipient, preference.c.name == UNSUBSCRIBED
        )
    )


async def unsubscribed(connection: AsyncConnection) -> frozenset[str]:
    """Recipients who want to hear nothing more."""
    query = sa.select(preference.c.recipient).where(preference.c.name == UNSUBSCRIBED)
    return frozenset(await connection.scalars(query))


async def pending_deliveries(connection: AsyncConnection, limit: int) -> Sequence[sa.Row[Any]]:
    """The oldest delivery records that Kafka has not acknowledged."""
    query = sa.select(delivery).order_by(delivery.c.seq).limit(limit)
    return (await connection.execute(query)).all()


async def drop_deliveries(connection: AsyncConnection, seqs: Sequence[int]) -> None:
    """Forgets delivery records that Kafka has acknowledged."""
    await connection.execute(delivery.delete().where(delivery.c.seq.in_(seqs)))


async def setting_or(connection: AsyncConnection, name: str, otherwise: str) -> str:
    """A kept setting; where there is none, `otherwise` is kept from now on."""
    found = await connection.scalar(sa.select(setting.c.value).where(setting.c.name == name))
    if found is None:
        await connection.execute(setting.insert().values(name=name, value=otherwise))
        return otherwise
    return str(found)
