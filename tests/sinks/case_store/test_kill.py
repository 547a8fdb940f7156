"""The store and kill -9."""

import asyncio
import random
import sys

import pytest

from sinks.case_store import tables
from sinks.case_store.reader import Filter, Reader
from sinks.database import Database
from tests.sinks.case_store.applying import EVENTS, INCIDENTS


@pytest.mark.slow
async def test_killed_four_times_it_has_every_event_once_and_its_position_is_true(
    store_url: str,
) -> None:
    moments = random.Random(11)
    reader = Reader(database := Database(tables.SCHEMA, store_url))
    before = 0
    for _ in range(4):
        child = await _start(store_url)
        assert child.stdout is not None
        for _ in range(moments.randint(1, 15)):
            assert await child.stdout.readline() == b"applied\n"
        await asyncio.sleep(moments.uniform(0, 0.01))  # somewhere amid its next transaction
        child.kill()
        await child.wait()
        position = (await reader.positions()).get((EVENTS, 0), 0)
        assert position == await _events(database)
        assert position > before
        before = position
    assert before < 4 * INCIDENTS, "killed while it had work to do"
    child = await _start(store_url)
    await child.communicate()
    assert child.returncode == 0
    assert await _events(database) == 4 * INCIDENTS
    listing = await reader.listing(Filter(state="resolved", page=99))
    assert (listing.total, listing.cases[-1].number) == (INCIDENTS, 1)
    await database.close()


async def _start(url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.sinks.case_store.applying",
        url,
        stdout=asyncio.subprocess.PIPE,
    )


async def _events(database: Database) -> int:
    async with database.reading() as connection:
        found = await connection.exec_driver_sql("SELECT count(*) FROM timeline")
        return int(found.scalar_one())
