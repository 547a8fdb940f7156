"""What has come for the cells of an open window and is not folded yet, in columns."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.native import folds
from streams.native.folds import GAUGE, Values
from streams.windows import DurationCell, GaugeCell, RequestCell

_ROOM = folds.room()


class Place(NamedTuple):
    """Where a series' records go: the cell of requests, and one or two streams; -1 is none."""

    kind: int
    cell: RequestCell | None = None
    stream: int = -1
    network: int = -1


class Waiting:
    """Values of an open window on their way into its cells; folding them changes nothing of what
    will be said, whenever it is done.

    Attributes
    ----------
    places
        By the number of a series, where its records go; only as long as numbers stay, and until
        values are folded.
    numbers
        Which numbers those are.
    """

    __slots__ = (
        "_blocks", "_cells", "_ends", "_kinds", "_numbers", "_single", "_size", "_starts",
        "_streams", "numbers", "places",
    )  # fmt: skip

    def __init__(self) -> None:
        self.places: dict[int, Place] = {}
        self.numbers: object = None
        self._clear()

    def _clear(self) -> None:
        self.places.clear()
        self._blocks: list[Values] = []
        self._single: list[tuple[float, float, int]] = []
        self._size = 0
        self._cells: list[GaugeCell | DurationCell] = []
        self._kinds: list[int] = []
        self._numbers: dict[int, int] = {}
        self._streams: list[int] = []
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        """How many records' columns are held."""
        return self._size

    def stream(self, cell: GaugeCell | DurationCell, kind: int) -> int:
        """A stream of a kind into a cell. Another to the same cell is the same."""
        number = self._numbers.setdefault(id(cell), len(self._cells))
        if number == len(self._cells):
            self._cells.append(cell)
            self._kinds.append(kind)
        return number

    def block(self, values: Values) -> int:
        """Takes columns in; returns where they begin, as `add` counts."""
        self._pack()
        begins = self._size
        self._blocks.append(values)
        self._size += values.first.size
        return begins

    def add(self, stream: int, start: int, end: int) -> None:
        """Lets the values from `start` to `end` go into a stream."""
        self._streams.append(stream)
        self._starts.append(start)
        self._ends.append(end)

    def put(
        self,
        cell: GaugeCell | DurationCell,
        value: float,
        time_ms: int = 0,
        *,
        second: float = math.nan,
    ) -> bool:
        """Takes one value for a cell, after those that wait for it; whether any do."""
        stream = self._numbers.get(id(cell))
        if stream is None:
            return False
        self._single.append((value, second, time_ms))
        self._size += 1
        self.add(stream, self._size - 1, self._size)
        return True

    def _pack(self) -> None:
        """Makes a block of the values that came one by one."""
        if self._single:
            first, second, time_ms = zip(*self._single, strict=True)
            values = Values(np.array(first), np.array(second), np.array(time_ms, np.int64))
            self._blocks.append(values)
            self._single = []

    def fold(self, *, all_of_it: bool) -> None:
        """Moves what waits into the cells; what fills no portion only if `all_of_it`, else it is
        then pending there."""
        if not self._streams:
            self._clear()
            return
        self._pack()
        values = Values(*(_joined(columns) for columns in zip(*self._blocks, strict=True)))
        waited, bounds = self._waited()
        streams = self._known(bounds)
        segments = folds.Segments(
            _whole(self._streams),
            _whole(self._starts),
            _whole(self._ends),
            np.empty(len(self._streams), np.int64),
        )
        # Networks use the same values once more.
        most = 2 * self._size + waited.value.size
        left = folds.Waiting(np.empty(most), np.empty(most, np.int64))
        bins = folds.Bins(
            np.empty(most, np.int64), np.empty(most, np.int64), np.empty(len(bounds), np.int64)
        )
        folds.fold(values, segments, streams, waited, all_of_it, left, bins, _ROOM)
        self._put_back(streams, left, bins)
        self._clear()

    def _waited(self) -> tuple[folds.Waiting, list[int]]:
        """What is pending in the cells, and where each one's begins in it."""
        pending: list[Sequence[Any]] = [cell.pending for cell in self._cells]
        sizes = [len(some) for some in pending]
        if not any(sizes):
            return folds.Waiting(np.empty(0), np.empty(0, np.int64)), [0] * len(sizes)
        timed = [
            some if kind == GAUGE else [(0, value) for value in some]
            for some, kind in zip(pending, self._kinds, strict=True)
        ]
        times, values = zip(*chain.from_iterable(timed), strict=True)
        bounds = np.cumsum([0, *sizes[:-1]]).tolist()
        return folds.Waiting(np.array(values, float), np.array(times, np.int64)), bounds

    def _known(self, bounds: list[int]) -> folds.Streams:
        cells, count = self._cells, len(self._cells)
        starts = _whole(bounds)
        lasts = [c.last if isinstance(c, GaugeCell) else (-1, 0.0) for c in cells]
        return folds.Streams(
            kind=_whole(self._kinds),
            many=_whole([cell.count for cell in cells]),
            total=np.array([cell.total for cell in cells], float),
            low=np.array([cell.low for cell in cells], float),
            high=np.array([cell.high for cell in cells], float),
            last_ms=_whole([last_ms for last_ms, _ in lasts]),
            last=np.array([last for _, last in lasts], float),
            start=starts,
            end=starts + _whole([len(cell.pending) for cell in cells]),
            head=np.full(count, -1, np.int64),
            tail=np.full(count, -1, np.int64),
        )

    def _put_back(self, streams: folds.Streams, left: folds.Waiting, bins: folds.Bins) -> None:
        used, begin = int(bins.end[-1]), 0
        index, counts = bins.place[:used].tolist(), bins.many[:used].tolist()
        columns = (column.tolist() for column in (*streams[1:9], bins.end))
        rows = zip(self._cells, *columns, strict=True)
        for cell, count, total, low, high, last_ms, last, start, end, binned in rows:
            cell.count, cell.total, cell.low, cell.high = count, total, low, high
            values = left.value[start:end].tolist() if end > start else []
            if isinstance(cell, GaugeCell):
                cell.last = (last_ms, last)
                times = left.time_ms[start:end].tolist() if values else []
                cell.pending = list(zip(times, values, strict=True))
                continue
            cell.pending = values
            _count(cell, zip(index[begin:binned], counts[begin:binned], strict=True))
            begin = binned


def _count(cell: DurationCell, found: "zip[tuple[int, int]]") -> None:
    if not cell.bins:
        cell.bins = dict(found)
        return
    bins = cell.bins
    for index, count in found:
        bins[index] = bins.get(index, 0) + count


def _joined(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _whole(numbers: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.array(numbers, np.int64)
