"""Recorded events from files, merged by their times, so that they can be played again."""

import gzip
import heapq
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from schemas.reading import said

# The first `"time"` of a line. Looked for in the bytes, since decoding every line to merge it would
# take longer than all that follows.
_TIME = re.compile(rb'"time"\s*:\s*(\d+)')


class EventFileError(Exception):
    """An event file cannot be read. Names the file and how to mend it."""


def read_events(paths: Iterable[Path | str]) -> Iterator[bytes]:
    """The lines of several `.jsonl` or `.jsonl.gz` files as one stream in the order of `time`.

    Each file must be in time order itself. Lines of equal time come in the order of the files. A
    line without a time keeps its place after the line before it. Empty lines are left out; nothing
    else is checked, that is for ingest to do. Memory does not grow with the files.

    Raises `EventFileError` if a file is missing, unreadable or cut off.
    """
    files = [_timed_lines(Path(path)) for path in paths]
    merged = files[0] if len(files) == 1 else heapq.merge(*files, key=_time_of)
    for _, line in merged:
        yield line


def _time_of(timed: tuple[int, bytes]) -> int:
    return timed[0]


def _timed_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    time_ms = 0
    for line in _lines(path):
        found = _TIME.search(line)
        if found:
            time_ms = int(found[1])
        yield time_ms, line


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                stripped = line.rstrip(b"\r\n")
                if stripped:
                    yield stripped
    except (OSError, EOFError, zlib.error) as error:
        raise EventFileError(
            f"{said(error, path)}; give .jsonl or .jsonl.gz files with one JSON object a line"
        ) from error
