"""`tocsin bench scale`: what an event costs, whatever the number of series and of partitions.

The pure stages on one core, each point in a fresh process. As many events come for each series in
each window at every point, since what a window says of a series costs more than the events in it.
"""

import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from deploy.bench.answer import answer
from deploy.bench.process import measure, processors
from deploy.bench.task import PARTITIONS, Measured, Task
from deploy.bench.workload import SERIES_A_SERVICE
from schemas.configuration import Windows

SERIES = (100, 1_000, 10_000, 100_000)
COUNTS_OF_PARTITIONS = (1, 4, 16, 64)
SERIES_OVER_PARTITIONS = 2_000
EVENTS_A_SERIES_AND_WINDOW = 5
WINDOWS = 4
LEAST_EVENTS = 200_000


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement. Costs are microseconds of processor time an event, of all stages and each.

    `snapshot_seconds` and `snapshot_mb` are those of one snapshot of everything.
    """

    series: int
    partitions: int
    events: int
    observations: int
    cost: float
    costs: dict[str, float]
    peak_rss_mb: float
    snapshot_mb: float
    snapshot_seconds: float


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """The result: points by number of series and by number of partitions, and the dearest point's
    cost as a multiple of the cheapest's, for each."""

    by_series: list[Point]
    by_partitions: list[Point]
    spread_by_series: float
    spread_by_partitions: float


def main(
    *,
    series: Sequence[int] = SERIES,
    partitions: Sequence[int] = COUNTS_OF_PARTITIONS,
    least_events: int = LEAST_EVENTS,
    json: Path | None = None,
) -> int:
    """Measures, prints a table and writes `json`. Returns 0, or 1 where it could not measure."""
    return answer(lambda _: run(series, partitions, least_events), table, json)


def run(series: Sequence[int], partitions: Sequence[int], least_events: int) -> Scale:
    """Measures every point. Raises `BenchError`."""
    wanted = [(count, PARTITIONS) for count in series]
    wanted += [(SERIES_OVER_PARTITIONS, count) for count in partitions]
    cpu, _ = processors()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        points = [
            _point(task, measure(task, Path(folder)))
            for task in track(
                [_task(*point, least_events, cpu) for point in wanted],
                "measuring",
                console=Console(stderr=True),
                transient=True,
            )
        ]
    by_series, by_partitions = points[: len(series)], points[len(series) :]
    return Scale(
        by_series=by_series,
        by_partitions=by_partitions,
        spread_by_series=_spread(by_series),
        spread_by_partitions=_spread(by_partitions),
    )


def _task(series: int, partitions: int, least_events: int, cpu: int | None) -> Task:
    services = max(partitions, round(series / SERIES_A_SERVICE))
    a_window = services * SERIES_A_SERVICE * EVENTS_A_SERIES_AND_WINDOW
    return Task(
        kind="core",
        events=max(least_events, WINDOWS * a_window),
        rate=max(1, round(a_window / Windows().window_seconds)),
        services=services,
        partitions=partitions,
        cpu=cpu,
    )


def _point(task: Task, measured: Measured) -> Point:
    costs = {
        name: round(measured.stages[name] * 1e6 / measured.events, 3)
        for name in ("ingest", "wire", "detect", "incident")
    }
    counts = measured.counts
    return Point(
        series=task.services * SERIES_A_SERVICE,
        partitions=task.partitions,
        events=measured.events,
        observations=counts["observations"],
        cost=round(sum(costs.values()), 3),
        costs=costs,
        peak_rss_mb=round(measured.peak_rss_mb, 1),
        snapshot_mb=round(
            (counts["ingest_snapshot_bytes"] + counts["detect_snapshot_bytes"]) / 1e6, 2
        ),
        snapshot_seconds=round(
            measured.stages["ingest snapshot"] + measured.stages["detect snapshot"], 3
        ),
    )


def _spread(points: Sequence[Point]) -> float:
    costs = [point.cost for point in points]
    return round(max(costs) / min(costs), 2) if costs else 1.0


def table(result: Scale) -> Table:
    """The result for a terminal."""
    shown = Table(
        title=f"µs of processor time an event; {EVENTS_A_SERIES_AND_WINDOW} events a series and "
        f"window; dearest to cheapest {result.spread_by_series:g} by series, "
        f"{result.spread_by_partitions:g} by partitions",
        title_justify="left",
    )
    costs = ("all", "ingest", "wire", "detect")
    for heading in ("series", "parts", *costs, "peak MB", "state MB", "save s"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for point in chain(result.by_series, result.by_partitions):
        shown.add_row(
            *(f"{count:,}" for count in (point.series, point.partitions)),
            f"{point.cost:.2f}",
            *(f"{point.costs[name]:.2f}" for name in ("ingest", "wire", "detect")),
            f"{point.peak_rss_mb:.0f}",
            f"{point.snapshot_mb:.1f}",
            f"{point.snapshot_seconds:.2f}",
            end_section=point is result.by_series[-1] if result.by_series else False,
        )
    return shown
