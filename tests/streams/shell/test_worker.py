"""The worker on the embedded broker."""

from collections.abc import Callable

import msgspec

from deploy.brokers.mock import MockBroker
from schemas.configuration import Configuration
from schemas.observations import ObservationBatch
from streams.shell.worker import Worker
from tests.streams.shell.conftest import (
    START_MS,
    LimitStages,
    Reader,
    Records,
    committed,
    metric,
    produce,
    topic_partitions,
    working,
)

Make = Callable[..., Configuration]


def broker_for(mock: MockBroker, configuration: Configuration, raw: int) -> None:
    for topic, partitions in topic_partitions(configuration, raw).items():
        mock.create_topic(topic, partitions)


async def test_every_event_is_counted_once_and_its_offset_is_committed(
    mock_broker: MockBroker, configuration: Make
) -> None:
    servers = mock_broker.bootstrap_servers
    c = configuration(servers)
    broker_for(mock_broker, c, raw=2)
    values = [metric(START_MS + 100 * i) for i in range(2000)]
    await produce(servers, "telemetry", {0: values, 1: values})

    async with (
        working(Worker(c, stages=LimitStages(c))),
        Reader(servers, c.topics.observations) as reader,
    ):
        records = await reader.until(lambda r: counted(r) >= 2 * 1900)
    assert counted(records) == 2 * sum(
        1 for i in range(2000) if START_MS + 100 * i < last_end(records)
    )
    assert await committed(servers, c.worker.consumer_group, "telemetry", 0) == 2000


def batches(records: Records) -> dict[str, ObservationBatch]:
    decoded = [msgspec.json.decode(r.value, type=ObservationBatch) for r in records]
    return {batch.id: batch for batch in decoded if not batch.idle}


def counted(records: Records) -> int:
    return sum(o.count for b in batches(records).values() for o in b.observations)


def last_end(records: Records) -> int:
    return max(batch.window_end_ms for batch in batches(records).values())
