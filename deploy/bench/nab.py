"""`tocsin bench nab`: the default detector on the Numenta Anomaly Benchmark, by its own rules."""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.bench.answer import write_json
from deploy.bench.nab_corpus import CorpusError, Series, find_corpus, read_corpus
from deploy.bench.nab_detect import GAUSSIAN_PUBLISHED, Detected, detect, windowed_gaussian
from deploy.bench.nab_scoring import Alarms, Floats, Report, alarms, score_corpus
from deploy.console import new_console
from schemas.configuration import Configuration

PUBLISHED = "ARTime 74.9, Numenta HTM 70.1, CAD OSE 69.9, Skyline 58.2, KNN-CAD 58.0"
"""The head of the public scoreboard, standard profile."""


class HalfResult(msgspec.Struct, frozen=True):
    """One half of the corpus; a threshold without a limit is null."""

    files: int
    standard: float
    threshold: float | None
    standard_at_other_threshold: float


class NabResult(msgspec.Struct, frozen=True):
    """The result for scripts.

    `halves` are the scores of the even and of the odd files by name, each with the threshold that
    is best for the other; `halves_in_full` has them with their own as well. Thresholds are in the
    product's own scale, -log10 of a probability.
    """

    standard: float
    reward_low_fp: float
    reward_low_fn: float
    standard_at_default_threshold: float
    halves: tuple[float, float]
    microseconds_per_event: float
    default_threshold: float
    best_threshold: float | None
    halves_in_full: tuple[HalfResult, HalfResult]
    windows: int
    windows_found: int
    false_alarms: int
    false_alarms_per_series_and_day: float
    reference_standard: float
    files: int
    rows: int


def main(
    data: Path | None, *, results: Path | None = None, prefix: str = "", json: Path | None = None
) -> int:
    """Runs, prints, writes `results` and `json`. Returns 0, or 2 if a file cannot be used."""
    try:
        corpus = read_corpus(data or find_corpus())
    except CorpusError as error:
        print(f"tocsin bench nab: {error}", file=sys.stderr)
        return 2
    configuration = Configuration()
    detected = _detect(corpus, configuration)
    at = configuration.detection.threshold
    report = score_corpus(detected.scores, corpus)
    reference = {series.name: windowed_gaussian(series.values) for series in corpus}
    result = _result(corpus, detected, report, score_corpus(reference, corpus).standard, at)
    show(new_console(), result)
    try:
        if results is not None:
            write_results(results, corpus, detected.scores, at, prefix)
        write_json(json, result)
    except OSError as error:
        print(f"tocsin bench nab: {error}; give a place that can be written", file=sys.stderr)
        return 2
    return 0


def _detect(corpus: Sequence[Series], configuration: Configuration) -> Detected:
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.completed} of {task.total} files"))
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=len(corpus))
        return detect(corpus, configuration, lambda: bar.advance(task))


def _result(
    corpus: Sequence[Series], detected: Detected, report: Report, reference: float, at: float
) -> NabResult:
    even, odd = (
        HalfResult(
            half.files,
            half.standard,
            _finite(half.threshold),
            half.standard_at_other_threshold,
        )
        for half in report.halves
    )
    counted = alarms(detected.scores, corpus, at)
    return NabResult(
        standard=report.standard,
        reward_low_fp=report.reward_low_fp,
        reward_low_fn=report.reward_low_fn,
        standard_at_default_threshold=report.standard_curve.at(at),
        halves=(even.standard_at_other_threshold, odd.standard_at_other_threshold),
        microseconds_per_event=detected.microseconds_per_event,
        default_threshold=at,
        best_threshold=_finite(report.threshold),
        halves_in_full=(even, odd),
        windows=counted.windows,
        windows_found=counted.found,
        false_alarms=counted.false,
        false_alarms_per_series_and_day=_per_day(counted),
        reference_standard=reference,
        files=len(corpus),
        rows=sum(len(series.values) for series in corpus),
    )


def _finite(threshold: float) -> float | None:
    return None if threshold == float("inf") else threshold


def _per_day(counted: Alarms) -> float:
    """`days` is summed over the series, so this is already for one of them."""
    return counted.false / counted.days if counted.days else 0.0


def show(console: Console, result: NabResult) -> None:
    """The tables for a terminal."""
    console.print(_scores_table(result))
    console.print(_halves_table(result))
    console.print(
        f"With the default threshold {result.default_threshold:g}: {result.windows_found} of "
        f"{result.windows} windows found, {result.false_alarms} false alarms, "
        f"{result.false_alarms_per_series_and_day:.3f} per series and day"
    )
    console.print(
        f"{result.rows:,} events in {result.files} files, "
        f"{result.microseconds_per_event:.1f} µs an event"
    )
    console.print(f"Public scoreboard, with each file's range told beforehand: {PUBLISHED}")


def _scores_table(result: NabResult) -> Table:
    title = "Numenta Anomaly Benchmark, 0 to 100"
    table = Table("", title=title, title_justify="left")
    headings = ("standard", "low FP", "low FN", "threshold", "standard, default threshold")
    for heading in headings:
        table.add_column(heading, justify="right")
    table.add_row(
        "tocsin",
        f"{result.standard:.2f}",
        f"{result.reward_low_fp:.2f}",
        f"{result.reward_low_fn:.2f}",
        _threshold(result.best_threshold),
        f"{result.standard_at_default_threshold:.2f}",
    )
    reference = f"windowed Gaussian (published: {GAUSSIAN_PUBLISHED})"
    table.add_row(reference, f"{result.reference_standard:.2f}", "", "", "", "")
    return table


def _halves_table(result: NabResult) -> Table:
    table = Table("Half, by name", title="Each half, standard", title_justify="left")
    for heading in ("files", "own threshold", "score", "score, the other's threshold"):
        table.add_column(heading, justify="right")
    for name, half in zip(("even", "odd"), result.halves_in_full, strict=True):
        table.add_row(
            name,
            str(half.files),
            _threshold(half.threshold),
            f"{half.standard:.2f}",
            f"{half.standard_at_other_threshold:.2f}",
        )
    return table


def _threshold(threshold: float | None) -> str:
    return "none" if threshold is None else f"{threshold:.2f}"


def write_results(
    folder: Path, corpus: Sequence[Series], scores: Mapping[str, Floats], at: float, prefix: str
) -> None:
    """Every score in the benchmark's own layout, in a folder and file named as in the corpus.

    The benchmark takes scores from 0 to 1; 0.5 is the threshold `at`, and the order is kept. Its
    own program wants the detector's name and an underscore before each file's name: `prefix`.
    """
    for series in corpus:
        path = folder / series.name
        path = path.with_name(f"{prefix}_{path.name}" if prefix else path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        inside = [False] * len(series.values)
        for first, last in series.windows:
            inside[first : last + 1] = [True] * (last - first + 1)
        own = scores[series.name]
        columns = (series.stamps, series.values.tolist(), (own / (own + at)).tolist(), inside)
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("timestamp", "value", "anomaly_score", "label"))
            rows.writerows((t, v, s, int(label)) for t, v, s, label in zip(*columns, strict=True))
