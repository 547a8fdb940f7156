"""Timers: many that are due together, mistakes about one of them, and storms meanwhile."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from sinks.database import Database
from sinks.notifier import timers
from sinks.notifier.clockwork import PUT_OFF_MS, Clockwork
from sinks.notifier.tables import SCHEMA
from sinks.notifier.timers import Timer
from tests.sinks.examples import cpu_incident, event
from tests.sinks.notifier.conftest import Bench, until
from tests.sinks.notifier.escalation.test_run import configured, opened

NOW_MS = 1_764_000_000_000
NAMES = tuple(f"inc-{number}" for number in range(120))
BROKEN = "inc-7"


async def test_a_mistake_about_one_undoes_what_it_did_and_nothing_of_the_others(
    tmp_path: Path,
) -> None:
    database = Database(SCHEMA, f"sqlite:///{tmp_path}/notifier.sqlite3")
    await database.migrate()
    async with database.writing() as connection:
        for name in NAMES:
            await timers.put(connection, Timer("page", name, name, NOW_MS, b""))

    async def fire(connection: AsyncConnection, timer: Timer) -> None:
        await timers.put(connection, timer._replace(due_ms=None, state=b"fired"))
        await timers.put(connection, Timer("led to", timer.subject, "", None, b""))
        if timer.subject == BROKEN:
            raise ValueError("a mistake about this one")

    fired = asyncio.Event()
    clockwork = Clockwork(
        database, {"page": fire}, now_ms=lambda: NOW_MS, on_fired=fired.set, settle_seconds=0
    )
    running = asyncio.create_task(clockwork.run())

    def left() -> int:
        with sqlite3.connect(tmp_path / "notifier.sqlite3") as store:
            query = "SELECT count(*) FROM notifier_timer WHERE due_ms <= ?"
            return int(store.execute(query, (NOW_MS,)).fetchone()[0])

    await until(lambda: left() == 0, "that all have fired", seconds=60)
    clockwork.stop()
    await running
    async with database.reading() as connection:
        led_to = {name for name in NAMES if await timers.get(connection, "led to", name)}
        found = {name: await timers.get(connection, "page", name) for name in NAMES}
    await database.close()
    assert found.pop(BROKEN) == Timer("page", BROKEN, BROKEN, NOW_MS + PUT_OFF_MS, b"")
    assert led_to == set(NAMES) - {BROKEN}
    assert {each and each.state for each in found.values()} == {b"fired"}


@pytest.mark.parametrize(("gained_ms", "waits"), [(500, 99), (0, 29), (-400, 29)])
async def test_timers_wait_for_events_that_catch_up_and_not_for_those_that_stay_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gained_ms: int, waits: int
) -> None:
    database = Database(SCHEMA, f"sqlite:///{tmp_path}/notifier.sqlite3")
    clockwork = Clockwork(database, {}, now_ms=lambda: NOW_MS, on_fired=lambda: None)
    waited = []
    for second in range(100):
        monkeypatch.setattr("sinks.notifier.clockwork._now", lambda now=second: float(now))
        clockwork.heard(NOW_MS - 3_600_000 + second * gained_ms)
        waited.append(clockwork._settled_at > second)
    await database.close()
    assert waited == [number <= waits for number in range(100)]


async def test_a_timer_that_is_due_does_not_wait_for_all_of_a_storm(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, opened())
    await bench.settle(notifier)
    storm = [event(cpu_incident(id=f"inc-{n}", severity="P4"), "opened") for n in range(400)]
    taking = asyncio.create_task(notifier.apply([bench.record(made) for made in storm]))
    while not bench_has_taken(bench):  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.001)
    bench.clock.advance(600)
    notifier.wake()
    await taking
    with sqlite3.connect(bench.file) as store:
        query = "SELECT count(*) FROM notifier_message WHERE recipient = 'grace'"
        assert store.execute(query).fetchone()[0] == 1


def bench_has_taken(bench: Bench) -> bool:
    """Whether some of the storm is in the store already."""
    with sqlite3.connect(bench.file) as store:
        return int(store.execute("SELECT count(*) FROM notifier_incident").fetchone()[0]) > 1
