"""The ways in which Faust's consumers are known to end without a word, made to happen.

Each is done to a worker at work. It must be named, the worker must end, and one that begins anew
must do what was left, each event once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from deploy.brokers.mock import MockBroker
from schemas.configuration import Configuration, Windows
from schemas.observations import ObservationBatch
from streams.shell.connection import WorkerError
from streams.shell.pipeline import Pipeline
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

STALL_SECONDS = 3.0
PARTITIONS = 2
WINDOWS = 6
"""Closed by each of the two parts of the input."""

Make = Callable[..., Configuration]
Fault = Callable[[Any, Any], Awaitable[None]]
"""Done to a pipeline and its consumer."""


async def never(*_: object, **__: object) -> Any:
    await asyncio.Event().wait()


async def poll_loop_stands_still(pipeline: Any, consumer: Any) -> None:
    consumer._thread.getmany = never


async def fetching_ends(pipeline: Any, consumer: Any) -> None:
    thread = consumer._thread
    thread.thread_loop.call_soon_threadsafe(thread._consumer._fetcher._fetch_task.cancel)


async def a_partition_is_not_fetched(pipeline: Any, consumer: Any) -> None:
    consumer._thread._consumer.pause(TopicPartition("telemetry", 1))


async def a_task_waits_for_ever(pipeline: Any, consumer: Any) -> None:
    pipeline.ingest["telemetry/1"].take = never


async def commits_stop(pipeline: Any, consumer: Any) -> None:
    async def refused(_: object) -> bool:
        return False

    consumer.commit_positions = refused


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (poll_loop_stands_still, r"telemetry/0 stands at \d+ of \d+ for"),
        (fetching_ends, r"telemetry/0 stands at \d+ of \d+ for"),
        (a_partition_is_not_fetched, r"^telemetry/1 stands at \d+ of \d+ for"),
        (a_task_waits_for_ever, r"telemetry/1 stands at \d+ of \d+ for"),
        (commits_stop, r"telemetry/0 is done to \d+ and committed to \d+ for"),
    ],
)
async def test_a_silent_end_is_named_and_a_new_worker_does_the_rest_once(
    fault: Fault, named: str, mock_broker: MockBroker, configuration: Make
) -> None:
    c = begun(mock_broker, configuration)
    worker = Worker(c, stages=LimitStages(c), stall_seconds=STALL_SECONDS)
    await part(c, 0)
    async with Reader(c.kafka.bootstrap_servers, c.topics.observations) as reader:
        running = asyncio.create_task(worker.run(asyncio.Event()))
        await reader.until(windows(WINDOWS), 120)
        assert worker.live()
        assert worker._pipeline is not None
        await fault(worker._pipeline, worker._pipeline.app.consumer)
        await part(c, 1)
        with pytest.raises(WorkerError, match=named):
            await asyncio.wait_for(running, 100)
        assert not worker.live()
        async with working(Worker(c, stages=LimitStages(c))):
            records = await reader.until(windows(2 * WINDOWS), 120)
    assert not twice(records)


@pytest.mark.slow
async def test_a_restore_that_hangs_is_named_and_a_new_worker_does_all(
    mock_broker: MockBroker, configuration: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = begun(mock_broker, configuration)
    await part(c, 0)
    monkeypatch.setattr(Pipeline, "restore", never)
    worker = Worker(c, stages=LimitStages(c), stall_seconds=STALL_SECONDS, wait_seconds=5)
    with pytest.raises(WorkerError, match="partitions and their state have not come for"):
        await asyncio.wait_for(worker.run(asyncio.Event()), 100)
    monkeypatch.undo()
    async with (
        working(Worker(c, stages=LimitStages(c))),
        Reader(c.kafka.bootstrap_servers, c.topics.observations) as reader,
    ):
        assert not twice(await reader.until(windows(WINDOWS), 120))


@pytest.mark.slow
async def test_a_seek_to_the_beginning_changes_nothing(
    mock_broker: MockBroker, configuration: Make
) -> None:
    c = begun(mock_broker, configuration)
    await part(c, 0)
    worker = Worker(c, stages=LimitStages(c), stall_seconds=STALL_SECONDS)
    async with (
        working(worker),
        Reader(c.kafka.bootstrap_servers, c.topics.observations) as reader,
    ):
        await reader.until(windows(WINDOWS), 120)
        assert worker._pipeline is not None
        for partition in range(PARTITIONS):
            await worker._pipeline.app.consumer.seek(TopicPartition("telemetry", partition), 0)
        await part(c, 1)
        records = await reader.until(windows(2 * WINDOWS), 120)
        assert worker.live()
    assert not twice(records)


@pytest.mark.slow
async def test_a_hundred_partitions_are_all_read(
    mock_broker: MockBroker, configuration: Make
) -> None:
    """A rebalance waits for no task, however many partitions there are."""
    servers = mock_broker.bootstrap_servers
    c = configuration(servers, windows=Windows(idle_timeout_seconds=3600))
    for topic, partitions in topic_partitions(c, 100).items():
        mock_broker.create_topic(topic, partitions)
    values = [metric(START_MS + ms) for ms in range(0, 20_000, 1000)]
    await produce(servers, "telemetry", dict.fromkeys(range(100), values))
    worker = Worker(c, stages=LimitStages(c))
    async with (
        working(worker),
        Reader(servers, c.topics.observations) as reader,
    ):
        records = await reader.until(lambda r: events(r) >= 100 * 10, 120)
        assert worker.live()
    assert not twice(records)


def begun(broker: MockBroker, configuration: Make) -> Configuration:
    """A configuration, and its topics on the broker."""
    c = configuration(broker.bootstrap_servers, windows=Windows(idle_timeout_seconds=3600))
    for topic, partitions in topic_partitions(c, PARTITIONS).items():
        broker.create_topic(topic, partitions)
    return c


async def part(c: Configuration, number: int) -> None:
    """Writes what closes `WINDOWS` windows more; the second part begins where the first ends."""
    length_ms = WINDOWS * 10_000
    first_ms = START_MS + number * length_ms + (5_100 if number else 0)
    last_ms = START_MS + (number + 1) * length_ms + 5_100
    values = [metric(ms) for ms in range(first_ms, last_ms, 100)]
    await produce(c.kafka.bootstrap_servers, "telemetry", dict.fromkeys(range(PARTITIONS), values))


def observed(records: Records) -> list[ObservationBatch]:
    """What was said of windows, as often as it was said."""
    batches = (msgspec.json.decode(r.value, type=ObservationBatch) for r in records)
    return [batch for batch in batches if batch.observations]


def events(records: Records) -> int:
    """How many were counted."""
    return sum(o.count for batch in observed(records) for o in batch.observations)


def windows(number: int) -> Callable[[Records], bool]:
    """Whether the first so many windows of each partition are whole."""
    return lambda records: events(records) >= number * PARTITIONS * 100


def twice(records: Records) -> set[str]:
    """What was said more than once."""
    said = [batch.id for batch in observed(records)]
    return {id for id in said if said.count(id) > 1}
