"""`tocsin bench faults`: recorded systems with known faults, ours beside plain baselines."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.bench.answer import write_json
from deploy.bench.faults_recordings import Recording, RecordingError, recordings
from deploy.bench.faults_replay import OURS, Replayed, replay
from deploy.bench.faults_result import (
    Detection,
    FaultResult,
    Faults,
    Shown,
    Varied,
    causes,
    detection,
    held_to,
    kinds,
)
from deploy.bench.faults_variations import variations
from deploy.commands.replay import CallsFileError
from deploy.configuration import load
from deploy.console import new_console
from schemas.configuration import Configuration
from schemas.reading import said
from streams.files import EventFileError
from streams.scoring import Accuracy


def main(
    folder: Path, *, config: Path | None = None, vary: int = 0, json: Path | None = None
) -> int:
    """Replays, prints what was found and writes `json`. Returns 0, or 2 if it cannot be read.

    `vary` says how many variations of each kind are replayed besides.
    """
    try:
        configuration, recorded = load(config), recordings(folder)
        result = run(folder.resolve().name, recorded, configuration)
        if vary:
            varied = tuple(_vary(result, recorded, configuration, vary))
            result = msgspec.structs.replace(result, variations=varied)
    except (RecordingError, EventFileError, CallsFileError, OSError, ValueError) as error:
        print(f"tocsin bench faults: {said(error)}", file=sys.stderr)
        return 2
    show(new_console(), result)
    write_json(json, result)
    return 0


def run(
    name: str,
    replayed: Sequence[Recording],
    configuration: Configuration,
    *,
    alone: bool = False,
) -> Faults:
    """Replays all recordings, with a progress bar on a terminal; `alone` without the baselines.

    Raises `EventFileError`.
    """
    console = Console(stderr=True)
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    done: list[Replayed] = []
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=len(replayed))
        count = 0
        for recording in replayed:

            def progress(events: int, name: str = recording.name) -> None:
                nonlocal count
                count += events
                bar.update(task, description=f"{name}: {count:,} events")

            done.append(replay(recording, configuration, progress, alone=alone))
            bar.advance(task)
    return _result(name, replayed, done)


def _vary(
    recorded: Faults, replayed: Sequence[Recording], configuration: Configuration, count: int
) -> Iterator[Varied]:
    """The same recordings varied, held to what came of them as they are."""
    for variation in variations(count):
        varied = [found for one in replayed if (found := variation(one)) is not None]
        if varied:
            result = run(variation.name, varied, configuration, alone=True)
            yield held_to(recorded, result)


def _result(name: str, replayed: Sequence[Recording], done: Sequence[Replayed]) -> Faults:
    faults = tuple(fault for one in done for fault in one.faults)
    whole = [one for recording, one in zip(replayed, done, strict=True) if recording.counts_false]
    days = sum(one.days for one in whole)
    return Faults(
        recording=name,
        days=round(days, 3),
        records=sum(one.records for one in done),
        dead_letters=sum(one.dead_letters for one in done),
        faults=faults,
        false_incidents=tuple(title for one in whole for title in one.false_incidents),
        kinds=kinds(faults),
        detection={
            method: detection(
                [verdict for one in done for verdict in one.scores[method].verdicts],
                sum(one.scores[method].summary.incidents for one in done),
                sum(one.scores[method].summary.false_incidents for one in whole),
                days,
            )
            for method in (done[0].scores if done else ())
        },
        causes=causes(faults),
    )


def show(console: Console, result: Faults) -> None:
    """The tables for a terminal."""
    console.print(_faults_table(result.faults))
    for title in result.false_incidents:
        console.print(f"false: {escape(title)}", soft_wrap=True)
    console.print(_detection_table(result))
    console.print(_causes_table(result.causes))
    if result.variations:
        console.print(_variations_table(result))
    found = (f"{kind} {some} of {all_}" for kind, (some, all_) in result.kinds.items())
    console.print(f"By kind: {', '.join(found)}")
    if result.dead_letters:
        console.print(f"{result.dead_letters:,} of {result.records:,} records could not be used")


def _faults_table(faults: Iterable[FaultResult]) -> Table:
    table = Table(title="Faults", title_justify="left")
    for heading in ("injected", "service", "kind", "told by", "seconds", "incidents", "suspect"):
        right = heading in ("seconds", "incidents", "suspect")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for fault in faults:
        signal, seconds = fault.signal, fault.seconds_to_detect
        table.add_row(
            fault.injected_at[:19].replace("T", " "),
            fault.service,
            fault.kind,
            _told_by(signal, fault.service) if signal else "missed",
            "" if seconds is None else f"{seconds:.0f}",
            (str(len(fault.incidents)) if fault.detected else "")
            + (" (again)" if fault.resumed else ""),
            str(fault.rank or "none") if fault.detected else "",
        )
    return table


def _told_by(signal: Shown, culprit: str) -> str:
    kind = signal.kind.replace("_", " ")
    return kind if signal.service == culprit else f"{kind} of {signal.service}"


def _detection_table(result: Faults) -> Table:
    title = f"Detection over {result.days:.2f} days"
    table = Table(title=title, title_justify="left")
    headings = ("found", "recall", "precision", "false", "a day", "one each", "median s", "p90 s")
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, row in result.detection.items():
        table.add_row(name, *_cells(row))
    return table


def _cells(row: Detection) -> tuple[str, ...]:
    return (
        f"{row.detected}/{row.faults}",
        _number(row.recall),
        _number(row.precision),
        str(row.false_incidents),
        _number(row.false_incidents_a_day),
        _number(row.one_incident_ratio),
        _number(row.seconds_to_detect.p50, 0),
        _number(row.seconds_to_detect.p90, 0),
    )


def _causes_table(causes: dict[str, Accuracy]) -> Table:
    title = f"The culprit's rank, where {OURS} found the fault; the others know its time"
    table = Table(title=title, title_justify="left")
    for heading in ("", "AC@1", "AC@3", "Avg@5"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, row in causes.items():
        table.add_row(name, _number(row.ac1), _number(row.ac3), _number(row.avg5))
    return table


def _variations_table(result: Faults) -> Table:
    table = Table(title="The same recordings varied", title_justify="left")
    headings = ("found", "lost", "gained", "false", "a day", "one each", "median s", "AC@1", "AC@3")
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right")
    rows = [("as recorded", result.detection[OURS], result.causes[OURS], "", "")]
    rows += [
        (v.name, v.detection, v.causes, str(len(v.lost)), str(len(v.gained)))
        for v in result.variations
    ]
    for name, row, rank, lost, gained in rows:
        cells = _cells(row)
        table.add_row(
            name, cells[0], lost, gained, *cells[3:7], _number(rank.ac1), _number(rank.ac3)
        )
    return table


def _number(value: float | None, decimals: int = 2) -> str:
    return "" if value is None else f"{value:.{decimals}f}"
