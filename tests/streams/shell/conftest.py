"""What the worker's tests share: topics, a configuration, and stages that are easy to judge."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.anomalies import Anomaly, AnomalyBatch
from schemas.configuration import Configuration, Kafka, Source, Topics, Windows, WorkerSection
from schemas.observations import Observation, ObservationBatch
from streams.align import Aligner
from streams.incidents import IncidentStage
from streams.shed import ShedIngest
from streams.shell.real import RealStages
from streams.shell.worker import Worker

START_MS = 1_700_000_000_000
Records = list[Any]


class LimitDetect:
    """Says that a gauge above 10 is an anomaly; nothing is learned, so tests can foretell it."""

    def __init__(self, shard: int, sources: Sequence[str]) -> None:
        self._name = f"shard/{shard}"
        self._aligner = Aligner[ObservationBatch](sources)

    @property
    def watermark_ms(self) -> int | None:
        return self._aligner.watermark_ms

    @property
    def late(self) -> int:
        return self._aligner.late

    @property
    def left_out(self) -> dict[str, int]:
        return {}

    def process(self, batch: Sequence[ObservationBatch]) -> list[AnomalyBatch]:
        return [
            AnomalyBatch(
                self._name,
                end_ms,
                tuple(
                    anomaly_of(observation, end_ms)
                    for held in batches
                    for observation in held.observations
                    if observation.max > 10
                ),
            )
            for end_ms, batches in self._aligner.add(batch)
        ]

    def snapshot(self) -> bytes:
        return self._aligner.snapshot()

    def restore(self, data: bytes) -> None:
        self._aligner.restore(data, ObservationBatch)


def anomaly_of(observation: Observation, end_ms: int) -> Anomaly:
    """What `LimitDetect` says of an observation."""
    return Anomaly(
        series=observation.series,
        service=observation.service,
        kind="saturation",
        window_start_ms=end_ms - 10_000,
        window_end_ms=end_ms,
        since_ms=end_ms - 10_000,
        score=12.0,
        value=observation.max,
        expected=1.0,
        lower=0.0,
        upper=10.0,
        reason="above the limit",
    )


class LimitStages:
    """The real stages but for detection."""

    def __init__(self, configuration: Configuration) -> None:
        self._c = configuration

    def ingest(self, source: Source, partition: int) -> ShedIngest:
        return RealStages(self._c).ingest(source, partition)

    def detect(self, shard: int, sources: Sequence[str]) -> LimitDetect:
        return LimitDetect(shard, sources)

    def incident(self) -> IncidentStage:
        shards = [f"shard/{i}" for i in range(self._c.topics.observation_shards)]
        c = self._c
        return IncidentStage(c.environment, shards, c.windows, c.incidents, c.catalogue)


def topic_partitions(configuration: Configuration, raw: int) -> dict[str, int]:
    """Every topic that the worker needs, changelogs too."""
    topics, group = configuration.topics, configuration.worker.consumer_group
    counts = {source.topic: raw for source in configuration.sources}
    counts |= {
        topics.observations: topics.observation_shards,
        topics.anomalies: 1,
        topics.commands: 1,
        topics.incidents: 1,
        topics.incident_events: 1,
        topics.silence_events: 1,
        topics.dead_letters: 1,
    }
    for source in configuration.sources:
        counts[f"{group}-ingest-{source.topic}-changelog"] = raw
    counts[f"{group}-detect-changelog"] = topics.observation_shards
    counts[f"{group}-incident-changelog"] = 1
    return counts


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[..., Configuration]:
    """Makes a configuration for a broker; names begin with `prefix`."""

    def make(
        bootstrap_servers: str,
        prefix: str = "",
        checkpoint_seconds: float = 0.5,
        windows: Windows = Windows(),  # noqa: B008
        create_topics: bool = False,
        instance_id: str | None = None,
    ) -> Configuration:
        names = {
            field: f"{prefix}{getattr(Topics(), field)}"
            for field in Topics.__struct_fields__
            if field != "observation_shards"
        }
        return Configuration(
            kafka=Kafka(bootstrap_servers=bootstrap_servers, create_topics=create_topics),
            topics=Topics(**names, observation_shards=2),
            sources=(Source(topic=f"{prefix}telemetry"),),
            windows=windows,
            worker=WorkerSection(
                consumer_group=f"{prefix}worker",
                checkpoint_seconds=checkpoint_seconds,
                instance_id=instance_id,
                data_dir=str(tmp_path / "var" / "worker"),
            ),
        )

    return make


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[None]:
    """Runs a worker until the block ends, and raises what it raised."""
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


def metric(time_ms: int, value: float = 1.0, service: str = "cart") -> bytes:
    """A raw record."""
    return msgspec.json.encode(
        {"time": time_ms, "service": service, "metric": "load_ratio", "value": value}
    )


async def produce(
    bootstrap_servers: str,
    topic: str,
    values: dict[int, list[bytes]],
    key: bytes | None = None,
    headers: Sequence[tuple[str, bytes]] = (),
) -> None:
    """Writes values to partitions and waits for the broker."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, linger_ms=5)
    await producer.start()
    try:
        for partition, records in values.items():
            for value in records:
                await producer.send(
                    topic, value, key=key, partition=partition, headers=list(headers)
                )
        await producer.flush()
    finally:
        await producer.stop()


class Reader:
    """Reads topics from their beginning, whole; for looking at what a worker wrote."""

    def __init__(self, bootstrap_servers: str, *topics: str) -> None:
        self._consumer = AIOKafkaConsumer(
            *topics, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest"
        )
        self.records: Records = []

    async def __aenter__(self) -> "Reader":
        await self._consumer.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._consumer.stop()

    async def until(
        self, enough: Callable[[Records], bool], timeout_seconds: float = 30
    ) -> Records:
        """All records, once `enough` is true of them."""
        async with asyncio.timeout(timeout_seconds):
            while not enough(self.records):
                for records in (await self._consumer.getmany(timeout_ms=200)).values():
                    self.records += records
        return self.records


async def committed(bootstrap_servers: str, group: str, topic: str, partition: int) -> int | None:
    """The committed offset of a group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        offset: int | None = await consumer.committed(TopicPartition(topic, partition))
        return offset
    finally:
        await consumer.stop()
