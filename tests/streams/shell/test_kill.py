"""kill -9 of the worker, on a real Apache Kafka: nothing is lost, nothing is said twice."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer

from deploy.brokers.apache import ApacheKafka
from deploy.demo import RECORDING
from schemas.configuration import Configuration, Source, Windows
from schemas.incidents import IncidentEvent
from schemas.observations import ObservationBatch
from streams.files import read_events
from streams.run import Run
from streams.shell.real import RealStages
from streams.shell.stages import Stages
from tests.deploy.case_store import CaseStoreProcess, case_store
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
async def test_three_kills_in_a_million_events_lose_and_double_nothing(
    kafka_broker: ApacheKafka, configuration: Make, tmp_path: Path
) -> None:
    c = configuration(
        kafka_broker.bootstrap_servers,
        "kill-",
        0.2,
        Windows(idle_timeout_seconds=3600),
        instance_id="worker-0",
    )
    events = {
        partition: [value(partition, index) for index in range(EVENTS // PARTITIONS)]
        for partition in range(PARTITIONS)
    }
    kafka_broker.create_topic(c.topics.deliveries, 1)
    with case_store(c, tmp_path) as store:
        killing = asyncio.create_task(kill_once_it_holds_something(store))
        found = await killed_three_times(kafka_broker, c, events, LimitStages, tmp_path)
        await killing
        await asyncio.to_thread(store.until_it_keeps, len(found.incident_events))
        await asyncio.sleep(2)
        kept, cases = store.events(), store.cases()
    assert found.events > 0.99 * EVENTS
    assert len(found.incident_events) > 20
    assert sorted(kept) == sorted(found.incident_events)
    incidents = {event.incident_id for event in found.incident_events.values()}
    assert sorted(case["incident_id"] for case in cases) == sorted(incidents)


@pytest.mark.slow
@pytest.mark.kafka
async def test_three_kills_in_a_recorded_hour_change_no_incident(
    kafka_broker: ApacheKafka, configuration: Make, tmp_path: Path
) -> None:
    """With the real detection; its state is what a restart could most easily change."""
    c = configuration(
        kafka_broker.bootstrap_servers,
        "hour-",
        0.05,
        Windows(idle_timeout_seconds=3600),
        instance_id="worker-0",
    )
    events: dict[int, list[bytes]] = defaultdict(list)
    for index, line in enumerate(read_events(sorted(RECORDING.glob("*.jsonl.gz")))):
        events[index % PARTITIONS].append(line)
    found = await killed_three_times(kafka_broker, c, events, RealStages, tmp_path)
    assert len(found.incident_events) > 5


async def kill_once_it_holds_something(store: CaseStoreProcess) -> None:
    await asyncio.to_thread(store.until_it_keeps, 5)
    store.kill()


async def killed_three_times(
    broker: ApacheKafka,
    c: Configuration,
    events: Mapping[int, Sequence[bytes]],
    stages: type[LimitStages] | type[RealStages],
    folder: Path,
) -> "Tally":
    """What a worker says that is killed three times; fails unless it is what it must say."""
    for topic, partitions in topic_partitions(c, PARTITIONS).items():
        broker.create_topic(topic, partitions)
    expected = what_must_be_said(c, events, stages(c))
    write_events(c, events)
    file, log = folder / "configuration.json", folder / "worker.log"
    file.write_bytes(msgspec.json.encode(c))
    command = [sys.executable, "-m", "tests.streams.shell.process", str(file), stages.__name__]

    servers, topics = c.kafka.bootstrap_servers, c.topics
    async with Reader(servers, topics.observations, topics.incident_events) as reader:
        for share in (0.2, 0.45, 0.7):
            with worker_process(command, log) as alive:
                await reader.until(alive(has(share * expected.events)), 120)
        with worker_process(command, log) as alive:
            await reader.until(alive(has(expected.events, len(expected.incident_events))), 120)
        await asyncio.sleep(1)
        found = tally(await reader.until(lambda _: True))
    assert found.events == expected.events
    assert found.batches == expected.batches
    assert found.incident_events == expected.incident_events
    assert log.read_text().count("goes on from") >= 2, "no kill came after a checkpoint"
    return found


def write_events(c: Configuration, events: Mapping[int, Sequence[bytes]]) -> None:
    producer = Producer(
        {
            "bootstrap.servers": c.kafka.bootstrap_servers,
            "linger.ms": 50,
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    for partition, values in events.items():
        for number, record in enumerate(values):
            producer.produce(c.sources[0].topic, record, partition=partition)
            if not number % 1000:
                producer.poll(0)
    assert producer.flush(120) == 0


@contextmanager
def worker_process(
    command: Sequence[str], log: Path
) -> Iterator[Callable[[Callable[[Records], bool]], Callable[[Records], bool]]]:
    """Runs a worker and kills it with SIGKILL at the end of the block.

    Gives what makes a condition fail at once when the worker has ended by itself.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:

            def alive(condition: Callable[[Records], bool]) -> Callable[[Records], bool]:
                def checked(records: Records) -> bool:
                    assert process.poll() is None, log.read_text()[-4000:]
                    return condition(records)

                return checked

            yield alive
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()


class Tally:
    """What has been said, repeats dropped by id; a repeat that says something else is an error."""

    def __init__(self) -> None:
        self.batches: dict[str, ObservationBatch] = {}
        self.incident_events: dict[str, IncidentEvent] = {}
        self.events = 0
        self.seen = 0

    def batch(self, batch: ObservationBatch) -> None:
        if batch.idle:
            return
        if batch.id not in self.batches:
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


def has(events: float, incident_events: int = 0) -> Callable[[Records], bool]:
    """Whether so much has been said."""
    return lambda records: (
        tally(records).events >= events and len(tally(records).incident_events) >= incident_events
    )


def what_must_be_said(
    c: Configuration, events: Mapping[int, Sequence[bytes]], stages: Stages
) -> Tally:
    """The same stages over the same events, without Kafka."""
    expected, source = Tally(), Source(topic=c.sources[0].topic)
    by_shard: dict[int, list[ObservationBatch]] = defaultdict(list)
    for partition, values in events.items():
        blank = [None] * len(values)
        run = Run(source.topic, partition, range(len(values)), [-1] * len(values), blank, values)
        for batch in stages.ingest(source, partition).process(run).batches:
            expected.batch(batch)
            by_shard[batch.shard].append(batch)
    incident = stages.incident()
    sources = [f"{source.topic}/{partition}" for partition in range(PARTITIONS)]
    for shard, batches in sorted(by_shard.items()):
        for event in incident.process(stages.detect(shard, sources).process(batches)):
            expected.incident_event(event)
    return expected
