"""What the case store keeps, and that crashes, repeats and disorder do it no harm."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import sqlalchemy
from prometheus_client import REGISTRY
from sqlalchemy import select

from schemas.incidents import IncidentEvent
from sinks.case_store import CaseStore, tables
from sinks.case_store.reader import Filter, Reader
from sinks.database import Database
from sinks.sink import Record
from tests.sinks import examples
from tests.sinks.case_store.conftest import Make
from tests.sinks.examples import dropped

EVENTS, DELIVERIES = "tocsin.incident-events.v1", "tocsin.deliveries.v1"


def everything() -> list[Record]:
    """Both faults and a delivery of each opening."""
    events = [*examples.cpu_fault(), *examples.network_fault()]
    records = [examples.record(event, i) for i, event in enumerate(events)]
    told = [examples.delivery(events[0]), examples.delivery(events[4], "failed")]
    return [*records, *(examples.record(d, i) for i, d in enumerate(told))]


async def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    database = Database(tables.SCHEMA, url)
    try:
        async with database.reading() as connection:
            return {
                table.name: [
                    tuple(row)
                    for row in await connection.execute(
                        select(table).order_by(*table.primary_key.columns)
                    )
                ]
                for table in tables.metadata.sorted_tables
            }
    finally:
        await database.close()


@pytest.fixture
async def reader(store_url: str) -> AsyncIterator[Reader]:
    """Reads the store as pages and API do."""
    database = Database(tables.SCHEMA, store_url)
    yield Reader(database)
    await database.close()


async def test_a_case_holds_the_latest_state_its_timeline_and_who_was_told(
    store: CaseStore, reader: Reader
) -> None:
    await store.apply(everything())

    file = await reader.file("1")
    assert file is not None
    assert file.case.incident == examples.cpu_fault()[-1].incident
    assert [e.type for e in file.events] == ["opened", "updated", "acknowledged", "resolved"]
    assert file.events[0].incident == examples.cpu_incident()
    assert [(d.recipient, d.status) for d in file.deliveries] == [("on-call", "sent")]
    assert [(a.actor, a.way, a.step, a.action) for a in file.audit] == [
        ("ada", "elsewhere", "done", "acknowledged")
    ]


async def test_positions_are_the_next_offsets_of_each_partition(store: CaseStore) -> None:
    await store.apply(everything())
    assert await store.positions() == {(EVENTS, 0): 8, (DELIVERIES, 0): 2}


async def test_a_repeat_changes_nothing(store: CaseStore, store_url: str) -> None:
    await store.apply(everything())
    before = await contents(store_url)
    for part in (everything()[:3], everything(), everything()[5:], everything() * 2):
        await store.apply(part)
    assert await contents(store_url) == before


async def test_an_older_version_never_overwrites_a_newer_one(
    store: CaseStore, reader: Reader
) -> None:
    records = [examples.record(e, i) for i, e in enumerate(examples.cpu_fault())]
    random.Random(4).shuffle(records)
    for record in reversed(records):
        await store.apply([record])
    file = await reader.file("inc-cpu-01")
    assert file is not None
    assert file.case.incident.version == 4
    assert [e.version for e in file.events] == [1, 2, 3, 4]


async def test_cases_are_numbered_in_the_order_of_opening_without_gaps(
    store: CaseStore, reader: Reader
) -> None:
    incidents = [
        examples.cpu_incident(id=f"inc-{i}", opened_ms=examples.CPU_START_MS + 1000 - i)
        for i in range(5)
    ]
    await store.apply(
        [examples.record(examples.event(i, "opened"), n) for n, i in enumerate(incidents)]
    )
    later = examples.cpu_incident(id="inc-late")
    await store.apply([examples.record(examples.event(later, "opened"), 9)])
    listing = await reader.listing(Filter())
    numbers = {case.incident.id: case.number for case in listing.cases}
    assert numbers == {**{f"inc-{i}": 5 - i for i in range(5)}, "inc-late": 6}


@pytest.mark.parametrize("failing", ["timeline", "delivery", "position"])
async def test_a_crash_in_between_leaves_nothing_behind(
    sqlite_store: CaseStore, sqlite_url: str, failing: str
) -> None:
    first, rest = everything()[:1], everything()[1:]
    await sqlite_store.apply(first)
    before = await contents(sqlite_url)
    written = REGISTRY.get_sample_value(
        "tocsin_case_store_rows_written_total", {"table": "timeline"}
    )
    how = "UPDATE" if failing == "position" else "INSERT"
    engine = sqlalchemy.create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER crash AFTER {how} ON {failing} "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    with pytest.raises(sqlalchemy.exc.DatabaseError, match="disk is full"):
        await sqlite_store.apply(rest)
    assert await contents(sqlite_url) == before
    assert written == REGISTRY.get_sample_value(
        "tocsin_case_store_rows_written_total", {"table": "timeline"}
    )

    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER crash")
    engine.dispose()
    await sqlite_store.apply(rest)
    assert len((await contents(sqlite_url))["timeline"]) == 8


async def test_a_locked_store_says_so_and_takes_the_same_records_later(
    sqlite_store: CaseStore, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = sqlalchemy.create_engine(sqlite_url)
    monkeypatch.setattr("sinks.database.BUSY_TIMEOUT_MS", 20)
    await sqlite_store._database.close()  # the next connection waits 20 ms only
    with holder.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(sqlalchemy.exc.OperationalError, match="locked"):
            await sqlite_store.apply(everything())
        connection.exec_driver_sql("ROLLBACK")
    holder.dispose()
    await sqlite_store.apply(everything())
    assert len((await contents(sqlite_url))["case"]) == 2


async def test_after_a_restart_it_goes_on_where_it_was(store_url: str, make: Make) -> None:
    for start in (0, 4, 8):
        store = make(store_url)
        await store.start()
        assert (await store.positions()).get((EVENTS, 0), 0) == start
        await store.apply(everything()[start : start + 4])
        await store.stop()
    kept = await contents(store_url)
    assert [len(kept[name]) for name in ("case", "timeline", "delivery")] == [2, 8, 2]


async def test_two_writers_at_once_give_each_case_one_number(store_url: str, make: Make) -> None:
    stores = [make(store_url), make(store_url)]
    for store in stores:
        await store.start()

    def opened(i: int) -> Record:
        return examples.record(examples.event(examples.cpu_incident(id=f"inc-{i}"), "opened"), i)

    await asyncio.gather(*(stores[i % 2].apply([opened(i)]) for i in range(20)))
    for store in stores:
        await store.stop()
    assert [row[0] for row in (await contents(store_url))["case"]] == list(range(1, 21))


async def test_a_record_that_is_no_entry_is_counted_and_passed_over(
    store: CaseStore, store_url: str
) -> None:
    good = examples.record(examples.cpu_fault()[0], 5)
    mixed = msgspec.structs.replace(examples.cpu_fault()[0], incident_id="another")
    bad_values = [*examples.NO_EVENTS, b'{"incident_id":"x"}']
    bad_values.append(msgspec.json.encode(mixed))
    huge = msgspec.structs.replace(examples.cpu_fault()[0], time_ms=2**60)
    bad_values.append(msgspec.json.encode(huge))
    bad = [Record(EVENTS, 1, i, 0, None, value) for i, value in enumerate(bad_values)]
    before = dropped("case-store")
    await store.apply([*bad, good])
    assert dropped("case-store") - before == {"no_value": 1, "malformed": len(bad) - 1}
    assert await store.positions() == {(EVENTS, 0): 6, (EVENTS, 1): len(bad)}
    assert len((await contents(store_url))["case"]) == 1


async def test_an_incident_of_another_environment_gets_no_case(
    store: CaseStore, store_url: str
) -> None:
    elsewhere = examples.event(examples.cpu_incident(environment="staging"), "opened")
    before = dropped("case-store")
    await store.apply([examples.record(elsewhere, 0)])
    assert dropped("case-store") - before == {"other_environment": 1}
    assert await store.positions() == {(EVENTS, 0): 1}
    assert (await contents(store_url))["case"] == []


async def test_a_foreign_topic_is_refused(sqlite_store: CaseStore) -> None:
    with pytest.raises(ValueError, match=r"is not the case store's"):
        await sqlite_store.apply([Record("telemetry", 0, 0, 0, None, b"{}")])


async def test_text_with_nul_and_any_character_is_kept(store: CaseStore, reader: Reader) -> None:
    hostile = "nul \0, quote ', \u202e, \U0001f9e8, <b>"
    signal = msgspec.structs.replace(examples.cpu_incident().signals[0], example=hostile)
    incident = examples.cpu_incident(
        title=hostile, services=(hostile, "nul \ufffd"), signals=(signal,)
    )
    await store.apply([examples.record(examples.event(incident, "opened", text=hostile), 0)])
    file = await reader.file("1")
    assert file is not None
    assert file.case.incident == incident
    assert file.events[0].text == hostile.replace("\0", "\ufffd")
    assert hostile.replace("\0", "\ufffd") in await reader.services()


async def test_the_list_has_open_cases_first_and_filters_and_pages(
    store: CaseStore, reader: Reader
) -> None:
    events: list[IncidentEvent] = []
    for i in range(120):
        incident = examples.cpu_incident(
            id=f"inc-{i:03}",
            opened_ms=examples.CPU_START_MS + i,
            state="resolved" if i % 3 else "investigating",
            severity="P1" if i % 2 else "P4",
            services=("checkout",) if i < 7 else ("cart", "frontend"),
        )
        events.append(examples.event(incident, "opened"))
    await store.apply([examples.record(e, i) for i, e in enumerate(events)])

    pages = [await reader.listing(Filter(page=page)) for page in (1, 2, 3, 99)]
    assert [len(p.cases) for p in pages] == [50, 50, 20, 20]
    assert pages[0].total == 120
    states = [case.open for page in pages[:3] for case in page.cases]
    assert states == sorted(states, reverse=True)
    assert [c.incident.id for c in pages[0].cases[:2]] == ["inc-117", "inc-114"]
    assert (await reader.listing(Filter(state="open"))).total == 40
    assert (await reader.listing(Filter(state="resolved", severity="P1"))).total == 40
    assert (await reader.listing(Filter(service="checkout"))).total == 7
    assert (await reader.listing(Filter(state="\0", severity="\0", service="\0"))).total == 0
    assert await reader.find("\0") is None
    assert await reader.services() == ["cart", "checkout", "frontend"]
    assert REGISTRY.get_sample_value("tocsin_cases", {"state": "investigating"}) == 40


@pytest.mark.parametrize("change", ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"])
async def test_the_audit_cannot_be_changed(store: CaseStore, store_url: str, change: str) -> None:
    await store.apply(everything())
    database = Database(tables.SCHEMA, store_url)
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="append-only"):
        async with database.writing() as connection:
            await connection.exec_driver_sql(change)
    await database.close()
