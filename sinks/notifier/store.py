"""Records that several parts of the notifier read and write in one transaction."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.incidents import Delivery, Incident
from sinks.database import upsert
from sinks.notifier.tables import delivery, incident, setting


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


async def write_incident(connection: AsyncConnection, state: Incident, version: int) -> None:
    """Notes the latest state of an incident."""
    values = {
        "incident_id": state.id,
        "version": version,
        "state": msgspec.json.encode(state),
    }
    await upsert(connection, incident, values)


async def add_deliveries(connection: AsyncConnection, deliveries: Iterable[Delivery]) -> None:
    """Puts delivery records into the outbox, in order."""
    rows = [
        {"incident_id": made.incident_id, "value": msgspec.json.encode(made)} for made in deliveries
    ]
    if rows:
        await connection.execute(delivery.insert(), rows)


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
