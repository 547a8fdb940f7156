"""`tocsin bench ingest`: what the worker makes of raw events on one core, beside a bare loop.

The reference is aiokafka and orjson and nothing else, in the same run on the same records. Both
read a topic that was filled before, each time in a fresh process that is held to one processor;
the broker has the others.
"""

import statistics
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.bench.answer import answer
from deploy.bench.place import Place, place
from deploy.bench.process import measure, processors
from deploy.bench.task import PARTITIONS, Kind, Measured, Task, configuration
from deploy.bench.workload import EVENTS_PER_SECOND, SERIES_A_SERVICE, SERVICES
from deploy.brokers import apache
from deploy.topics import changelogs, plan

BrokerKind = Literal["auto", "mock", "kafka"]

MOCK_EVENTS = 60_000
"""As many as the embedded broker can hold: it keeps about 5 MB a partition."""


class Ingest(msgspec.Struct, frozen=True, kw_only=True):
    """The result. Rates are medians over the repeats; stages are seconds of the median run.

    `ratio` compares wall time, `cpu_ratio` the processor time that each took for an event, which
    other work on the machine disturbs less.
    """

    events: int
    events_per_second: float
    bare_events_per_second: float
    ratio: float
    cpu_ratio: float
    peak_rss_mb: float
    bare_peak_rss_mb: float
    stages: dict[str, dict[str, float]]
    core: dict[str, float]
    counts: dict[str, int]
    event_time_rate: int
    partitions: int
    series: int
    broker: str
    repeats: int
    runs: list[Measured]


def main(
    *,
    events: int = 1_000_000,
    repeats: int = 3,
    rate: int = EVENTS_PER_SECOND,
    partitions: int = PARTITIONS,
    series: int = SERVICES * SERIES_A_SERVICE,
    broker: BrokerKind = "auto",
    bootstrap: str | None = None,
    json: Path | None = None,
) -> int:
    """Measures, prints a table and writes `json`. Returns 0, or 1 where it could not measure.

    `rate` is how many events come in one second of event time, `series` about how many they are of.
    """
    load = Load(events, rate, partitions, max(partitions, round(series / SERIES_A_SERVICE)))
    return answer(
        lambda _: run(load, repeats=repeats, broker=broker, bootstrap=bootstrap), table, json
    )


class Load(NamedTuple):
    """What is sent. Each partition has a service at least, since one without is waited for."""

    events: int
    rate: int
    partitions: int
    services: int


