"""The measured processes of `tocsin bench ingest`, each run fresh: the reference, worker, core.

Started as `python -m deploy.bench.measure` with a `Task` as JSON; the last line that it prints is
a `Measured` as JSON.
"""

import asyncio
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

import msgspec
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import Producer
from prometheus_client import Counter, Histogram

from deploy.bench.workload import EVENTS_PER_SECOND, RawEvent, workload
from schemas.anomalies import AnomalyBatch
from schemas.configuration import Configuration, Kafka, Listen, Source, Topics, WorkerSection
from schemas.observations import ObservationBatch
from streams.run import Run

PARTITIONS: Final = 4
SHARDS: Final = 4
RUN_RECORDS: Final = 5_000
"""As many as the worker asks a fetch for."""

_POLL_SECONDS: Final = 0.02


Kind = Literal["load", "bare", "worker", "core"]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure. `cpu` is the one processor to use; any if None."""

    kind: Kind
    events: int
    rate: int = EVENTS_PER_SECOND
    bootstrap_servers: str = ""
    topic: str = ""
    name: str = ""
    create_topics: bool = True
    cpu: int | None = None
    timeout_seconds: float = 900
    profile: str | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement. Seconds are wall time, `cpu_seconds` the process's own over the same span.

    `stages` are seconds by stage; `counts` what came out.
    """

    kind: str
    events: int
    seconds: float
    cpu_seconds: float
    peak_rss_mb: float
    stages: dict[str, float] = {}
    counts: dict[str, int] = {}


class BenchError(Exception):
    """A measurement did not come to its end."""


class _Stopwatch:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


def peak_rss_mb() -> float:
    """The most memory that this process has had resident, MB."""
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


# the raw topic


def load(task: Task) -> Measured:
    """Writes the workload to the raw topic, with event times as Kafka's timestamps."""
    failed: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": task.bootstrap_servers,
            "linger.ms": 50,
            "batch.num.messages": 1_000,
            "queue.buffering.max.messages": 200_000,
            "enable.idempotence": True,
        }
    )
    watch = _Stopwatch()
    for event in workload(task.events, PARTITIONS, task.rate):
        _produce(producer, task.topic, event, failed)
    producer.flush(60)
    if failed or len(producer):
        raise BenchError(f"{task.topic}: {len(failed) + len(producer)} records not written")
    seconds, cpu = watch.read()
    return Measured(
        kind="load", events=task.events, seconds=seconds, cpu_seconds=cpu, peak_rss_mb=peak_rss_mb()
    )


def _produce(producer: Producer, topic: str, event: RawEvent, failed: list[str]) -> None:
    def report(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(str(error))

    while True:
        try:
            producer.produce(
                topic,
                event.value,
                event.key,
                partition=event.partition,
                timestamp=event.time_ms,
                on_delivery=report,
            )
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.1)


# the reference


