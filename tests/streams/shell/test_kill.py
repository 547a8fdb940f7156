"""kill -9 of the worker, on a real Apache Kafka: nothing is lost, nothing is said twice."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer

from deploy.brokers.apache import ApacheKafka
from schemas.configuration import Configuration, Source, Windows
from schemas.incidents import IncidentEvent
from schemas.observations import ObservationBatch
from streams.run import Run
from tests.streams.shell.conftest import START_MS, LimitStages, Reader, Records, topic_partitions

EVENTS = 1_000_000
PARTITIONS = 4
EVERY_MS = 20
"""Event time between two records of a partition: 5,000 s in all."""

Make = Callable[..., Configuration]
SERVICES = [f"service-{i}" for i in range(20)]


def value(partition: int, index: int) -> bytes:
    """A record; for three minutes in fifteen a service of this partition is over its limit."""
    time_ms = START_MS + index * EVERY_MS
    service = SERVICES[(index + partition * 5) % len(SERVICES)]
    minute = time_ms // 60_000
    bad = minute % 15 < 3 and service == SERVICES[(minute // 15 * 7 + partition) % len(SERVICES)]
    return b'{"time":%d,"service":"%s","metric":"load_ratio","value":%d}' % (
        time_ms,
        service.encode(),
        100 if bad else index % 7,
    )


@pytest.mark.slow
@pytest.mark.kafka
async def test_three_kills_lose_and_double_nothing(
    kafka_broker: ApacheKafka, configuration: Make, tmp_path: Path
) -> None:
    servers = kafka_broker.bootstrap_servers
    c = configuration(
        servers, "kill-", 0.2, Windows(idle_timeout_seconds=3600), instance_id="worker-0"
    )
    for topic, partitions in topic_partitions(c, PARTITIONS).items():
        kafka_broker.create_topic(topic, partitions)
    write_events(servers, c.sources[0].topic)
    file = tmp_path / "configuration.json"
    file.write_bytes(msgspec.json.encode(c))

    async with Reader(servers, c.topics.observations, c.topics.incident_events) as reader:
        for share in (0.2, 0.45, 0.7):
            with worker_process(file, tmp_path / "worker.log"):
                await reader.until(processed(share * EVENTS), 120)
        expected = what_must_be_said(c)
        with worker_process(file, tmp_path / "worker.log"):
            await reader.until(
                lambda r: (
                    tally(r).events >= expected.events
                    and len(tally(r).incident_events) >= len(expected.incident_events)
                ),
                120,
            )
        await asyncio.sleep(1)
        found = tally(await reader.until(lambda _: True))
    assert found.events == expected.events
    assert found.batches == expected.batches
    assert found.incident_events == expected.incident_events
    assert len(expected.incident_events) > 20
    assert found.repeats > 0, "no kill has cost anything, so nothing was tried"
    log = (tmp_path / "worker.log").read_text()
    assert log.count("ingest 0 goes on from") >= 2, "no kill has come after a checkpoint"


def write_events(servers: str, topic: str) -> None:
    producer = Producer(
        {"bootstrap.servers": servers, "linger.ms": 50, "queue.buffering.max.messages": 2_000_000}
    )
    for index in range(EVENTS // PARTITIONS):
        for partition in range(PARTITIONS):
            producer.produce(topic, value(partition, index), partition=partition)
        if not index % 1000:
            producer.poll(0)
    assert producer.flush(120) == 0


@contextmanager
def worker_process(file: Path, log: Path) -> Iterator[None]:
    """Runs a worker and kills it with SIGKILL at the end of the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.streams.shell.process", str(file)],
            stdout=output,
            stderr=output,
        )
        try:
            yield
            assert process.poll() is None, log.read_text()[-4000:]
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()


class Tally:
    """What has been said, repeats dropped by id; a repeat that says something else is an error."""

    def __init__(self) -> None:
        self.batches: dict[str, ObservationBatch] = {}
        self.incident_events: dict[str, IncidentEvent] = {}
        self.events = 0
        self.repeats = 0
        self.seen = 0

    def batch(self, batch: ObservationBatch) -> None:
        if batch.idle:
            return
        if batch.id in self.batches:
            self.repeats += 1
        else:
            self.events += sum(o.count for o in batch.observations)
        assert self.batches.setdefault(batch.id, batch) == batch

    def incident_event(self, event: IncidentEvent) -> None:
        assert self.incident_events.setdefault(event.id, event) == event


_tallies: dict[int, Tally] = {}


def tally(records: Records) -> Tally:
    """Of everything read so far; each record is looked at once."""
    found = _tallies.setdefault(id(records), Tally())
    for record in records[found.seen :]:
        if "observations" in record.topic:
            found.batch(msgspec.json.decode(record.value, type=ObservationBatch))
        else:
            found.incident_event(msgspec.json.decode(record.value, type=IncidentEvent))
    found.seen = len(records)
    return found


def processed(events: float) -> Callable[[Records], bool]:
    """Whether so many events have been counted."""
    return lambda records: tally(records).events >= events


def what_must_be_said(c: Configuration) -> Tally:
    """The same stages over the same events, without Kafka."""
    stages, expected = LimitStages(c), Tally()
    source = Source(topic=c.sources[0].topic)
    by_shard: dict[int, list[ObservationBatch]] = defaultdict(list)
    for partition in range(PARTITIONS):
        values = [value(partition, index) for index in range(EVENTS // PARTITIONS)]
        columns = range(len(values))
        run = Run(
            source.topic, partition, columns, [-1] * len(values), [None] * len(values), values
        )
        for batch in stages.ingest(source, partition).process(run).batches:
            expected.batch(batch)
            by_shard[batch.shard].append(batch)
    incident = stages.incident()
    sources = [f"{source.topic}/{partition}" for partition in range(PARTITIONS)]
    for shard, batches in sorted(by_shard.items()):
        for event in incident.process(stages.detect(shard, sources).process(batches)):
            expected.incident_event(event)
    return expected
