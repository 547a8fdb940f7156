"""`ValueGrid`s in rows of arrays: step by step what `detectors.novelty_grid` does."""

from math import floor, frexp, inf, ldexp
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.native.compile import compiled, inlined
from detectors.novelty_grid import (
    CELLS,
    EPOCH_SAMPLES,
    FARTHEST,
    KEPT_EPOCHS,
    LEAST_CELLS,
    START_CELLS,
    START_MARGIN,
)

Row = npt.NDArray[np.uint8]


class Grids(NamedTuple):
    """The columns of all grids, and a row of cells to work in."""

    cells: npt.NDArray[np.uint8]
    first: npt.NDArray[np.int64]
    samples: npt.NDArray[np.int32]
    spare: Row
    width: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    young_low: npt.NDArray[np.float64]
    young_high: npt.NDArray[np.float64]
    old_low: npt.NDArray[np.float64]
    old_high: npt.NDArray[np.float64]


@inlined
def novelty(of: Grids, row: int, value: float) -> float:
    """As `ValueGrid.novelty`."""
    low, high = of.low[row], of.high[row]
    if low < high:
        if value > high:
            return (value - high) / (high - low)
        if value < low:
            return (low - value) / (high - low)
        cell = of.cells[row, _cell(of, row, value)]
        if cell <= KEPT_EPOCHS:
            return 0.0
        return (cell - KEPT_EPOCHS - 0.5) * of.width[row] / (high - low)
    return 1.0 if low == high and value != low else 0.0


@inlined
def learn(of: Grids, row: int, value: float) -> None:
    """As `ValueGrid.learn`."""
    if of.low[row] <= value <= of.high[row]:
        if of.width[row] > 0.0:
            at = _cell(of, row, value)
            if of.cells[row, at] > 0:
                _visit(of.cells[row], at)
    else:
        _learn_beyond(of, row, value)
    of.young_low[row] = min(of.young_low[row], value)
    of.young_high[row] = max(of.young_high[row], value)
    of.samples[row] += 1
    if of.samples[row] % EPOCH_SAMPLES == 0:
        _age(of, row)


@inlined
def _cell(of: Grids, row: int, value: float) -> int:
    return floor(value / of.width[row]) - of.first[row]


@inlined
def _edge(of: Grids, row: int, cell: int) -> float:
    return (of.first[row] + cell) * of.width[row]


@compiled
def _visit(cells: Row, at: int) -> None:
    if cells[at] >= KEPT_EPOCHS:
        for i in range(CELLS):
            cells[i] = min(cells[i], KEPT_EPOCHS + abs(at - i), FARTHEST)
    cells[at] = 0


@compiled
def _learn_beyond(of: Grids, row: int, value: float) -> None:
    if of.width[row] == 0.0 and of.samples[row] > 0:
        _open(of, row, value)
    if of.width[row] > 0.0:
        while value < _edge(of, row, 0) or value >= _edge(of, row, CELLS):
            _widen(of, row, value < _edge(of, row, 0))
        _visit(of.cells[row], _cell(of, row, value))
    of.low[row] = min(of.low[row], value)
    of.high[row] = max(of.high[row], value)


@inlined
def _open(of: Grids, row: int, value: float) -> None:
    low = of.low[row]
    _, exponent = frexp(abs(value - low) / START_CELLS)
    of.width[row] = ldexp(1.0, exponent - 1)
    first = floor(min(value, low) / of.width[row]) - START_MARGIN
    of.first[row] = first - first % 2
    _visit(of.cells[row], _cell(of, row, low))


@compiled
def _widen(of: Grids, row: int, down: bool) -> None:
    cells, ages = of.cells[row], of.spare
    odd = of.first[row] // 2 % 2
    shift = CELLS // 2 - odd if down else odd
    ages[:] = FARTHEST
    for i in range(CELLS // 2):
        least = min(cells[2 * i], cells[2 * i + 1])
        if least < KEPT_EPOCHS:
            ages[shift + i] = least
    of.first[row] = of.first[row] // 2 - shift
    of.width[row] *= 2.0
    _with_distances(ages, cells)


@inlined
def _with_distances(ages: Row, cells: Row) -> None:
    far = 2 * CELLS
    for i in range(CELLS):
        far = 0 if ages[i] < KEPT_EPOCHS else far + 1
        cells[i] = ages[i] if far == 0 else min(KEPT_EPOCHS + far, FARTHEST)
    far = 2 * CELLS
    for i in range(CELLS - 1, -1, -1):
        far = 0 if ages[i] < KEPT_EPOCHS else far + 1
        if far:
            cells[i] = min(cells[i], KEPT_EPOCHS + far, FARTHEST)


@compiled
def _age(of: Grids, row: int) -> None:
    if of.samples[row] % (EPOCH_SAMPLES * KEPT_EPOCHS) == 0:
        of.old_low[row], of.old_high[row] = of.young_low[row], of.young_high[row]
        of.young_low[row], of.young_high[row] = inf, -inf
    cells, ages = of.cells[row], of.spare
    first, last = CELLS, -1
    for i in range(CELLS):
        ages[i] = FARTHEST
        if cells[i] + 1 < KEPT_EPOCHS:
            ages[i] = cells[i] + 1
            first, last = min(first, i), i
    if last < 0:
        return
    lowest = min(of.young_low[row], of.old_low[row])
    highest = max(of.young_high[row], of.old_high[row])
    of.low[row] = max(of.low[row], _edge(of, row, first), lowest)
    of.high[row] = min(of.high[row], _edge(of, row, last + 1), highest)
    while 0.0 < of.high[row] - of.low[row] < of.width[row] * LEAST_CELLS:
        _narrow(of, row)
    _with_distances(ages, cells)


@inlined
def _narrow(of: Grids, row: int) -> None:
    """Halves the cells' width about the range, in the row to work in."""
    cells, ages = of.cells[row], of.spare
    begin = min(max(_cell(of, row, of.low[row]) - CELLS // 8, 0), CELLS // 2)
    of.first[row] = 2 * (of.first[row] + begin)
    of.width[row] /= 2.0
    lowest, highest = _cell(of, row, of.low[row]), _cell(of, row, of.high[row])
    for i in range(CELLS):
        cells[i] = ages[begin + i // 2] if lowest <= i <= highest else FARTHEST
    for i in range(CELLS):
        ages[i] = cells[i]
