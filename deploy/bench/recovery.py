"""`tocsin bench recovery`: how long a killed worker takes until it is at full speed again.

The product's own worker on a real Kafka, with as many series as are asked for, in a process that is
killed with SIGKILL while records go on coming at the pace of the clock, and started again at once:
warm, with the copies of its checkpoints on disk, and cold, with the folder of them gone.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from deploy.bench.answer import answer
from deploy.bench.feed import Feed
from deploy.bench.killed_worker import KilledWorker
from deploy.bench.place import Place, place
from deploy.bench.process import processors
from deploy.bench.task import PARTITIONS
from deploy.bench.workload import SERIES_A_SERVICE
from schemas.configuration import Windows

EVENTS_A_SERIES_AND_WINDOW = 2
KILLS = 3
LEARN_WINDOWS = 12
"""Windows that are worked through before the first kill; a few more come before each."""
SETTLED_SECONDS = 20.0
"""At the pace of the clock before each kill, so that one comes at any point between checkpoints."""

Kind = Literal["warm", "cold"]


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """One kill. Seconds count from the start of the new process, `cpu_seconds` are the processor
    time that it took until it had judged a window: less depends on what else the machine does.

    `ready_seconds` until the stages are restored, `judged_seconds` until detection has judged a
    window, `caught_up_seconds` until nothing is left but what comes each second.
    """

    kind: Kind
    ready_seconds: float
    judged_seconds: float
    caught_up_seconds: float
    cpu_seconds: float


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """The result. `checkpoint_mb` is of all stages together, before compression."""

    series: int
    events_per_second: int
    checkpoint_mb: float
    peak_rss_mb: float
    restarts: list[Restart]
    median_warm_seconds: float
    median_cold_seconds: float


def main(
    *,
    series: int = 100_000,
    kills: int = KILLS,
    bootstrap: str | None = None,
    json: Path | None = None,
) -> int:
    """Measures, prints a table and writes `json`. Returns 0, or 1 where it could not measure."""
    return answer(lambda console: run(series, kills, bootstrap, console), table, json)


def run(series: int, kills: int, bootstrap: str | None, console: Console) -> Recovery:
    """Lets a worker learn, then kills it again and again. Raises `BenchError`."""
    cpu, others = processors()
    name = f"recovery-{time.time_ns() // 1_000_000}"
    with (
        tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder,
        place("kafka", bootstrap, name, others) as where,
    ):
        services = max(PARTITIONS, round(series / SERIES_A_SERVICE))
        a_window = services * SERIES_A_SERVICE * EVENTS_A_SERIES_AND_WINDOW
        rate = max(1, round(a_window / Windows().window_seconds))
        worker = KilledWorker(Path(folder), where.servers, name, cpu=cpu, most_series=2 * series)
        return _measured(worker, _feed(where, worker, services, rate), kills, console)


def _feed(where: Place, worker: KilledWorker, services: int, rate: int) -> Feed:
    where.create(worker.topic, PARTITIONS)
    return Feed(where.servers, worker.topic, PARTITIONS, services, rate)


def _measured(worker: KilledWorker, feed: Feed, kills: int, console: Console) -> Recovery:
    window_events = round(feed.rate * Windows().window_seconds)
    with console.status("loading"), feed:
        feed.fill(LEARN_WINDOWS * window_events)
        console.log(f"{feed.written} records are there; learning")
        with worker:
            worker.start()
            worker.until_caught_up(feed, timeout_seconds=1800)
            feed.go_on()
            restarts, checkpoint_bytes = [], 0.0
            for number in range(2 * kills):
                kind: Kind = "cold" if number % 2 else "warm"
                time.sleep(SETTLED_SECONDS + number * 1.7)
                seen = worker.until_caught_up(feed, timeout_seconds=600)
                checkpoint_bytes = max(checkpoint_bytes, seen.sum("tocsin_checkpoint_bytes"))
                restarts.append(_restart(worker, feed, kind))
                console.log(msgspec.json.encode(restarts[-1]).decode())
            worker.until_caught_up(feed, timeout_seconds=600)
            return Recovery(
                series=feed.series,
                events_per_second=feed.rate,
                checkpoint_mb=round(checkpoint_bytes / 1e6, 1),
                peak_rss_mb=round(worker.peak_rss_mb()),
                restarts=restarts,
                median_warm_seconds=_median(restarts, "warm"),
                median_cold_seconds=_median(restarts, "cold"),
            )


def _restart(worker: KilledWorker, feed: Feed, kind: Kind) -> Restart:
    worker.kill()
    if kind == "cold":
        worker.forget()
    began = time.monotonic()
    worker.start()
    worker.until_ready(300)
    ready = time.monotonic() - began
    worker.until_judged(300)
    judged, cpu = time.monotonic() - began, worker.cpu_seconds()
    worker.until_caught_up(feed, timeout_seconds=600)
    return Restart(
        kind=kind,
        ready_seconds=round(ready, 2),
        judged_seconds=round(judged, 2),
        caught_up_seconds=round(time.monotonic() - began, 2),
        cpu_seconds=round(cpu, 2),
    )


def _median(restarts: list[Restart], kind: Kind) -> float:
    return statistics.median(r.judged_seconds for r in restarts if r.kind == kind)


def table(result: Recovery) -> Table:
    """The result for people."""
    shown = Table(
        title=f"a killed worker with {result.series} series, {result.events_per_second} events/s",
        caption=f"checkpoints of {result.checkpoint_mb:g} MB in all; at most "
        f"{result.peak_rss_mb:g} MB resident",
    )
    for column in ("restart", "restored", "first window judged", "processor time", "caught up"):
        shown.add_column(column, justify="left" if column == "restart" else "right")
    for r in result.restarts:
        seconds = (r.ready_seconds, r.judged_seconds, r.cpu_seconds, r.caught_up_seconds)
        shown.add_row(r.kind, *(f"{s:.1f} s" for s in seconds))
    return shown
