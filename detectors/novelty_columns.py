"""`Views` of many series in columns, for `detectors.native.novelty` to look and learn."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import State
from detectors.native.novelty import Views
from detectors.novelty_views import GREATESTS, LEASTS, SLOTS, STATE, SUMS

_START: dict[str, float] = {
    "block_least": np.inf,
    "leasts": np.inf,
    "greatest": -np.inf,
    "greatests": -np.inf,
    "last_slot": -1,
}


class ViewColumns:
    """The views of `series` series; every array's last axis is the series."""

    def __init__(self, series: int) -> None:
        self._arrays: dict[str, NDArray[Any]] = {
            "samples": np.zeros(series, np.int64),
            "block_sum": np.zeros(series),
            "block_least": np.zeros(series),
            "greatest": np.zeros(series),
            "sums": np.zeros((SUMS, series)),
            "leasts": np.zeros((LEASTS, series)),
            "greatests": np.zeros((GREATESTS, series)),
            "level": np.zeros(series),
            "last_slot": np.zeros(series, np.int64),
            "profile": np.zeros((SLOTS, series)),
            "days": np.zeros((SLOTS, series), np.uint8),
        }
        for name, array in self._arrays.items():
            array[...] = _START.get(name, 0)
        self.columns = Views(**self._arrays)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All state, by name."""
        return self._arrays

    def clear(self, series: int) -> None:
        """Makes one series' views new."""
        for name, array in self._arrays.items():
            array[..., series] = _START.get(name, 0)

    def dump(self, series: int) -> State:
        """What `Views.dump` gives of one series."""
        return [self._arrays[name][..., series].tolist() for name in STATE]
