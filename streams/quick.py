"""The quick path: nearly every record, read by compiled code and folded a series at a time."""

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.configuration import Windows
from streams.fold import Fold, Lines
from streams.intake import Intake
from streams.kinds import DECISIVE
from streams.known import Known
from streams.native import records
from streams.native.records import (
    CALL,
    FIELDS,
    LINE,
    MOST_WINDOWS,
    NO_ROOM,
    SAMPLE,
    Columns,
    Groups,
)
from streams.packed import Packed
from streams.raw import Raw
from streams.windows import RequestCell

MOST_RECORDS = 2**16
"""That are read at once."""

_raw = msgspec.json.Decoder(Raw).decode


class Took(NamedTuple):
    """How many records were read, and the latest of their times (-1: none)."""

    records: int
    latest_ms: int


class Quick:
    """Reads records that are as nearly all are; the first that is not, it leaves to its caller.

    Does exactly what the careful path does with the same records.

    Parameters
    ----------
    kind
        Of the source's records, if it says it; one that could be of another kind is left.
    """

    def __init__(self, kind: str, windows: Windows, fold: Fold) -> None:
        self._length_ms = round(windows.window_seconds * 1_000)
        self._most_bytes = windows.max_record_bytes
        others = [field for other, field in DECISIVE.items() if kind not in ("auto", other)]
        self._never = sum(1 << FIELDS.index(field) for field in others)
        self._fold = fold
        self._known = Known(fold.line_key, fold.failed)
        self._room(1_024)
        self._load()

    def _load(self) -> None:
        """Loads what is compiled, or compiles it, before the first record waits for it."""
        read, many, _ = self._read(Packed.of([]), 0, np.zeros(1, np.int64), 0)
        self._chunk(read, many)

    def _room(self, count: int) -> None:
        self._columns, self._ordered = (
            Columns(*(np.empty(count, t) for t in (np.int64, np.int64, float, float, np.int64)))
            for _ in range(2)
        )
        self._groups = Groups(*(np.empty(count, np.int64) for _ in Groups._fields))

    def take(
        self, values: Packed, first: int, stop: int, intakes: Sequence[Intake], until_ms: int
    ) -> Took:
        """Reads records from `first` on into open windows until `stop` or the first unusual one.

        None may have a time of `until_ms` or later.
        """
        intakes = intakes[-MOST_WINDOWS:]
        stop = min(stop, first + MOST_RECORDS)
        part = values[first:stop]
        if len(part) > self._columns.time_ms.size:
            self._room(len(part))
        windows = np.array([intake.window.start_ms for intake in intakes], np.int64)
        begun, latest_ms = 0, -1
        while True:
            read, many, why = self._read(part, begun, windows, until_ms)
            if read:
                latest_ms = max(latest_ms, int(self._columns.time_ms[:read].max()))
                self._take_groups(part, begun, intakes, self._chunk(read, many))
                begun += read
            if why != NO_ROOM:
                return Took(begun, latest_ms)
            self._known.make_room()

    def _read(
        self,
        part: Packed,
        first: int,
        windows: npt.NDArray[np.int64],
        until_ms: int,
    ) -> tuple[int, int, int]:
        return records.read(
            part.buffer,
            part.starts,
            part.ends,
            first,
            windows,
            self._length_ms,
            until_ms,
            self._most_bytes,
            self._never,
            self._known.tables,
            self._columns,
            self._groups,
        )

    def _chunk(self, read: int, many: int) -> "_Chunk":
        records.in_order(read, many, self._columns, self._groups, self._ordered)
        self._known.learn()
        columns, groups = self._ordered, self._groups
        firsts, seconds, ends = columns.first[:read], columns.second[:read], groups.end[:many]
        has_second = ~np.isnan(seconds)
        failed = self._known.failed[columns.token[:read]]
        return _Chunk(
            series=groups.series[:many].tolist(),
            windows=groups.window[:many].tolist(),
            bounds=[0, *ends.tolist()],
            times=columns.time_ms[:read].tolist(),
            places=columns.group[:read].tolist(),
            firsts=firsts.tolist(),
            seconds=seconds,
            networks=np.maximum(seconds - firsts, 0.0)[has_second].tolist(),
            of_networks=_totals(has_second, ends),
            of_known=_totals(failed >= 0, ends),
            of_errors=_totals(failed > 0, ends),
        )

    def _take_groups(
        self, values: Packed, first: int, intakes: Sequence[Intake], chunk: "_Chunk"
    ) -> None:
        lines = Lines(self._fold, lambda at: _raw(values[first + at] or b"").body or "")
        series_of, times, firsts = self._known.series, chunk.times, chunk.firsts
        start = 0
        for group, end in enumerate(chunk.bounds[1:]):
            kind, service, one, other = series_of[chunk.series[group]]
            intake = intakes[chunk.windows[group]]
            if kind == SAMPLE:
                gauge = intake.gauge_cell((service, one, other))
                gauge.pending += zip(times[start:end], firsts[start:end], strict=True)
            elif kind == LINE:
                where = times[start:end], chunk.places[start:end]
                lines.take(intake, (service, one or "", other or ""), where)
            else:
                requests = intake.request_cell((service, one, other))
                if kind == CALL:
                    _take_calls(requests, bool(other), chunk, group)
                else:
                    _take_counts(requests, chunk, group)
            start = end


class _Chunk(NamedTuple):
    """What was read, group by group.

    Group `i` has the records from `bounds[i]` to `bounds[i + 1]`. `of_networks`, `of_known` and
    `of_errors` are how many there are up to there of durations of networks, known statuses and
    failures.
    """

    series: list[int]
    windows: list[int]
    bounds: list[int]
    times: list[int]
    places: list[int]
    firsts: list[float]
    seconds: npt.NDArray[np.float64]
    networks: list[float]
    of_networks: list[int]
    of_known: list[int]
    of_errors: list[int]


def _take_calls(cell: RequestCell, called: bool, chunk: _Chunk, group: int) -> None:
    start, end = chunk.bounds[group], chunk.bounds[group + 1]
    cell.count += end - start
    cell.durations.pending += chunk.firsts[start:end]
    if called:
        first, last = chunk.of_networks[group], chunk.of_networks[group + 1]
        cell.networks.pending += chunk.networks[first:last]
    cell.known += chunk.of_known[group + 1] - chunk.of_known[group]
    cell.errors += chunk.of_errors[group + 1] - chunk.of_errors[group]


def _take_counts(cell: RequestCell, chunk: _Chunk, group: int) -> None:
    start, end = chunk.bounds[group], chunk.bounds[group + 1]
    requests = [int(count) for count in chunk.firsts[start:end]]
    cell.count += sum(requests)
    for count, errors in zip(requests, chunk.seconds[start:end].tolist(), strict=True):
        if not isnan(errors):
            cell.known += count
            cell.errors += int(errors)


def _totals(chosen: npt.NDArray[np.bool_], ends: npt.NDArray[np.int64]) -> list[int]:
    """How many are chosen before each end, beginning with none."""
    return [0, *np.cumsum(chosen)[ends - 1].tolist()]
