"""The first start of a group, which creates the topics that it saves its stages to."""

import asyncio
from collections.abc import Callable

import pytest

from deploy.brokers.apache import ApacheKafka
from schemas.configuration import Configuration
from streams.shell.connection import WorkerError, changelogs, make_changelogs, partition_counts
from streams.shell.worker import Worker
from tests.streams.shell.conftest import LimitStages, metric, produce, topic_partitions, working

PARTITIONS = 64


@pytest.mark.slow
@pytest.mark.kafka
async def test_a_first_start_on_many_partitions_has_a_stage_for_each(
    kafka_broker: ApacheKafka, configuration: Callable[..., Configuration]
) -> None:
    servers = kafka_broker.bootstrap_servers
    c = configuration(servers, "first-", create_topics=True)
    created = changelogs(c)
    for topic, partitions in topic_partitions(c, PARTITIONS).items():
        if topic not in created:
            kafka_broker.create_topic(topic, partitions)
    await produce(servers, c.sources[0].topic, {p: [metric(1_000)] for p in range(PARTITIONS)})
    worker = Worker(c, stages=LimitStages(c))
    async with working(worker), asyncio.timeout(120):
        while not worker.ready():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert worker._pipeline is not None
        assert len(worker._pipeline.keepers()) == PARTITIONS + c.topics.observation_shards + 1
    counts = await partition_counts({"bootstrap_servers": servers})
    assert {name: counts[name] for name in created} == {
        name: counts[topic] for name, topic in created.items()
    }
    await make_changelogs({"bootstrap_servers": servers}, c, counts)  # all there: nothing to do


@pytest.mark.slow
@pytest.mark.kafka
async def test_two_workers_may_create_them_at_once_and_a_refusal_is_said(
    kafka_broker: ApacheKafka, configuration: Callable[..., Configuration]
) -> None:
    client = {"bootstrap_servers": kafka_broker.bootstrap_servers}
    c = configuration(kafka_broker.bootstrap_servers, "at-once-", create_topics=True)
    counts = topic_partitions(c, 4)
    lacking = {topic: n for topic, n in counts.items() if topic not in changelogs(c)}
    await asyncio.gather(*(make_changelogs(client, c, lacking) for _ in range(2)))
    there = await partition_counts(client)
    assert changelogs(c).keys() <= there.keys()
    c = configuration(kafka_broker.bootstrap_servers, "at-once/", create_topics=True)
    lacking = {t: n for t, n in topic_partitions(c, 4).items() if t not in changelogs(c)}
    with pytest.raises(WorkerError, match=r"at-once/.*changelog cannot be created.*InvalidTopic"):
        await make_changelogs(client, c, lacking)
