"""`ValueGrid`s of many series in columns, for `detectors.native.novelty` to look and learn."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import State
from detectors.native.grids import Grids
from detectors.novelty_grid import CELLS, FARTHEST

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

NUMBERS = ("width", "low", "high", "young_low", "young_high", "old_low", "old_high")
_EMPTY = {"low": np.inf, "young_low": np.inf, "old_low": np.inf}
_EMPTY |= {name.replace("low", "high"): -np.inf for name in _EMPTY}


class ValueGrids:
    """Grids of `series` series with `views` views each.

    All is flat: an array's item, or row of `cells`, is a view of a series, the views one after the
    other.
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
        spare = np.zeros(CELLS, np.uint8)
        self.columns = Grids(self.cells, self.first, self.samples, spare, **self.numbers)

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
