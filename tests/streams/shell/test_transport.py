"""Places, acks and positions of the transport's consumer."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from deploy.brokers.mock import MockBroker
from streams.run import Run
from streams.shell.consumer_thread import ConsumerThread
from streams.shell.transport import MAX_UNACKED_RUNS, Consumer, Transport
from tests.streams.shell.conftest import produce

RAW = TP("raw", 0)
OTHER = TP("raw", 1)


def run(tp: TP, *offsets: int) -> Run:
    none = [None] * len(offsets)
    return Run(tp.topic, tp.partition, offsets, [1000] * len(offsets), none, none)


class Thread:
    """Answers each poll with one run of every partition that is asked for."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer
        self.asked: list[set[TP]] = []
        self.waited: list[float] = []
        self.sought: list[tuple[TP, int]] = []
        self._next = 0

    async def getmany(self, partitions: set[TP], seconds: float) -> dict[TP, list[Run]]:
        self.asked.append(set(partitions))
        self.waited.append(seconds)
        self._next += 10
        return {tp: [run(tp, self._next, self._next + 9)] for tp in sorted(partitions)}

    async def seek_to_committed(self) -> dict[TP, int]:
        return {RAW: 5, OTHER: 7}

    async def seek_wait(self, positions: dict[TP, int]) -> None:
        self.sought += positions.items()
        self.consumer._read_offset.update(positions)

    def assignment(self) -> set[TP]:
        return {RAW, OTHER}

    def highwater(self, tp: TP) -> int:
        return 1000


@pytest.fixture
async def consumer() -> AsyncIterator[Any]:
    app = faust.App("test", broker="runs://127.0.0.1:1", autodiscover=False, web_enabled=False)
    consumer: Any = app.consumer
    assert isinstance(app.transport, Transport)
    assert isinstance(consumer, Consumer)
    consumer._thread = Thread(consumer)
    consumer._active_partitions = {RAW, OTHER}
    app.topics._acking_topics.add("raw")
    yield consumer


@pytest.mark.parametrize(("session", "shorter"), [(6, 6), (90, 30)])
async def test_the_lease_lasts_for_a_session_or_a_rebalance_whichever_is_shorter(
    session: float, shorter: float
) -> None:
    app = faust.App("test", broker="runs://127.0.0.1:1", autodiscover=False, web_enabled=False)
    app.conf.broker_session_timeout = session
    app.conf.broker_rebalance_timeout = 30
    consumer: Any = app.consumer
    consumer.lease.renew(time.monotonic() - shorter)
    assert not consumer.lease.holds()
    consumer.lease.renew(time.monotonic() + 1 - shorter / 2)
    assert consumer.lease.holds()


async def poll(consumer: Any) -> list[Any]:
    return [message async for _, message in consumer.getmany(timeout=0.01)]


async def test_a_run_is_one_message_and_its_offset_is_the_last_records(consumer: Any) -> None:
    message = (await poll(consumer))[0]
    assert message.offset == 19
    assert message.value.offsets == (10, 19)
    assert message.key is None


async def test_a_partition_with_two_unacknowledged_runs_is_not_fetched(consumer: Any) -> None:
    delivered = [m for _ in range(MAX_UNACKED_RUNS) for m in await poll(consumer)]
    assert await poll(consumer) == []
    first_of_raw = next(m for m in delivered if m.tp == RAW)
    consumer.ack(first_of_raw)
    assert {m.tp for m in await poll(consumer)} == {RAW}
    assert consumer._thread.asked[-1] == {RAW}


async def test_with_all_places_taken_an_ack_wakes_the_poll_at_once(consumer: Any) -> None:
    delivered = [m for _ in range(MAX_UNACKED_RUNS) for m in await poll(consumer)]
    waiting = asyncio.create_task(consumer._getmany({RAW, OTHER}, 60.0))
    await asyncio.sleep(0)
    consumer.ack(delivered[0])
    await asyncio.wait_for(waiting, 1)


async def test_acknowledging_twice_frees_one_place(consumer: Any) -> None:
    for _ in range(MAX_UNACKED_RUNS):
        messages = await poll(consumer)
    assert consumer.ack(messages[0])
    assert not consumer.ack(messages[0])
    assert len(consumer._unacked_runs[messages[0].tp]) == MAX_UNACKED_RUNS - 1


