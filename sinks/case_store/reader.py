"""Reads cases for pages and API; every answer is one consistent view."""

from typing import Any

import msgspec
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.incidents import Delivery, Incident
from sinks.case_store import tables
from sinks.case_store.records import storable
from sinks.database import Database
from sinks.positions import read_positions

OPEN_STATES = ("investigating", "identified", "monitoring")
PAGE_SIZE = 50

_incidents = msgspec.json.Decoder(Incident)
_changes = msgspec.json.Decoder(dict[str, str])
_details = msgspec.json.Decoder(dict[str, Any])


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A numbered case with the latest state of its incident."""

    number: int
    incident: Incident

    @property
    def open(self) -> bool:
        """Neither resolved nor closed."""
        return self.incident.state in OPEN_STATES


class TimelineEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the log. `incident` is there for openings and changes of severity."""

    id: str
    version: int
    type: str
    time_ms: int
    recorded_ms: int
    actor: str
    text: str
    changes: dict[str, str]
    command_id: str | None
    incident: Incident | None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, when by the wall clock, and through which way."""

    entry_id: str
    time_ms: int
    actor: str
    way: str
    step: str
    action: str
    incident_id: str | None
    command_id: str | None
    detail: dict[str, Any]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one case."""

    case: Case
    events: tuple[TimelineEvent, ...]
    deliveries: tuple[Delivery, ...]
    audit: tuple[AuditEntry, ...]


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which cases; `state` is a state, `open` or empty for all."""

    state: str = ""
    severity: str = ""
    service: str = ""
    page: int = 1


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the list, open cases first, then the latest."""

    cases: tuple[Case, ...]
    total: int
    page: int
    pages: int


class Reader:
    """Answers what pages and API ask."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def positions(self) -> dict[tuple[str, int], int]:
        """The next offset to read by topic and partition."""
        async with self._database.reading() as connection:
            return await read_positions(connection, tables.position)

    async def counts(self) -> dict[str, int]:
        """How many cases are in each state that any is in."""
        state = tables.case.c.state
        async with self._database.reading() as connection:
            found = await connection.execute(select(state, func.count()).group_by(state))
            return {row[0]: row[1] for row in found}

    async def services(self) -> list[str]:
        """Every service that any case names."""
        async with self._database.reading() as connection:
            service = tables.case_service.c.service
            return list(await connection.scalars(select(service).distinct().order_by(service)))

    async def listing(self, wanted: Filter) -> Listing:
        """One page of the cases that are wanted; a page past the end is the last one."""
        table = tables.case
        async with self._database.reading() as connection:
            count = _filtered(select(func.count()).select_from(table), wanted)
            total = await connection.scalar(count) or 0
            pages = max(1, -(-total // PAGE_SIZE))
            page = min(max(1, wanted.page), pages)
            found = await connection.execute(
                _filtered(select(table.c.number, table.c.incident), wanted)
                .order_by(
                    table.c.state.in_(OPEN_STATES).desc(),
                    table.c.opened_ms.desc(),
                    table.c.number.desc(),
                )
                .limit(PAGE_SIZE)
                .offset((page - 1) * PAGE_SIZE)
            )
            cases = tuple(_case(row) for row in found)
        return Listing(cases=cases, total=total, page=page, pages=pages)

    async def find(self, name: str) -> Case | None:
        """A case by its number or its incident's id."""
        async with self._database.reading() as connection:
            return await _find(connection, name)

    async def file(self, name: str) -> File | None:
        """All of a case by its number or its incident's id."""
        async with self._database.reading() as connection:
            case = await _find(connection, name)
            if case is None:
                return None
            incident_id = case.incident.id
            events, told, audit = tables.timeline, tables.delivery, tables.audit
            event_rows = await connection.execute(
                select(events)
                .where(events.c.number == case.number)
                .order_by(events.c.version, events.c.event_id)
            )
            told_rows = await connection.execute(
                select(told)
                .where(told.c.incident_id == incident_id)
                .order_by(told.c.time_ms, told.c.attempt, told.c.delivery_id)
            )
            audit_rows = await connection.execute(
                select(audit).where(audit.c.incident_id == incident_id).order_by(audit.c.entry)
            )
            return File(
                case=case,
                events=tuple(_event(row) for row in event_rows),
                deliveries=tuple(_delivery(row) for row in told_rows),
                audit=tuple(_audit(row) for row in audit_rows),
            )


async def _find(connection: AsyncConnection, name: str) -> Case | None:
    table = tables.case
    query = select(table.c.number, table.c.incident)
    row = None
    if name.isascii() and name.isdigit() and len(name) < 10:
        row = (await connection.execute(query.where(table.c.number == int(name)))).first()
    if row is None:
        # An id may be read out and typed in small letters.
        names = (storable(name), storable(name).upper())
        exact = table.c.incident_id == names[0]
        wanted = query.where(table.c.incident_id.in_(names)).order_by(exact.desc())
        row = (await connection.execute(wanted)).first()
    return _case(row) if row is not None else None


def _filtered(query: Select[Any], wanted: Filter) -> Select[Any]:
    table = tables.case
    if wanted.state == "open":
        query = query.where(table.c.state.in_(OPEN_STATES))
    elif wanted.state:
        query = query.where(table.c.state == storable(wanted.state))
    if wanted.severity:
        query = query.where(table.c.severity == storable(wanted.severity))
    if wanted.service:
        services = tables.case_service
        query = query.where(
            table.c.number.in_(
                select(services.c.number).where(services.c.service == storable(wanted.service))
            )
        )
    return query


def _case(row: Any) -> Case:
    return Case(number=row.number, incident=_incidents.decode(row.incident))


def _event(row: Any) -> TimelineEvent:
    return TimelineEvent(
        id=row.event_id,
        version=row.version,
        type=row.type,
        time_ms=row.time_ms,
        recorded_ms=row.recorded_ms,
        actor=row.actor,
        text=row.text,
        changes=_changes.decode(row.changes),
        command_id=row.command_id,
        incident=_incidents.decode(row.incident) if row.incident else None,
    )


def _delivery(row: Any) -> Delivery:
    names = (name for name in Delivery.__struct_fields__ if name != "schema_version")
    return msgspec.convert({name: row._mapping[name] for name in names}, Delivery)


def _audit(row: Any) -> AuditEntry:
    fields = {name: row._mapping[name] for name in AuditEntry.__struct_fields__}
    return AuditEntry(**{**fields, "detail": _details.decode(row.detail)})
