"""`ValueGrid` for many series at once: the same numbers, operation by operation, as arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import State
from detectors.novelty_grid import CELLS, EPOCH_SAMPLES, FARTHEST, KEPT_EPOCHS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

NUMBERS = ("width", "low", "high", "young_low", "young_high", "old_low", "old_high")
_EMPTY = {"low": np.inf, "young_low": np.inf, "old_low": np.inf}
_EMPTY |= {name.replace("low", "high"): -np.inf for name in _EMPTY}

_START_CELLS = CELLS // 4
_START_MARGIN = 3 * CELLS // 8
_LEAST_CELLS = CELLS // 4
_AT = np.arange(CELLS, dtype=np.int16)
_KEPT = np.uint8(KEPT_EPOCHS)
_FARTHEST = np.uint8(FARTHEST)
_FAR = 2.0**62
_AT_LEAST, _MOST = np.int16(KEPT_EPOCHS), np.int16(FARTHEST)
_FAR_BELOW, _FAR_ABOVE = np.int16(-2 * CELLS), np.int16(2 * CELLS)
_FROM = np.minimum(KEPT_EPOCHS + np.abs(_AT[:, None] - _AT), FARTHEST).astype(np.uint8)
"""What a cell holds at least, by the visited cell and its own place."""


class ValueGrids:
    """Grids of `series` series with `views` views each.

    All is flat: an array's item, or row of `cells`, is a view of a series, the views one after the
    other. First `novelty`, then `learn` with the same values: the cell of each is looked up once.
    """

    def __init__(self, views: int, series: int) -> None:
        rows = views * series
        self.views = views
        self.series = series
        self.cells: Bytes = np.full((rows, CELLS), FARTHEST, np.uint8)
        self.first: Integers = np.zeros(rows, np.int64)
        self.samples: NDArray[np.int32] = np.zeros(rows, np.int32)
        self.numbers: dict[str, Floats] = {
            name: np.full(rows, _EMPTY.get(name, 0.0)) for name in NUMBERS
        }
        self._begins: Integers = np.arange(rows) * CELLS
        self._at: Integers = np.zeros(rows, np.int64)
        self._known: Bytes = np.zeros(rows, np.uint8)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All state, by name, as arrays whose first axis is the view and second the series."""
        flat: dict[str, NDArray[Any]] = {"cells": self.cells, "first": self.first}
        flat |= {"grid_samples": self.samples, **self.numbers}
        shape = (self.views, self.series)
        return {name: a.reshape(*shape, *a.shape[1:]) for name, a in flat.items()}

    def clear(self, series: int) -> None:
        """Makes one series' grids new."""
        rows = np.arange(self.views) * self.series + series
        self.cells[rows] = FARTHEST
        self.first[rows] = self.samples[rows] = 0
        for name, array in self.numbers.items():
            array[rows] = _EMPTY.get(name, 0.0)

    def dump(self, series: int) -> State:
        """What `ValueGrid.dump` gives of each of one series' grids."""
        return [
            [
                self.cells[row].tobytes(),
                self.first[row].item(),
                *(self.numbers[name][row].item() for name in NUMBERS),
                self.samples[row].item(),
            ]
            for row in range(series, self.views * self.series, self.series)
        ]

    def load(self, series: int, state: State) -> None:
        """Takes what `dump` gave into one series' grids."""
        rows = range(series, self.views * self.series, self.series)
        for row, (cells, first, *numbers, samples) in zip(rows, state, strict=True):
            self.cells[row] = np.frombuffer(cells, np.uint8)
            self.first[row], self.samples[row] = first, samples
            for name, number in zip(NUMBERS, numbers, strict=True):
                self.numbers[name][row] = number

    def novelty(self, values: Floats) -> Floats:
        """As `ValueGrid.novelty`, for one value a row."""
        of = self.numbers
        low, high, width = of["low"], of["high"], of["width"]
        self._at = self._cell(values)
        self._known = self.cells.reshape(-1).take(self._begins + self._at)
        far = (self._known - (KEPT_EPOCHS + 0.5)) * width
        np.maximum(far, 0.0, out=far)
        np.copyto(far, values - high, where=values > high)
        np.copyto(far, low - values, where=values < low)
        span = high - low
        narrow = np.flatnonzero(span <= 0.0)
        if not len(narrow):
            return far / span
        novelty = far / np.where(span > 0.0, span, 1.0)
        single = (span[narrow] == 0.0) & (values[narrow] != low[narrow])
        novelty[narrow] = np.where(single, 1.0, 0.0)
        return novelty

    def learn(self, values: Floats, valid: Flags) -> None:
        """As `ValueGrid.learn`, where `valid`."""
        of = self.numbers
        self._open(values, valid)
        self._widen(values, valid)
        self._visit(valid)
        lows, highs = np.where(valid, values, np.inf), np.where(valid, values, -np.inf)
        for low, high in (("low", "high"), ("young_low", "young_high")):
            np.minimum(of[low], lows, out=of[low])
            np.maximum(of[high], highs, out=of[high])
        self.samples += valid
        due = np.flatnonzero(valid & (self.samples % EPOCH_SAMPLES == 0))
        if len(due):
            self._age(due)

    def _cell(self, values: Floats, rows: Integers | slice = slice(None)) -> Integers:
        """The cell of each value; the nearest one for what is beyond the grid."""
        width = self.numbers["width"][rows]
        places = values / np.where(width > 0.0, width, 1.0)
        np.floor(places, out=places)
        np.minimum(np.maximum(places, -_FAR, out=places), _FAR, out=places)
        cells: Integers = places.astype(np.int64)
        cells -= self.first[rows]
        np.minimum(np.maximum(cells, 0, out=cells), CELLS - 1, out=cells)
        return cells

    def _edge(self, cells: Integers | int, rows: Integers | slice = slice(None)) -> Floats:
        edges: Floats = (self.first[rows] + cells) * self.numbers["width"][rows]
        return edges

    def _open(self, values: Floats, valid: Flags) -> None:
        low, width = self.numbers["low"], self.numbers["width"]
        new = np.flatnonzero(valid & (width == 0.0) & (self.samples > 0) & (values != low))
        if not len(new):
            return
        one, other = low[new], values[new]
        _, exponents = np.frexp(np.abs(other - one) / _START_CELLS)
        width[new] = np.ldexp(1.0, exponents - 1)
        first = np.floor(np.minimum(other, one) / width[new]).astype(np.int64) - _START_MARGIN
        self.first[new] = first - first % 2
        self._visit_new(new, self._cell(one, new))
        self._look_again(values, new)

    def _widen(self, values: Floats, valid: Flags) -> None:
        beyond = (values < self.numbers["low"]) | (values > self.numbers["high"])
        rows = np.flatnonzero(valid & (self.numbers["width"] > 0.0) & beyond)
        rows = moved = rows[self._outside(values, rows)]
        while len(rows):
            self._double(rows, values[rows] < self._edge(0, rows))
            rows = rows[self._outside(values, rows)]
        if len(moved):
            self._look_again(values, moved)

    def _outside(self, values: Floats, rows: Integers) -> Flags:
        """Which rows' values the grid does not cover."""
        value = values[rows]
        return (value < self._edge(0, rows)) | (value >= self._edge(CELLS, rows))

    def _double(self, rows: Integers, down: Flags) -> None:
        """As `ValueGrid._widen`."""
        odd = self.first[rows] // 2 % 2
        shift = np.where(down, CELLS // 2 - odd, odd)
        cells = self.cells[rows]
        cells = np.where(cells < _KEPT, cells, _FARTHEST)
        wide = np.full((len(rows), CELLS + 1), _FARTHEST, np.uint8)
        halves = np.minimum(cells[:, ::2], cells[:, 1::2])
        to = shift[:, None] + np.arange(CELLS // 2)
        np.put_along_axis(wide, to, halves, 1)
        self.first[rows] = self.first[rows] // 2 - shift
        self.numbers["width"][rows] *= 2.0
        self.cells[rows] = with_distances(wide[:, :CELLS])

    def _look_again(self, values: Floats, rows: Integers) -> None:
        """Finds the cells of some rows after these have moved."""
        self._at[rows] = self._cell(values[rows], rows)
        self._known[rows] = self.cells[rows, self._at[rows]]

    def _visit(self, valid: Flags) -> None:
        cells = self.cells.reshape(-1)
        seen = valid & (self.numbers["width"] > 0.0) & (self._known > 0)
        aged = np.flatnonzero(seen)
        cells[self._begins[aged] + self._at[aged]] = 0
        new = aged[self._known[aged] >= KEPT_EPOCHS]
        if len(new):
            self._visit_new(new, self._at[new])

    def _visit_new(self, rows: Integers, at: Integers) -> None:
        self.cells[rows] = np.minimum(self.cells[rows], _FROM[at])
        self.cells[rows, at] = 0

    def _age(self, rows: Integers) -> None:
        of = self.numbers
        turn = rows[self.samples[rows] % (EPOCH_SAMPLES * KEPT_EPOCHS) == 0]
        of["old_low"][turn], of["old_high"][turn] = of["young_low"][turn], of["young_high"][turn]
        of["young_low"][turn], of["young_high"][turn] = np.inf, -np.inf
        cells = self.cells[rows]
        ages = np.where(cells < KEPT_EPOCHS - 1, cells + 1, FARTHEST).astype(np.uint8)
        seen = (ages < KEPT_EPOCHS).any(1)
        rows, ages = rows[seen], ages[seen]
        self._draw_in(rows, ages < KEPT_EPOCHS)
        self._narrow(rows, ages)
        self.cells[rows] = with_distances(ages)

    def _draw_in(self, rows: Integers, visited: Flags) -> None:
        first = visited.argmax(1)
        last = CELLS - 1 - visited[:, ::-1].argmax(1)
        of = {name: array[rows] for name, array in self.numbers.items()}
        lowest = np.minimum(of["young_low"], of["old_low"])
        highest = np.maximum(of["young_high"], of["old_high"])
        bottom, top = self._edge(first, rows), self._edge(last + 1, rows)
        self.numbers["low"][rows] = np.maximum(np.maximum(of["low"], bottom), lowest)
        self.numbers["high"][rows] = np.minimum(np.minimum(of["high"], top), highest)

    def _narrow(self, rows: Integers, ages: Bytes) -> None:
        """Halves cells as `ValueGrid` does; changes `ages`, one row of cells a row of `rows`."""
        width, low, high = (self.numbers[n] for n in ("width", "low", "high"))
        left = np.arange(len(rows))
        while True:
            span = high[rows[left]] - low[rows[left]]
            left = left[(span > 0.0) & (span < width[rows[left]] * _LEAST_CELLS)]
            if not len(left):
                return
            at = rows[left]
            begin = np.clip(self._cell(low[at], at) - CELLS // 8, 0, CELLS // 2)
            self.first[at] = 2 * (self.first[at] + begin)
            width[at] /= 2.0
            lowest, highest = self._cell(low[at], at), self._cell(high[at], at)
            halves = np.take_along_axis(ages[left], begin[:, None] + _AT // 2, 1)
            within = (lowest[:, None] <= _AT) & (highest[:, None] >= _AT)
            ages[left] = np.where(within, halves, FARTHEST)


def with_distances(ages: Bytes) -> Bytes:
    """As `novelty_grid.with_distances`, for each row."""
    visited = ages < _KEPT
    below = np.maximum.accumulate(np.where(visited, _AT, _FAR_BELOW), 1)
    above = np.where(visited, _AT, _FAR_ABOVE)[:, ::-1]
    above = np.minimum.accumulate(above, 1)[:, ::-1]
    near = np.minimum(_AT - below, above - _AT)
    far = np.minimum(near + _AT_LEAST, _MOST).astype(np.uint8)
    return np.where(visited, ages, far)