async def test_an_ack_commits_nothing(consumer: Any) -> None:
    for message in await poll(consumer):
        consumer.ack(message)
    assert consumer._filter_committable_offsets([RAW, OTHER]) == {}


async def test_revoked_partitions_free_their_places(consumer: Any) -> None:
    await poll(consumer)
    assert consumer.has_unacked(RAW)
    consumer._clear([RAW])
    assert not consumer.has_unacked(RAW)
    assert consumer.has_unacked(OTHER)


async def test_an_ack_of_before_a_seek_frees_no_place_of_after_it(consumer: Any) -> None:
    old = (await poll(consumer))[0]
    await consumer.seek(old.tp, 3)
    new = next(m for m in await poll(consumer) if m.tp == old.tp)
    consumer.ack(old)
    assert consumer.has_unacked(new.tp)


async def test_a_run_fetched_before_a_seek_past_it_takes_no_place(consumer: Any) -> None:
    """Faust drops it without an ack; two of them would stop the partition for good."""
    consumer._read_offset[RAW] = 1000
    for _ in range(MAX_UNACKED_RUNS + 1):
        await poll(consumer)
    assert not consumer.has_unacked(RAW)
    assert consumer.has_unacked(OTHER)


async def test_the_state_s_own_position_counts_over_the_committed_one(consumer: Any) -> None:
    consumer.positions = lambda: {RAW: 42, TP("raw", 9): 1}
    await consumer.perform_seek()
    assert consumer._thread.sought == [(RAW, 42)]
    assert consumer._read_offset[RAW] == 42
    assert consumer._read_offset[OTHER] == 7


class Held:
    """A consumer's thread without the thread."""

    _seek_to_committed = ConsumerThread._seek_to_committed

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.app = SimpleNamespace(tables=SimpleNamespace(changelog_topics={"changelog"}))

    def _ensure_consumer(self) -> AIOKafkaConsumer:
        return self._consumer


async def test_where_nothing_is_committed_what_was_fetched_and_dropped_is_read_again(
    mock_broker: MockBroker,
) -> None:
    servers = mock_broker.bootstrap_servers
    mock_broker.create_topic("raw", 2)
    mock_broker.create_topic("changelog", 1)
    await produce(servers, "raw", {0: [b"0"] * 10, 1: [b"1"] * 10})
    await produce(servers, "changelog", {0: [b"c"]})
    consumer = AIOKafkaConsumer(
        "raw",
        "changelog",
        bootstrap_servers=servers,
        group_id="worker",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        fetched = 0
        while fetched < 21:
            found = await consumer.getmany(timeout_ms=200)
            fetched += sum(len(records) for records in found.values())
        await consumer.commit({TopicPartition("raw", 1): 7})
        sought = await Held(consumer)._seek_to_committed()  # type: ignore[misc]
        places = [
            TopicPartition("raw", 0),
            TopicPartition("raw", 1),
            TopicPartition("changelog", 0),
        ]
        assert [await consumer.position(place) for place in places] == [0, 7, 1]
    finally:
        await consumer.stop()
    assert sought == {TP("raw", 0): None, TP("raw", 1): 7}


async def test_what_was_fetched_and_dropped_between_two_runs_is_fetched_again(
    consumer: Any,
) -> None:
    consumer._active_partitions = {RAW}

    async def getmany(partitions: set[TP], _seconds: float) -> dict[TP, list[Run]]:
        first, last = fetched.pop(0)
        made = replace(run(RAW, first, last), from_offset=first, until_offset=last + 1)
        return {RAW: [made]} if RAW in partitions else {}

    fetched = [(5, 9), (20, 29), (10, 29)]
    consumer._thread.getmany = getmany
    assert [m.offset for m in await poll(consumer)] == [9]
    assert await poll(consumer) == []  # what stands from 10 to 20 is missing
    assert consumer._thread.sought == [(RAW, 10)]
    assert [m.value.from_offset for m in await poll(consumer)] == [10]
