"""A broker that cannot be reached for a while, and input that goes on meanwhile."""

import asyncio
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
from msgspec.structs import replace

from deploy.brokers import apache
from deploy.brokers.apache import ApacheKafka
from deploy.chaos.proxy import Proxy
from schemas.configuration import Configuration, Windows
from schemas.observations import ObservationBatch
from streams.shell.worker import Worker
from tests.streams.shell.conftest import (
    LimitStages,
    Reader,
    Records,
    metric,
    produce,
    topic_partitions,
    working,
)

IDLE_SECONDS = 3.0
AWAY_SECONDS = 12.0
SESSION_SECONDS = 45.0
"""Longer than the broker is away: the group does not notice."""

BEFORE, AFTER = 3_000, 9_000
"""Event times, in ms, of what is sent before and while the broker is away."""


@pytest.fixture
def proxied() -> Iterator[tuple[ApacheKafka, Proxy, str]]:
    """A broker, a proxy before it, and the address that leads through that."""
    if not apache.available():
        pytest.skip("Apache Kafka needs java (17 or newer) and mvn on the path")
    with Proxy() as proxy:
        listeners, advertised = {"PROXIED": "PLAINTEXT"}, {"PROXIED": proxy.address}
        with ApacheKafka(listeners=listeners, advertised=advertised) as broker:
            proxy.lead_to(broker.address("PROXIED"))
            yield broker, proxy, proxy.address


@pytest.mark.slow
@pytest.mark.kafka
async def test_nothing_is_late_that_was_sent_while_the_broker_could_not_be_read(
    proxied: tuple[ApacheKafka, Proxy, str],
    configuration: Callable[..., Configuration],
) -> None:
    broker, proxy, address = proxied
    windows = Windows(
        window_seconds=1, allowed_lateness_seconds=0, idle_timeout_seconds=IDLE_SECONDS
    )
    c = configuration(address, "away-", windows=windows)
    c = replace(c, worker=replace(c.worker, session_timeout_seconds=SESSION_SECONDS))
    for topic, partitions in topic_partitions(c, 1).items():
        broker.create_topic(topic, partitions)
    begin_ms = int(time.time()) * 1000

    async def send(first_ms: int, last_ms: int) -> None:
        values = [metric(begin_ms + ms) for ms in range(first_ms, last_ms, 100)]
        await produce(broker.bootstrap_servers, c.sources[0].topic, {0: values})

    topics = c.topics.observations, c.topics.dead_letters
    async with (
        working(Worker(c, stages=LimitStages(c))),
        Reader(broker.bootstrap_servers, *topics) as reader,
    ):
        await send(0, BEFORE)
        await reader.until(lambda records: counted(records) >= 20)
        proxy.cut()
        await send(BEFORE, AFTER)
        await asyncio.sleep(AWAY_SECONDS)
        proxy.mend()
        records = await reader.until(
            lambda records: counted(records) + len(late(records)) >= AFTER // 100, 60
        )
    assert not late(records)
    assert counted(records) == AFTER // 100


def counted(records: Records) -> int:
    batches = (
        msgspec.json.decode(r.value, type=ObservationBatch)
        for r in records
        if "observations" in r.topic
    )
    return sum(o.count for batch in {b.id: b for b in batches}.values() for o in batch.observations)


def late(records: Records) -> Records:
    return [r for r in records if "dead-letters" in r.topic]
