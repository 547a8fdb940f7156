"""`LevelShift`s of many series in columns, in which `detectors.native.seasonal` counts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import State
from detectors.native.seasonal import Shifts


class ShiftColumns:
    """Runs out of bounds of `size` series."""

    def __init__(self, size: int) -> None:
        self.columns = Shifts(
            out=np.zeros(size, np.int64),
            out_since_ms=np.zeros(size, np.int64),
            out_mean=np.zeros(size),
            out_dev=np.zeros(size),
            former=np.zeros(size),
            former_until_ms=np.zeros(size, np.int64),
            back=np.zeros(size, np.int64),
        )

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All state, by name."""
        return self.columns._asdict()

    def dump(self, series: int) -> State:
        """What `LevelShift.dump` gives of one series."""
        return [array[series].item() for array in self.arrays().values()]

    def load(self, series: int, state: State) -> None:
        """Takes what `LevelShift.dump` gives into one series."""
        for array, value in zip(self.arrays().values(), state, strict=True):
            array[series] = value
