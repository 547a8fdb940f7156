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
from streams.native.folds import DURATION, GAUGE, NETWORK, Values
from streams.native.records import (
    CALL,
    COUNT,
    FIELDS,
    LATER,
    LINE,
    MOST_WINDOWS,
    NO_ROOM,
    SAMPLE,
    Columns,
    Groups,
)
from streams.packed import Packed
from streams.raw import Raw
from streams.waiting import Place, Waiting
from streams.windows import GaugeCell, RequestCell

MOST_RECORDS = 2**16
"""That are read at once."""

_raw = msgspec.json.Decoder(Raw).decode


class Took(NamedTuple):
    """How many records were read, the latest of their times (-1: none), and whether the next one
    was left for its time."""

    records: int
    latest_ms: int
    is_later: bool


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
        chunk, waiting = self._chunk(read, many), Waiting()
        begin = waiting.block(chunk.values)
        waiting.add(waiting.stream(GaugeCell([]), GAUGE), begin, begin)
        waiting.fold(all_of_it=True)

    def _room(self, count: int) -> None:
        self._columns = Columns(
            *(np.empty(count, t) for t in (np.int64, np.int64, float, float, np.int64))
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
                chunk = self._chunk(read, many)
                latest_ms = max(latest_ms, chunk.latest_ms)
                self._take_groups(part, begun, intakes, chunk)
                begun += read
            if why != NO_ROOM:
                return Took(begun, latest_ms, why == LATER)
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
        self._known.learn()
        groups = self._groups
        values = Values(np.empty(read), np.empty(read), np.empty(read, np.int64))
        latest_ms = records.in_order(read, many, self._columns, groups, self._known.failed, values)
        return _Chunk(values, latest_ms, *(column[:many].tolist() for column in groups))

    def _take_groups(
        self, values: Packed, first: int, intakes: Sequence[Intake], chunk: "_Chunk"
    ) -> None:
        lines = Lines(self._fold, lambda at: _raw(values[first + at] or b"").body or "")
        begins: list[int | None] = [None] * len(intakes)
        start = 0
        for group, end in enumerate(chunk.ends):
            window, series = chunk.windows[group], chunk.series[group]
            intake = intakes[window]
            waiting = intake.waiting
            if waiting.numbers is not self._known.tables:
                waiting.numbers = self._known.tables
                waiting.places.clear()
            place = waiting.places.get(series)
            if place is None:
                place = waiting.places[series] = self._place(intake, series)
            if place.kind == LINE:
                _, service, one, other = self._known.series[series]
                earliest = chunk.first_ms[group], chunk.first_at[group]
                lines.take(intake, (service, one or "", other or ""), end - start, earliest)
                start = end
                continue
            if place.stream >= 0:
                begin = begins[window]
                if begin is None:
                    begin = begins[window] = waiting.block(chunk.values)
                waiting.add(place.stream, begin + start, begin + end)
                if place.network >= 0:
                    waiting.add(place.network, begin + start, begin + end)
            cell = place.cell
            if cell is not None and place.kind == CALL:
                cell.count += end - start
                cell.known += chunk.known[group]
                cell.errors += chunk.failed[group]
            elif cell is not None:
                _take_counts(cell, chunk.values, start, end)
            start = end

    def _place(self, intake: Intake, series: int) -> Place:
        """Where records of a series go; opens what is not yet there."""
        kind, service, one, other = self._known.series[series]
        if kind == LINE:
            return Place(kind)
        waiting = intake.waiting
        if kind == SAMPLE:
            gauge = intake.gauge_cell((service, one, other))
            return Place(kind, stream=waiting.stream(gauge, GAUGE))
        cell = intake.request_cell((service, one, other))
        if kind == COUNT:
            return Place(kind, cell)
        duration = waiting.stream(cell.durations, DURATION)
        network = waiting.stream(cell.networks, NETWORK) if other else -1
        return Place(kind, cell, duration, network)


class _Chunk(NamedTuple):
    """What was read: the values, group by group, the latest time, and `Groups` as lists."""

    values: Values
    latest_ms: int
    series: list[int]
    windows: list[int]
    sizes: list[int]
    ends: list[int]
    known: list[int]
    failed: list[int]
    first_ms: list[int]
    first_at: list[int]


def _take_counts(cell: RequestCell, values: Values, start: int, end: int) -> None:
    requests = [int(count) for count in values.first[start:end].tolist()]
    cell.count += sum(requests)
    for count, errors in zip(requests, values.second[start:end].tolist(), strict=True):
        if not isnan(errors):
            cell.known += count
            cell.errors += int(errors)
