"""Workers that come and go while events are read, on a real Apache Kafka."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import msgspec
import pytest

from deploy.brokers.apache import ApacheKafka
from schemas.anomalies import AnomalyBatch
from schemas.configuration import Configuration, Windows
from schemas.observations import ObservationBatch
from streams.shell.worker import Worker
from tests.streams.shell.conftest import (
    START_MS,
    LimitStages,
    Reader,
    Records,
    metric,
    produce,
    topic_partitions,
    working,
)

PARTITIONS = 4
SPAN = range(0, 60_000, 50)
"""Event times of one part, a minute."""

WINDOWS = 23
"""Closed after four parts; the last window is still open."""

Make = Callable[..., Configuration]


@pytest.mark.slow
@pytest.mark.kafka
async def test_partitions_move_between_workers_and_every_event_is_counted_once(
    kafka_broker: ApacheKafka, configuration: Make
) -> None:
    servers = kafka_broker.bootstrap_servers
    c = configuration(servers, "move-", 0.3, Windows(idle_timeout_seconds=3600))
    for topic, partitions in topic_partitions(c, PARTITIONS).items():
        kafka_broker.create_topic(topic, partitions)
    first, second = (Worker(c, stages=LimitStages(c)) for _ in range(2))

    async with (
        Reader(servers, c.topics.observations, c.topics.anomalies) as reader,
        AsyncExitStack() as later,
    ):
        async with working(first):
            await part(c, 0)
            await reader.until(minutes(1))
            await later.enter_async_context(working(second))
            await part(c, 1)
            await reader.until(minutes(2))
            await shared(first, second)
            await part(c, 2)
            await reader.until(minutes(3))
        await part(c, 3)
        records = await reader.until(minutes(4))
        assert len(keepers(second)) == PARTITIONS + c.topics.observation_shards + 1
        assert set(counts(records).values()) == {PARTITIONS * 10_000 // 50}
        await reader.until(lambda r: len(detected(r)) >= 2 * WINDOWS)
    ends = [START_MS + 10_000 * (i + 1) for i in range(WINDOWS)]
    assert detected(records) == {(f"shard/{shard}", end) for shard in range(2) for end in ends}


async def part(c: Configuration, minute: int) -> None:
    """Writes one minute of events to every partition."""
    values = [metric(START_MS + minute * 60_000 + ms) for ms in SPAN]
    topic = c.sources[0].topic
    await produce(c.kafka.bootstrap_servers, topic, dict.fromkeys(range(PARTITIONS), values))


async def shared(*workers: Worker) -> None:
    """Waits until every worker keeps something."""
    async with asyncio.timeout(30):
        while not all(worker.ready() and keepers(worker) for worker in workers):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def keepers(worker: Worker) -> list[object]:
    """The stages that a worker keeps."""
    assert worker._pipeline is not None
    return list(worker._pipeline.keepers())


def counts(records: Records) -> dict[int, int]:
    """Events by end of window, repeats dropped by id."""
    batches: dict[str, ObservationBatch] = {}
    for record in records:
        if "observations" in record.topic:
            batch = msgspec.json.decode(record.value, type=ObservationBatch)
            assert batches.setdefault(batch.id, batch) == batch
    found: dict[int, int] = {}
    for batch in batches.values():
        if batch.observations:
            number = sum(o.count for o in batch.observations)
            found[batch.window_end_ms] = found.get(batch.window_end_ms, 0) + number
    return found


def detected(records: Records) -> set[tuple[str, int]]:
    """Shards and windows that detection has passed."""
    batches = [
        msgspec.json.decode(r.value, type=AnomalyBatch) for r in records if "anomalies" in r.topic
    ]
    return {(b.source, b.window_end_ms) for b in batches if b.window_end_ms > START_MS}


def minutes(number: int) -> Callable[[Records], bool]:
    """Whether all windows of so many minutes are whole but for the last, which is still open."""
    whole = PARTITIONS * 10_000 // 50

    def enough(records: Records) -> bool:
        return sum(1 for n in counts(records).values() if n == whole) >= 6 * number - 1

    return enough
