"""Cuts a time range out of a recorded system.

    python -m deploy.demo.excerpt SOURCE TARGET FROM TO

The recording that ships with the demo was made by

    python -m deploy.demo.excerpt online-boutique deploy/demo/recording \
        2022-08-22T04:05:00Z 2022-08-22T04:52:30Z

from the Online Boutique part of the Nezha data set (Yu et al., FSE 2023; MIT licence), as JSON
lines in time order. Nothing in the lines is changed.
"""

import csv
import gzip
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import orjson


def cut(source: Path, target: Path, start_ms: int, end_ms: int) -> None:
    """Writes the part of `source` with start_ms <= time < end_ms to `target`."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.jsonl.gz")):
        lines = b"".join(_lines_between(path, start_ms, end_ms))
        # No time in the header, so that the same cut gives the same bytes.
        (target / path.name).write_bytes(gzip.compress(lines, 9, mtime=0))
    for name, column in (("faults.csv", "injected_at"), ("unlisted.csv", "first_sample_at")):
        _cut_table(source / name, target / name, column, start_ms, end_ms)
    for name in ("calls.csv", "LICENSE"):
        shutil.copyfile(source / name, target / name)


def _lines_between(path: Path, start_ms: int, end_ms: int) -> Iterator[bytes]:
    with gzip.open(path) as lines:
        yield from (line for line in lines if start_ms <= orjson.loads(line)["time"] < end_ms)


def _cut_table(source: Path, target: Path, column: str, start_ms: int, end_ms: int) -> None:
    with source.open(newline="") as rows, target.open("w", newline="") as out:
        reader = csv.DictReader(rows)
        writer = csv.DictWriter(out, reader.fieldnames or [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in reader if start_ms <= to_ms(row[column]) < end_ms)


def to_ms(text: str) -> int:
    """ISO 8601 to Unix milliseconds."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


if __name__ == "__main__":
    cut(Path(sys.argv[1]), Path(sys.argv[2]), to_ms(sys.argv[3]), to_ms(sys.argv[4]))
