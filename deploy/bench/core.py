"""The pure stages alone, on records in memory: what they cost without Kafka, and what they keep."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec
import orjson

from deploy.bench.task import (
    RUN_RECORDS,
    SHARDS,
    Measured,
    Stopwatch,
    Task,
    configuration,
    peak_rss_mb,
)
from deploy.bench.workload import RawEvent, workload
from schemas.anomalies import AnomalyBatch
from schemas.observations import ObservationBatch
from streams.run import Run
from streams.shell.memory import suit_runs
from streams.shell.real import RealStages


def core(task: Task) -> Measured:
    """Works through the workload run by run. Stages are seconds of processor time."""
    suit_runs()
    measured = _Core(task)
    watch = Stopwatch()
    events = workload(task.events, task.partitions, task.rate, services=task.services)
    for run in runs(task.topic or "raw", task.partitions, events):
        measured.take(run)
    measured.save()
    wall, cpu = watch.read()
    return Measured(
        kind="core",
        events=task.events,
        seconds=wall,
        cpu_seconds=cpu,
        peak_rss_mb=peak_rss_mb(),
        stages=measured.seconds,
        counts=measured.counts,
    )


class _Core:
    """The three stages in a row, each timed."""

    def __init__(self, task: Task) -> None:
        settings = configuration(msgspec.structs.replace(task, topic=task.topic or "raw"))
        (source,) = settings.sources
        stages = RealStages(settings)
        sources = [f"{source.topic}/{p}" for p in range(task.partitions)]
        self._ingest = [stages.ingest(source, p) for p in range(task.partitions)]
        self._detect = [stages.detect(shard, sources) for shard in range(SHARDS)]
        self._incident = stages.incident()
        self._decoder = msgspec.json.Decoder(ObservationBatch)
        self.seconds: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def take(self, run: Run) -> None:
        """One run all the way through."""
        with self._timed("orjson"):
            for value in run.values:
                orjson.loads(value or b"")
        with self._timed("ingest"):
            said = self._ingest[run.partition].process(run)
        batches = self._over_the_wire(said.batches)
        with self._timed("detect"):
            found = [self._detect[batch.shard].process([batch]) for batch in batches]
        anomalies: list[AnomalyBatch] = [batch for some in found for batch in some]
        with self._timed("incident"):
            events = self._incident.process(anomalies)
        self._count("dead_letters", len(said.dead_letters))
        self._count("observations", sum(len(batch.observations) for batch in batches))
        self._count("batches", len(batches))
        self._count("anomalies", sum(len(batch.anomalies) for batch in anomalies))
        self._count("incident_events", len(events))

    def save(self) -> None:
        """One snapshot of everything, as a checkpoint takes it."""
        for name, stages in (("ingest", self._ingest), ("detect", self._detect)):
            with self._timed(f"{name} snapshot"):
                size = sum(len(stage.snapshot()) for stage in stages)
            self._count(f"{name}_snapshot_bytes", size)

    def _over_the_wire(self, batches: Iterable[ObservationBatch]) -> list[ObservationBatch]:
        with self._timed("wire"):
            encoded = [msgspec.json.encode(batch) for batch in batches]
            decoded = [self._decoder.decode(value) for value in encoded]
        self._count("wire_bytes", sum(map(len, encoded)))
        return decoded

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started

    def _count(self, name: str, count: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + count


def runs(topic: str, partitions: int, events: Iterable[RawEvent]) -> Iterator[Run]:
    """The events as the transport would hand them over: runs of each partition in turn."""
    waiting: list[list[RawEvent]] = [[] for _ in range(partitions)]
    next_offset = [0] * partitions

    def cut(partition: int) -> Run:
        taken, waiting[partition] = waiting[partition], []
        first = next_offset[partition]
        next_offset[partition] += len(taken)
        return Run(
            topic,
            partition,
            range(first, next_offset[partition]),
            [event.time_ms for event in taken],
            [event.key for event in taken],
            [event.value for event in taken],
        )

    for event in events:
        waiting[event.partition].append(event)
        if len(waiting[event.partition]) == RUN_RECORDS:
            yield cut(event.partition)
    for partition in range(partitions):
        if waiting[partition]:
            yield cut(partition)
