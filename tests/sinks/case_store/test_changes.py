"""Changes from a topic of one's own go to the commands topic, each once."""

from typing import Any

import msgspec
import pytest

from sinks.case_store.commands import CommandNotSentError
from sinks.sink import Record
from tests.sinks.case_store.conftest import NOW_MS, Commands, Make
from tests.sinks.examples import dropped

TOPIC = "deployments"


def record(value: Any, offset: int = 0) -> Record:
    data = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return Record(TOPIC, 0, offset, NOW_MS, None, data)


async def test_each_record_becomes_one_change_however_often_it_is_read(
    sqlite_url: str, make: Make, commands: Commands
) -> None:
    store = make(sqlite_url, changes_topic=TOPIC)
    await store.start()
    assert TOPIC in store.topics
    told = record({"service": "cart", "text": "deploy 1.4.2", "actor": "ci", "commit": "ab12"})
    iso = record({"services": ["web"], "summary": "flag on", "time": "2026-11-24T18:00+01:00"}, 1)
    await store.apply([told, iso])
    await store.apply([told, iso])
    positions = await store.positions()
    await store.stop()
    assert [(c.id, c.services, c.text, c.actor, c.from_ms) for c in commands.sent] == [
        ("change-deployments-0-0", ("cart",), "deploy 1.4.2", "ci", NOW_MS),
        ("change-deployments-0-1", ("web",), "flag on", "deployments", 1_795_539_600_000),
    ]
    assert positions[TOPIC, 0] == 2


@pytest.mark.parametrize(
    "value",
    [
        b"{",
        {"text": "no service"},
        {"service": 7},
        {"service": "cart", "time": "yesterday"},
        {"service": "cart", "time": "2026-11-24T18:00"},
    ],
)
async def test_what_is_no_change_is_left_out_and_counted(
    sqlite_url: str, make: Make, commands: Commands, value: Any
) -> None:
    store = make(sqlite_url, changes_topic=TOPIC)
    await store.start()
    before = dropped("case-store")["malformed"]
    await store.apply([record(value)])
    await store.stop()
    assert commands.sent == []
    assert dropped("case-store")["malformed"] == before + 1


async def test_a_change_that_kafka_does_not_take_is_read_again(
    sqlite_url: str, make: Make, commands: Commands
) -> None:
    store = make(sqlite_url, changes_topic=TOPIC)
    await store.start()
    commands.away = True
    told = record({"service": "cart", "text": "deploy 1.4.2"})
    with pytest.raises(CommandNotSentError):
        await store.apply([told])
    assert (TOPIC, 0) not in await store.positions()
    commands.away = False
    await store.apply([told])
    await store.stop()
    assert [c.id for c in commands.sent] == ["change-deployments-0-0"]
