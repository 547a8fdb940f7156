"""What a worker knows after it has ended, well or badly."""

from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from deploy.brokers.mock import MockBroker
from schemas.configuration import Configuration
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

Make = Callable[..., Configuration]


@pytest.mark.slow
async def test_a_worker_goes_on_where_the_last_one_ended(
    mock_broker: MockBroker, configuration: Make
) -> None:
    servers = mock_broker.bootstrap_servers
    c = configuration(servers)
    for topic, partitions in topic_partitions(c, 1).items():
        mock_broker.create_topic(topic, partitions)
    for half in range(2):
        times = range(START_MS + half * 95_000, START_MS + (half + 1) * 95_000, 100)
        await produce(servers, "telemetry", {0: [metric(t) for t in times]})
        async with (
            working(Worker(c, stages=LimitStages(c))),
            Reader(servers, c.topics.observations) as reader,
        ):
            records = await reader.until(partial(has_windows, 8 + 10 * half))
    # The windows from 80 s to 95 s were open when the first worker ended.
    assert counts(records) == {START_MS + 10_000 * (i + 1): 100 for i in range(18)}
    said = [msgspec.json.decode(r.value, type=ObservationBatch).id for r in records]
    assert len(said) == len(set(said))


def has_windows(number: int, records: Records) -> bool:
    """Whether so many windows hold something."""
    return len(counts(records)) >= number


def counts(records: Records) -> dict[int, int]:
    """Events by end of window, of all batches."""
    found: dict[int, int] = {}
    for record in records:
        batch = msgspec.json.decode(record.value, type=ObservationBatch)
        if batch.observations:
            found[batch.window_end_ms] = found.get(batch.window_end_ms, 0) + sum(
                o.count for o in batch.observations
            )
    return found
