"""`tocsin replay`: the pure core over event files, as fast as the machine can."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.configuration import load
from deploy.console import new_console
from schemas.anomalies import Call
from schemas.configuration import Configuration
from schemas.incidents import Incident, IncidentEvent
from schemas.printable import one_line
from schemas.reading import said
from schemas.times import clock, stamp
from streams.files import EventFileError, read_events
from streams.graph import with_calls
from streams.pipeline import TOPIC, Pipeline
from streams.run import Run
from streams.scoring import Fault, Score, read_faults, score

RUN_RECORDS = 2_000


class CallsFileError(Exception):
    """A calls.csv cannot be read. Names the file, the line and how to mend it."""


def run_replay(
    files: Sequence[Path],
    *,
    config: Path | None,
    calls: Path | None,
    json: Path | None,
    events: Path | None,
    faults: Path | None,
) -> int:
    """Replays and prints the incidents; returns the exit code."""
    try:
        configuration = configured(config, calls)
        log, dead_letters = replay(configuration, files)
        truth = read_truth(faults) if faults else None
    except (EventFileError, CallsFileError, OSError, ValueError) as error:
        print(f"tocsin replay: {said(error)}", file=sys.stderr)
        return 2
    incidents = latest(log)
    if json is not None:
        json.write_bytes(lines(incidents))
    if events is not None:
        events.write_bytes(lines(log))
    console = new_console()
    _print(console, incidents, dead_letters)
    if truth is not None:
        _print_score(console, score(log, *truth))
    return 0


def configured(config: Path | None, calls: Path | None) -> Configuration:
    """The configuration, its catalogue with the calls of a file if one is given.

    Raises `CallsFileError`, or `ValueError` with all that is wrong with the configuration.
    """
    configuration = load(config)
    if calls is None:
        return configuration
    catalogue = with_calls(configuration.catalogue, read_calls(calls))
    return msgspec.structs.replace(configuration, catalogue=catalogue)


def runs(records: Iterable[bytes]) -> Iterator[Run]:
    """Records cut into runs as a fetch would; without Kafka there are no keys and no timestamps."""
    offset, left = 0, iter(records)
    while values := list(islice(left, RUN_RECORDS)):
        count = len(values)
        yield Run(TOPIC, 0, range(offset, offset + count), [-1] * count, [None] * count, values)
        offset += count


def latest(log: Iterable[IncidentEvent]) -> list[Incident]:
    """The last state of each incident, in order of opening."""
    last = {event.incident_id: event.incident for event in log}
    return sorted(last.values(), key=lambda incident: (incident.opened_ms, incident.id))


def lines(items: Iterable[msgspec.Struct]) -> bytes:
    """One JSON line an item."""
    return b"".join(msgspec.json.encode(item) + b"\n" for item in items)


def read_truth(faults: Path) -> tuple[list[Fault], list[Fault]]:
    """The faults of a recording, and those of an `unlisted.csv` beside the file, if there is one.

    Raises `OSError`, or `ValueError` naming the line that cannot be read.
    """
    unlisted = faults.with_name("unlisted.csv")
    extra = read_faults(unlisted.read_text(encoding="utf-8")) if unlisted.exists() else []
    return read_faults(faults.read_text(encoding="utf-8")), extra


def read_calls(path: Path) -> list[Call]:
    """The calls of a CSV with the columns caller and callee. Raises `CallsFileError`."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [Call(row["caller"], row["callee"]) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError) as error:
        raise CallsFileError(said(error, path)) from error
    except KeyError as error:
        message = "the first line must be caller,callee"
        raise CallsFileError(f"{path}: column {error} is missing; {message}") from error


def replay(configuration: Configuration, files: Sequence[Path]) -> tuple[list[IncidentEvent], int]:
    """The whole log, and how many records were dead-lettered; shows progress on a terminal."""
    log: list[IncidentEvent] = []
    dead_letters = 0
    pipeline = Pipeline(configuration)
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("replaying")
        count = 0
        for run in runs(read_events(files)):
            passed = pipeline.process(run)
            log += passed.events
            dead_letters += len(passed.dead_letters)
            count += len(run)
            bar.update(task, description=f"{count:,} events, {len(latest(log))} incidents")
        log += pipeline.finish().events
    return log, dead_letters


def _print(console: Console, incidents: Sequence[Incident], dead_letters: int) -> None:
    for incident in incidents:
        suspects = ", ".join(incident.suspected_causes[:3])
        console.print(
            f"{stamp(incident.opened_ms)}  {incident.severity}  {incident.id}  "
            f"{incident.state}  {escape(one_line(incident.title))}; "
            f"suspected: {escape(one_line(suspects))}",
            soft_wrap=True,
        )
    console.print(f"{len(incidents)} incidents; {dead_letters} records could not be used")


def _print_score(console: Console, result: Score) -> None:
    table = Table(title="Known faults", title_justify="left")
    for column in ("injected", "service", "kind", "found by", "seconds", "suspect no."):
        table.add_column(column, overflow="fold")
    for verdict in result.verdicts:
        seconds = verdict.seconds_to_detect
        table.add_row(
            clock(verdict.fault.at_ms),
            verdict.fault.service,
            verdict.fault.kind,
            ", ".join(verdict.incidents) or "missed",
            "" if seconds is None else f"{seconds:.0f}",
            str(verdict.rank or ""),
        )
    summary = result.summary
    console.print(table)
    console.print(
        f"{summary.detected} of {summary.faults} detected, {summary.culprit_first} with the "
        f"culprit first, {summary.one_each} by one incident; {summary.false_incidents} false "
        f"incidents; seconds to detect: median {summary.seconds_to_detect.p50}, "
        f"p90 {summary.seconds_to_detect.p90}"
    )
