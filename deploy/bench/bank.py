"""`tocsin bench bank`: the default detectors of gauges over many series at once, on one core."""

import zlib
from collections.abc import Callable
from pathlib import Path
from time import process_time

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.bench.answer import write_json
from deploy.bench.bank_rivals import RIVALS, measure
from deploy.bench.bank_workload import STEP_MS, Fleet
from deploy.console import new_console
from detectors.calibration import FleetCalibrator
from detectors.gauge_bank import GaugeBank
from detectors.novelty import NOTABLE_SCORE
from detectors.novelty_grid import EPOCH_SAMPLES

_WARMUP_TICKS = 96
_METRICS = 20
"""Different metrics that the series are of: what is noisy by nature is learnt by metric."""
_RIVAL_SAMPLES = 4_000
_RIVAL_SECONDS = 1.0


class RivalResult(msgspec.Struct, frozen=True, kw_only=True):
    """A detector of one series, in Python."""

    name: str
    points_per_second: float
    bytes_per_series: float


class BankResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result for scripts. Rates and seconds are of the process's own processor time.

    Each series has both detectors that a gauge has, its season and its novelty. `points` are
    samples scored and learnt; missing ones do not count. A snapshot is all parts:
    `snapshot_seconds` to make, `restore_seconds` to take back.
    """

    series: int
    points_per_second: float
    bytes_per_series: float
    points: int
    ticks: int
    slowest_tick_seconds: float
    notable_share: float
    parts: int
    snapshot_bytes: int
    snapshot_compressed_bytes: int
    snapshot_seconds: float
    restore_seconds: float
    others: tuple[RivalResult, ...]


def main(series: int = 100_000, *, ticks: int = EPOCH_SAMPLES, json: Path | None = None) -> int:
    """Measures, prints a table and writes `json`; returns 0.

    With as many ticks as an epoch has, the rare heavy step of every series is in the measurement.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("bank", total=_WARMUP_TICKS + ticks + len(RIVALS))
        result = run(series, ticks, lambda: progress.advance(bar))
    out = new_console()
    out.print(table(result))
    out.print(
        f"{result.ticks} samples of {result.series:,} series, 1 in 100 missing; slowest tick "
        f"{result.slowest_tick_seconds:.2f} s; {100 * result.notable_share:.3f} % of the samples "
        f"told\nSnapshot: {result.parts} parts, {result.snapshot_bytes / 1e6:,.0f} MB "
        f"({result.snapshot_compressed_bytes / 1e6:,.0f} MB compressed), saved in "
        f"{result.snapshot_seconds:.2f} s, restored in {result.restore_seconds:.2f} s"
    )
    write_json(json, result)
    return 0


def run(series: int, ticks: int, done: Callable[[], None] = lambda: None) -> BankResult:
    """Measures the bank and then its rivals; calls `done` after each step."""
    bank, fleet = GaugeBank(), Fleet(series)
    metrics = [FleetCalibrator() for _ in range(_METRICS)]
    for i in range(series):
        bank.place(f'gauge{{instance="{i}"}}', fleet=metrics[i % _METRICS])
    row = np.full(bank.places, np.nan)
    seconds, points, notable = [], 0, 0
    for tick in range(_WARMUP_TICKS + ticks):
        time_ms, values = fleet.next()
        row[:series] = values
        began = process_time()
        scores = bank.observe(time_ms, time_ms + STEP_MS, row)
        for metric in metrics:
            metric.settle()
        elapsed = process_time() - began
        if tick >= _WARMUP_TICKS:
            seconds.append(elapsed)
            points += int(np.isfinite(values).sum())
            notable += int((scores >= NOTABLE_SCORE).sum())
        done()
    began = process_time()
    parts = bank.dump(every=True)
    saved = process_time()
    GaugeBank().load(parts)
    restored = process_time()
    return BankResult(
        series=series,
        points_per_second=points / sum(seconds),
        bytes_per_series=bank.bytes_per_series * bank.places / series,
        points=points,
        ticks=ticks,
        slowest_tick_seconds=max(seconds),
        notable_share=notable / points,
        parts=len(parts),
        snapshot_bytes=sum(map(len, parts.values())),
        snapshot_compressed_bytes=sum(len(zlib.compress(p, 1)) for p in parts.values()),
        snapshot_seconds=saved - began,
        restore_seconds=restored - saved,
        others=_others(done),
    )


def _others(done: Callable[[], None]) -> tuple[RivalResult, ...]:
    results = []
    for rival in RIVALS:
        rate, held = measure(rival, _RIVAL_SAMPLES, _RIVAL_SECONDS)
        results.append(RivalResult(name=rival.name, points_per_second=rate, bytes_per_series=held))
        done()
    return tuple(results)


def table(result: BankResult) -> Table:
    """The bank and its rivals for a terminal."""
    shown = Table("", title="Points a second on one core", title_justify="left")
    for heading in ("points/s", "µs a point", "bytes a series", "times the bank's time"):
        shown.add_column(heading, justify="right")
    ours = result.points_per_second
    rows = [(f"tocsin, bank of {result.series:,} series", ours, result.bytes_per_series)]
    rows += [(o.name, o.points_per_second, o.bytes_per_series) for o in result.others]
    for name, rate, held in rows:
        shown.add_row(
            name, f"{rate:,.0f}", f"{1e6 / rate:.2f}", f"{held:,.0f}", f"{ours / rate:,.1f}"
        )
    return shown
