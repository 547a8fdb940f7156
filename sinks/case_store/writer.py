"""Writes a batch: rows and positions in one transaction, a repeat changing nothing."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.schema import Table

from schemas.incidents import Delivery, Incident
from sinks.case_store import tables
from sinks.case_store.metrics import ROWS
from sinks.case_store.records import Batch, Entry, chunks, storable
from sinks.database import Database, insert
from sinks.positions import move_positions

KEPT_WHOLE = ("opened", "reopened", "severity_changed")
"""Events whose incident is kept as it was then: they are what one asks the reasons of."""


class Writer:
    """The one who writes what the topics say."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, batch: Batch) -> None:
        """All of the batch, or nothing. Raises what the database raises."""
        written: dict[str, int] = {}
        async with self._database.writing() as connection:
            if batch.entries:
                written["case"] = await self._cases(connection, batch.entries)
                written["timeline"] = await self._timeline(connection, batch.entries)
                written["audit"] = await self._audit(connection, batch.entries)
            if batch.deliveries:
                rows = [_delivery_row(delivery) for delivery in batch.deliveries]
                written["delivery"] = await self._new(connection, tables.delivery, rows)
            await move_positions(connection, tables.position, batch.positions)
        for table, count in written.items():  # only once it is committed
            ROWS.labels(table).inc(count)

    async def _new(
        self, connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]
    ) -> int:
        """Inserts the rows that are not there yet and says how many they were."""
        if not rows:
            return 0
        statement = insert(connection, table).on_conflict_do_nothing()
        result = await connection.execute(statement, rows)
        return max(result.rowcount, 0)

    async def _cases(self, connection: AsyncConnection, entries: Sequence[Entry]) -> int:
        newest: dict[str, Incident] = {}
        for entry in entries:
            incident = entry.event.incident
            if incident.id not in newest or newest[incident.id].version < incident.version:
                newest[incident.id] = incident
        known = await _known(connection, sorted(newest))
        opened = sorted(
            (i for i in newest.values() if i.id not in known), key=lambda i: (i.opened_ms, i.id)
        )
        last = await connection.scalar(select(func.max(tables.case.c.number))) or 0
        for number, incident in enumerate(opened, start=last + 1):
            await connection.execute(tables.case.insert(), _case_row(incident, number))
            await self._services(connection, number, incident)
        moved = [i for i in newest.values() if i.id in known and i.version > known[i.id][1]]
        for incident in moved:
            number = known[incident.id][0]
            row = _case_row(incident, number)
            await connection.execute(
                update(tables.case).where(tables.case.c.number == number).values(row)
            )
            await self._services(connection, number, incident)
        return len(opened) + len(moved)

    async def _services(self, connection: AsyncConnection, number: int, incident: Incident) -> None:
        table = tables.case_service
        await connection.execute(delete(table).where(table.c.number == number))
        rows = [{"number": number, "service": storable(s)} for s in incident.services]
        await self._new(connection, table, rows)

    async def _timeline(self, connection: AsyncConnection, entries: Sequence[Entry]) -> int:
        known = await _known(connection, sorted({e.event.incident_id for e in entries}))
        rows = [_timeline_row(entry, known[entry.event.incident_id][0]) for entry in entries]
        return await self._new(connection, tables.timeline, rows)

    async def _audit(self, connection: AsyncConnection, entries: Sequence[Entry]) -> int:
        """What people changed, once the log says that it took effect."""
        by_people = [e for e in entries if e.event.command_id or e.event.actor != "tocsin"]
        commands = sorted({e.event.command_id for e in by_people if e.event.command_id})
        table = tables.audit
        ways: dict[str, str] = {}
        for part in chunks(commands):
            asked = await connection.execute(
                select(table.c.command_id, table.c.way).where(
                    table.c.step == "asked", table.c.command_id.in_(part)
                )
            )
            ways.update((row.command_id, row.way) for row in asked)
        rows = [_audit_row(e, ways.get(e.event.command_id or "", "elsewhere")) for e in by_people]
        return await self._new(connection, table, rows)


async def _known(
    connection: AsyncConnection, incident_ids: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Number and version of the cases that are there, by incident id."""
    table = tables.case
    known: dict[str, tuple[int, int]] = {}
    for part in chunks(incident_ids):
        found = await connection.execute(
            select(table.c.incident_id, table.c.number, table.c.version).where(
                table.c.incident_id.in_(part)
            )
        )
        known.update((row.incident_id, (row.number, row.version)) for row in found)
    return known


def _cleaned(row: dict[str, Any]) -> dict[str, Any]:
    return {key: storable(value) if isinstance(value, str) else value for key, value in row.items()}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _case_row(incident: Incident, number: int) -> dict[str, Any]:
    return _cleaned(
        {
            "number": number,
            "incident_id": incident.id,
            "environment": incident.environment,
            "version": incident.version,
            "title": incident.title,
            "severity": incident.severity,
            "state": incident.state,
            "public_phase": incident.public_phase,
            "visibility": incident.visibility,
            "opened_ms": incident.opened_ms,
            "updated_ms": incident.updated_ms,
            "resolved_ms": incident.resolved_ms,
            "closed_ms": incident.closed_ms,
            "acknowledged_ms": incident.acknowledged_ms,
            "acknowledged_by": incident.acknowledged_by,
            "incident": _json(incident),
        }
    )


def _timeline_row(entry: Entry, number: int) -> dict[str, Any]:
    event = entry.event
    return _cleaned(
        {
            "event_id": event.id,
            "number": number,
            "version": event.version,
            "type": event.type,
            "time_ms": event.time_ms,
            "recorded_ms": entry.recorded_ms,
            "actor": event.actor,
            "text": event.text,
            "changes": _json(event.changes),
            "command_id": event.command_id,
            "incident": _json(event.incident) if event.type in KEPT_WHOLE else None,
        }
    )


def _audit_row(entry: Entry, way: str) -> dict[str, Any]:
    event = entry.event
    return _cleaned(
        {
            "entry_id": f"event:{event.id}",
            "time_ms": entry.recorded_ms,
            "actor": event.actor,
            "way": way,
            "step": "done",
            "action": event.type,
            "incident_id": event.incident_id,
            "command_id": event.command_id,
            "detail": _json({"text": event.text, "changes": event.changes}),
        }
    )


def _delivery_row(delivery: Delivery) -> dict[str, Any]:
    row = msgspec.structs.asdict(delivery)
    del row["schema_version"]
    return _cleaned({"delivery_id": delivery.id, **row})