def run(load: Load, *, repeats: int, broker: BrokerKind, bootstrap: str | None) -> Ingest:
    """Fills a topic, then measures reference and worker in turn. Raises `BenchError`."""
    if broker == "auto":
        broker = "kafka" if bootstrap or apache.available() else "mock"
    if broker == "mock" and not bootstrap and load.events > MOCK_EVENTS:
        print(
            f"the embedded broker holds only {MOCK_EVENTS} events: measuring with those",
            file=sys.stderr,
        )
        load = load._replace(events=MOCK_EVENTS)
    cpu, others = processors()
    name = f"tocsin-bench-{uuid.uuid4().hex[:8]}"
    with (
        tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder,
        place(broker, bootstrap, name, others) as where,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        bar = progress.add_task("", total=2 * repeats + 2)

        def step(kind: Kind, part: str = "") -> Measured:
            progress.update(bar, description=f"{kind} {part}".strip())
            task = Task(
                kind=kind,
                events=load.events,
                rate=load.rate,
                services=load.services,
                partitions=load.partitions,
                topic=f"{name}.raw",
                name=f"{name}.{part or kind}",
                bootstrap_servers=where.servers,
                create_topics=where.admin,
                cpu=None if kind == "load" else cpu,
            )
            if kind == "worker":
                _create_topics(where, task)
            measured = measure(task, Path(folder))
            progress.advance(bar)
            return measured

        where.create(f"{name}.raw", load.partitions)
        step("load")
        runs = [step(kind, str(n)) for n in range(repeats) for kind in _IN_TURN]
        core = step("core")
    return _result(bootstrap or broker, load, runs, core)


_IN_TURN: tuple[Kind, ...] = ("bare", "worker")


def _create_topics(where: Place, task: Task) -> None:
    """What one run of the worker writes; its changelogs too where it cannot create them itself."""
    settings = configuration(task)
    wanted = plan(settings)
    if not where.admin:
        wanted += changelogs(settings, {task.topic: task.partitions})
    for topic in wanted:
        where.create(topic.name, topic.partitions)


def _result(broker: str, load: Load, runs: Sequence[Measured], core: Measured) -> Ingest:
    bare = [run for run in runs if run.kind == "bare"]
    worker = [run for run in runs if run.kind == "worker"]
    speed, bare_speed = _median(worker, _per_second), _median(bare, _per_second)
    middle = sorted(worker, key=lambda run: run.seconds)[len(worker) // 2]
    return Ingest(
        events=core.events,
        events_per_second=round(speed),
        bare_events_per_second=round(bare_speed),
        ratio=round(speed / bare_speed, 3),
        cpu_ratio=round(_median(bare, _cpu) / _median(worker, _cpu), 3),
        peak_rss_mb=round(max(run.peak_rss_mb for run in worker), 1),
        bare_peak_rss_mb=round(max(run.peak_rss_mb for run in bare), 1),
        stages=_stages(middle),
        core={name: round(seconds, 3) for name, seconds in core.stages.items()},
        counts=middle.counts | core.counts,
        event_time_rate=load.rate,
        partitions=load.partitions,
        series=load.services * SERIES_A_SERVICE,
        broker=broker,
        repeats=len(worker),
        runs=[*runs, core],
    )


def _per_second(run: Measured) -> float:
    return run.events / run.seconds


def _cpu(run: Measured) -> float:
    return run.cpu_seconds


def _median(runs: Sequence[Measured], of: Callable[[Measured], float]) -> float:
    return statistics.median(of(run) for run in runs)


def _stages(run: Measured) -> dict[str, dict[str, float]]:
    """Seconds and share of each stage; `transport` is all the rest: Kafka, Faust, checkpoints."""
    seconds = dict(run.stages)
    seconds["transport"] = max(0.0, run.seconds - sum(seconds.values()))
    return {
        name: {"seconds": round(value, 3), "share": round(value / run.seconds, 3)}
        for name, value in seconds.items()
    }


def table(result: Ingest) -> Table:
    """The result for a terminal."""
    shown = Table(
        title=f"{result.events:,} events, {result.event_time_rate:,} a second of event time, of "
        f"{result.series:,} series in {result.partitions} partitions; one core; {result.broker}; "
        f"median of {result.repeats}",
        title_justify="left",
    )
    for heading in ("", "events/s", "µs/event", "share", "peak MB"):
        shown.add_column(heading, justify="left" if not heading else "right")
    for name, rate, memory in (
        ("aiokafka + orjson", result.bare_events_per_second, result.bare_peak_rss_mb),
        ("tocsin worker", result.events_per_second, result.peak_rss_mb),
    ):
        shown.add_row(name, f"{rate:,.0f}", f"{1e6 / rate:.2f}", "", f"{memory:.0f}")
    for name, stage in result.stages.items():
        cost = f"{stage['seconds'] * 1e6 / result.events:.2f}"
        shown.add_row(f"  {name}", "", cost, f"{stage['share']:.0%}", "")
    shown.add_section()
    for name, seconds in result.core.items():
        shown.add_row(f"{name} alone", "", f"{seconds * 1e6 / result.events:.2f}", "", "")
    shown.add_section()
    shown.add_row("ratio", f"{result.ratio:.2f}", "", "", "")
    shown.add_row("ratio of processor time", f"{result.cpu_ratio:.2f}", "", "", "")
    return shown