async def bare(task: Task) -> Measured:
    """The loop that anyone would write: aiokafka and orjson, nothing kept."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(task.topic, p) for p in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        watch, left = _Stopwatch(), task.events
        while left:
            fetched = await consumer.getmany(timeout_ms=30_000, max_records=RUN_RECORDS)
            if not fetched:
                raise BenchError(f"{task.topic}: {left} of {task.events} records did not come")
            for records in fetched.values():
                for record in records:
                    orjson.loads(record.value)
                left -= len(records)
        seconds, cpu = watch.read()
    finally:
        await consumer.stop()
    return Measured(
        kind="bare", events=task.events, seconds=seconds, cpu_seconds=cpu, peak_rss_mb=peak_rss_mb()
    )


# the worker


def configuration(task: Task) -> Configuration:
    """The worker's: all defaults, with topics and group of this run's own."""
    own = f"{task.name}.{{}}".format
    return Configuration(
        kafka=Kafka(bootstrap_servers=task.bootstrap_servers, create_topics=task.create_topics),
        topics=Topics(
            observations=own("observations"),
            anomalies=own("anomalies"),
            incidents=own("incidents"),
            incident_events=own("incident-events"),
            commands=own("commands"),
            deliveries=own("deliveries"),
            dead_letters=own("dead-letters"),
            observation_shards=SHARDS,
        ),
        sources=(Source(topic=task.topic),),
        worker=WorkerSection(
            consumer_group=own("worker"), admin=Listen(), data_dir=f"{task.name}-data"
        ),
    )


async def worker(task: Task) -> Measured:
    """The real worker, from its first record until detection has seen every closed window."""
    from streams.shell import metrics  # noqa: PLC0415  (loads Faust, which the others need not)
    from streams.shell.worker import Worker  # noqa: PLC0415

    settings = configuration(task)
    running, stop = Worker(settings), asyncio.Event()
    working = asyncio.create_task(running.run(stop), name="worker")
    try:
        async with asyncio.timeout(task.timeout_seconds):
            await _until(lambda: running.ready() or _sum(metrics.EVENTS) > 0, working)
            watch = _Stopwatch()
            await _until(lambda: _sum(metrics.EVENTS, topic=task.topic) >= task.events, working)
            said = _sum(metrics.WINDOWS_CLOSED) * SHARDS
            await _until(
                lambda: _sum(metrics.EVENTS, topic=settings.topics.observations) >= said, working
            )
            seconds, cpu = watch.read()
    except TimeoutError:
        done = _sum(metrics.EVENTS, topic=task.topic)
        raise BenchError(
            f"the worker did {done} of {task.events} in {task.timeout_seconds} s"
        ) from None
    finally:
        stop.set()
    await working
    return Measured(
        kind="worker",
        events=task.events,
        seconds=seconds,
        cpu_seconds=cpu,
        peak_rss_mb=peak_rss_mb(),
        stages={
            name: _seconds(metrics.STAGE_SECONDS, name) for name in ("ingest", "detect", "incident")
        },
        counts={
            "windows": _sum(metrics.WINDOWS_CLOSED),
            "anomalies": _sum(metrics.ANOMALIES),
            "incidents": _sum(metrics.INCIDENTS),
            "dead_letters": _sum(metrics.DEAD_LETTERS),
        },
    )


async def _until(condition: Callable[[], bool], working: "asyncio.Task[None]") -> None:
    """Looks at a counter from time to time; raises what ended the worker, if it ends first."""
    while not condition():
        if working.done():
            working.result()
            raise BenchError("the worker ended before the records did")
        await asyncio.sleep(_POLL_SECONDS)


def _sum(counter: Counter, **labels: str) -> int:
    samples = [sample for metric in counter.collect() for sample in metric.samples]
    return int(
        sum(
            sample.value
            for sample in samples
            if sample.name.endswith("_total") and labels.items() <= sample.labels.items()
        )
    )


def _seconds(histogram: Histogram, stage: str) -> float:
    samples = [sample for metric in histogram.collect() for sample in metric.samples]
    return sum(
        sample.value
        for sample in samples
        if sample.name.endswith("_sum") and sample.labels.get("stage") == stage
    )


# the pure core


def core(task: Task) -> Measured:
    """The stages alone on records in memory, one after the other: what they cost without Kafka."""
    from streams.shell.memory import suit_runs  # noqa: PLC0415
    from streams.shell.real import RealStages  # noqa: PLC0415

    settings = configuration(task)
    stages = RealStages(settings)
    runs = _runs(task.topic or "raw", workload(task.events, PARTITIONS, task.rate))
    suit_runs()
    seconds: dict[str, float] = {}
    watch = _Stopwatch()

    def timed(name: str, started: float) -> None:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started

    started = time.perf_counter()
    for run in runs:
        for value in run.values:
            orjson.loads(value or b"")
    timed("orjson", started)

    topic = settings.sources[0].topic
    ingest = {p: stages.ingest(settings.sources[0], p) for p in range(PARTITIONS)}
    batches: list[ObservationBatch] = []
    started = time.perf_counter()
    for run in runs:
        batches += ingest[run.partition].process(run).batches
    timed("ingest", started)

    started = time.perf_counter()
    encoded = [msgspec.json.encode(batch) for batch in batches]
    decoder = msgspec.json.Decoder(ObservationBatch)
    batches = [decoder.decode(value) for value in encoded]
    timed("wire", started)

    sources = [f"{topic}/{p}" for p in range(PARTITIONS)]
    detect = {s: stages.detect(s, sources) for s in range(SHARDS)}
    found: list[AnomalyBatch] = []
    started = time.perf_counter()
    for batch in batches:
        found += detect[batch.shard].process([batch])
    timed("detect", started)

    incident = stages.incident()
    started = time.perf_counter()
    events = incident.process(found)
    timed("incident", started)

    wall, cpu = watch.read()
    return Measured(
        kind="core",
        events=task.events,
        seconds=wall,
        cpu_seconds=cpu,
        peak_rss_mb=peak_rss_mb(),
        stages=seconds,
        counts={
            "batches": len(batches),
            "observations": sum(len(batch.observations) for batch in batches),
            "wire_bytes": sum(map(len, encoded)),
            "anomalies": sum(len(batch.anomalies) for batch in found),
            "incident_events": len(events),
        },
    )


def _runs(topic: str, events: Iterable[RawEvent]) -> list[Run]:
    """The events as the transport would hand them over: runs of each partition in turn."""
    waiting: dict[int, list[RawEvent]] = {p: [] for p in range(PARTITIONS)}
    next_offset = dict.fromkeys(waiting, 0)
    runs: list[Run] = []

    def cut(partition: int) -> None:
        taken, waiting[partition] = waiting[partition], []
        first, next_offset[partition] = (
            next_offset[partition],
            next_offset[partition] + len(taken),
        )
        runs.append(_run(topic, partition, first, taken))

    for event in events:
        waiting[event.partition].append(event)
        if len(waiting[event.partition]) == RUN_RECORDS:
            cut(event.partition)
    for partition in list(waiting):
        if waiting[partition]:
            cut(partition)
    return runs


def _run(topic: str, partition: int, first: int, events: Sequence[RawEvent]) -> Run:
    return Run(
        topic,
        partition,
        range(first, first + len(events)),
        [event.time_ms for event in events],
        [event.key for event in events],
        [event.value for event in events],
    )


def measure(task: Task) -> Measured:
    """Runs one task in this process, on its one processor. Raises `BenchError`."""
    if task.cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {task.cpu})
    match task.kind:
        case "load":
            return load(task)
        case "core":
            return core(task)
        case "bare":
            body: Callable[[Task], Any] = bare
        case "worker":
            body = worker
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured: Measured = runner.run(body(task))
    return measured


def main() -> int:
    """One task, as JSON in the only argument."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    if task.profile:
        import cProfile  # noqa: PLC0415

        profiler = cProfile.Profile()
        measured = profiler.runcall(measure, task)
        profiler.dump_stats(task.profile)
    else:
        measured = measure(task)
    print(msgspec.json.encode(measured).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
