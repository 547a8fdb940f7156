"""Recorded systems with known faults, in the layouts that `tocsin bench faults` reads."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.commands.replay import read_calls, read_truth
from schemas.anomalies import Call
from schemas.times import DAY_MS
from streams.files import EventFileError, read_events
from streams.scoring import WITHIN_SECONDS, Fault

ISSUES = "issues.csv"
FAULTS = "faults.csv"

_TIME = re.compile(rb'("time"\s*:\s*)(\d+)')


class RecordingError(Exception):
    """A folder is no recording. Names the folder and what it should hold."""


@dataclass(frozen=True, slots=True)
class Part:
    """Event files that are replayed together, their times moved by `shift_ms`."""

    files: Sequence[Path]
    shift_ms: int = 0

    def lines(self) -> Iterator[bytes]:
        """Its events in the order of time. Raises `EventFileError`."""
        events = read_events(self.files)
        if not self.shift_ms:
            return events
        return (_TIME.sub(self._moved, line, count=1) for line in events)

    def _moved(self, found: re.Match[bytes]) -> bytes:
        return b"%b%d" % (found[1], int(found[2]) + self.shift_ms)


@dataclass(frozen=True, slots=True)
class Recording:
    """What is replayed in one go, from a pipeline that has seen nothing.

    `faults` are to be found within `within_seconds`; incidents outside their times are false,
    unless they tell one of the `unlisted`. `counts_false` is off where another recording has
    replayed the same fault-free part already. All lines pass through `change`.
    """

    name: str
    parts: Sequence[Part]
    calls: Sequence[Call]
    faults: Sequence[Fault]
    unlisted: Sequence[Fault] = field(default=())
    within_seconds: float = WITHIN_SECONDS
    counts_false: bool = True
    change: Callable[[Iterator[bytes]], Iterator[bytes]] = iter

    def lines(self) -> Iterator[bytes]:
        """All events, part after part. Raises `EventFileError`."""
        return self.change(line for part in self.parts for line in part.lines())


def recordings(folder: Path) -> list[Recording]:
    """The recordings in a folder: one with a `faults.csv`, or of issues after fault-free days.

    With `faults.csv` (and `unlisted.csv`, `calls.csv`) all event files beside it are one recording.
    With `issues.csv` each `issue_N` follows the events of `normal`, whose times are moved by whole
    days to end just before it, so that the time of day stays what it was; `normal` alone is a
    recording without faults. A folder of such folders gives those of all.

    Raises `RecordingError`, and what reading the lists raises.
    """
    if (folder / FAULTS).is_file():
        return [_of_faults(folder)]
    if (folder / ISSUES).is_file():
        return _of_issues(folder)
    inside = sorted(path.parent for path in folder.glob(f"*/{ISSUES}"))
    if not inside:
        raise RecordingError(f"{folder}: no {FAULTS} and no {ISSUES} here or one folder below")
    return [recording for level in inside for recording in _of_issues(level)]


def _of_faults(folder: Path) -> Recording:
    try:
        faults, unlisted = read_truth(folder / FAULTS)
    except ValueError as error:
        raise RecordingError(f"{folder}: {error}") from error
    files = _event_files(folder)
    if not files:
        raise RecordingError(f"{folder}: no .jsonl or .jsonl.gz files beside {FAULTS}")
    return Recording(folder.name, [Part(files)], _calls(folder), faults, unlisted)


def _of_issues(folder: Path) -> list[Recording]:
    normal = _event_file(folder, "normal")
    _, end_ms = span(normal)
    calls = _calls(folder)
    found = [Recording(f"{folder.name}/normal", [Part([normal])], calls, ())]
    for issue, culprit, kind in _issues(folder / ISSUES):
        path = _event_file(folder, issue)
        first_ms, last_ms = span(path)
        days = (first_ms - end_ms - 1) // DAY_MS
        # The moment of injection is not recorded, only when an alarm saw it: a sample or two later.
        fault = Fault(first_ms, culprit, kind)
        parts = [Part([normal], days * DAY_MS), Part([path])]
        name = f"{folder.name}/{issue}"
        seconds = (last_ms - first_ms) / 1000 + WITHIN_SECONDS
        found.append(
            Recording(name, parts, calls, [fault], within_seconds=seconds, counts_false=False)
        )
    return found


def _issues(path: Path) -> list[tuple[str, str, str]]:
    """Issue, culprit and symptom. Raises `RecordingError` naming the column that is missing."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return [(row["issue"], row["root_cause_service"], row["symptom_metric"]) for row in rows]
    except KeyError as error:
        raise RecordingError(f"{path}: column {error} is missing") from error


def _calls(folder: Path) -> Sequence[Call]:
    path = folder / "calls.csv"
    return read_calls(path) if path.is_file() else ()


def _event_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")])


def _event_file(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.jsonl.gz", folder / f"{name}.jsonl"):
        if path.is_file():
            return path
    raise RecordingError(f"{folder}: {name}.jsonl.gz is missing")


def span(path: Path) -> tuple[int, int]:
    """The first and the last event's time, Unix ms. Raises `EventFileError` if there is none."""
    first_ms = last_ms = None
    for line in read_events([path]):
        if found := _TIME.search(line):
            last_ms = int(found[2])
            first_ms = last_ms if first_ms is None else first_ms
    if first_ms is None or last_ms is None:
        raise EventFileError(f"{path}: no event with a time")
    return first_ms, last_ms
