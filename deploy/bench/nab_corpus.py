"""A corpus in the layout of the Numenta Anomaly Benchmark, read whole and checked."""

import csv
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

LABELS = "labels/combined_windows.json"
_LAYOUT = f"give --data a folder with {LABELS} and the files it names"
_PLACES = ("nab", "data/nab", "../*/data/nab")


class CorpusError(ValueError):
    """A corpus is missing or malformed. Names the file, the line and how to mend it."""


class Window(NamedTuple):
    """Rows of one labelled anomaly, from the first to the last, both within it."""

    first: int
    last: int


class Series(NamedTuple):
    """One file of the corpus.

    `name` is the path below the corpus, `stamps` are the timestamps as they are written, and
    `times_ms` the same in Unix milliseconds, read as UTC where no zone is given.
    """

    name: str
    stamps: list[str]
    times_ms: list[int]
    values: NDArray[np.float64]
    windows: list[Window]


def find_corpus() -> Path:
    """A corpus in `nab` or `data/nab` here, or in `data/nab` of a folder beside this one.

    Raises `CorpusError` if there is none.
    """
    for place in _PLACES:
        for folder in sorted(Path().glob(place)):
            if (folder / LABELS).is_file():
                return folder
    raise CorpusError(f"none of {', '.join(_PLACES)} holds {LABELS}; {_LAYOUT}")


def read_corpus(folder: Path) -> list[Series]:
    """All series that the labels name, ordered by name. Raises `CorpusError`.

    A checkout of the benchmark itself, with its files below `data`, will do as well.
    """
    labels = _labels(folder / LABELS)
    files = folder / "data" if (folder / "data").is_dir() else folder
    return [
        _series(files / name, name, labels[name], f"{folder / LABELS}: {name}")
        for name in sorted(labels)
    ]


def _labels(path: Path) -> dict[str, list[tuple[str, str]]]:
    try:
        labels = msgspec.json.decode(path.read_bytes(), type=dict[str, list[tuple[str, str]]])
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}; {_LAYOUT}") from error
    except msgspec.DecodeError as error:
        message = 'must be {"folder/file.csv": [["first timestamp", "last timestamp"], …], …}'
        raise CorpusError(f"{path}: {error}; it {message}") from error
    if not labels:
        raise CorpusError(f"{path}: names no file; {_LAYOUT}")
    return labels


def _series(path: Path, name: str, labels: list[tuple[str, str]], where: str) -> Series:
    stamps: list[str] = []
    times: list[int] = []
    values: list[float] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            if (header := next(rows, [])) != ["timestamp", "value"]:
                message = "the first line must be timestamp,value"
                raise CorpusError(f"{path}:1: {','.join(header)!r}; {message}")
            for row in rows:
                stamp, time_ms, value = _row(row, f"{path}:{rows.line_num}")
                stamps.append(stamp)
                times.append(time_ms)
                values.append(value)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: {error}; {_LAYOUT}") from error
    if not values:
        raise CorpusError(f"{path}:2: no rows follow the first line; remove it from {LABELS}")
    return Series(name, stamps, times, np.array(values), _windows(times, labels, where))


def _row(row: list[str], where: str) -> tuple[str, int, float]:
    try:
        stamp, text = row
        return stamp, to_ms(stamp), _number(text)
    except ValueError as error:
        message = "a row is a timestamp and a number, like 2014-04-01 00:00:00,20.1"
        raise CorpusError(f"{where}: {error}; {message}") from error


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text!r} is not finite")
    return value


def to_ms(stamp: str) -> int:
    """Unix milliseconds of an ISO 8601 timestamp. Raises `ValueError`."""
    at = datetime.fromisoformat(stamp)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _windows(times: list[int], labels: list[tuple[str, str]], where: str) -> list[Window]:
    """The labels as rows; those of the benchmark's own corpus begin and end at a row's time.

    A window that lies between rows takes the rows within it.
    """
    found: list[Window] = []
    for begin, end in sorted(labels):
        try:
            first_ms, last_ms = to_ms(begin), to_ms(end)
        except ValueError as error:
            raise CorpusError(f"{where}: {error}; write 2014-04-01 00:00:00") from error
        first = _row_at(times, first_ms, [i for i, t in enumerate(times) if t >= first_ms][:1])
        last = _row_at(times, last_ms, [i for i, t in enumerate(times) if t <= last_ms][-1:])
        if first is None or last is None or last < first:
            message = "holds no row of the file; correct the window or remove it"
            raise CorpusError(f"{where}: the window from {begin} to {end} {message}")
        if found and first <= found[-1].last:
            message = "begins before the one before it ends; unite them"
            raise CorpusError(f"{where}: the window from {begin} to {end} {message}")
        found.append(Window(first, last))
    return found


def _row_at(times: list[int], at_ms: int, otherwise: list[int]) -> int | None:
    """The first row with this time; clocks set back give some files two."""
    try:
        return times.index(at_ms)
    except ValueError:
        return otherwise[0] if otherwise else None
