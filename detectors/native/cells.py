"""Durations in logarithmic cells: see `detectors.latency`.

A row of cells holds weights: the first cell is of what is too short to measure, the following ones
are of bins about 10 % wide, each made of five of a sketch's. `first` is the bin of the second cell.
"""

from math import ceil, exp, log, log1p
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.native.compile import compiled, inlined

Row = npt.NDArray[np.float64]
Cells = npt.NDArray[np.float64]
"""Three rows: the reference, the window that was taken last, and room to work in."""

REFERENCE, WINDOW, ROOM = range(3)

BINS_A_CELL: Final = 5
ZERO: Final = -1000
"""The bin of what is too short to measure."""

_LOG_GAMMA: Final = log1p(2 * 0.01 / (1 - 0.01))
BIN_WIDTH: Final = BINS_A_CELL * _LOG_GAMMA


@inlined
def seconds_of(b: int) -> float:
    """The middle of a bin; 0 for the bin of zeros."""
    return 0.0 if b == ZERO else exp((b + 0.4) * BINS_A_CELL * _LOG_GAMMA)


@inlined
def bin_of(seconds: float) -> int:
    """The bin in which a duration falls."""
    return ZERO if seconds <= 1e-9 else ceil(log(seconds) / _LOG_GAMMA) // BINS_A_CELL


@inlined
def bin_at(cell: int, first: int) -> int:
    """The bin of a cell."""
    return ZERO if cell == 0 else first + cell - 1


@inlined
def cell_of(b: int, first: int) -> int:
    """The cell of a bin: the first if it is below all, one beyond the last if it is above all."""
    return 0 if b < first else b - first + 1


@inlined
def sum_from(row: Row, cell: int) -> float:
    """The sum of a row from a cell on, added up in the order of the cells."""
    total = 0.0
    for at in range(cell, row.size):
        total += row[at]
    return total


@inlined
def reaching(row: Row, rank: float) -> int:
    """The cell in which the sum of all up to it reaches `rank`; else the last that holds any."""
    seen, last = 0.0, 0
    for at in range(row.size):
        if row[at] != 0.0:
            seen += row[at]
            last = at
            if seen >= rank:
                break
    return last


@compiled
def quantile_seconds(cells: Cells, row: int, first: int, total: float, q: float) -> float:
    """The quantile `q` of a row whose weights add up to `total`; 0 if it is empty."""
    return seconds_of(bin_at(reaching(cells[row], q * total), first))
