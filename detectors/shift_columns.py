"""`LevelShift` of many series at once: the same numbers, operation by operation, as arrays."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.base import State
from detectors.novelty_grids import Flags, Floats, Integers
from detectors.shift import ADOPT_SAMPLES, BACK_SAMPLES, TO_SIGMA
from schemas.times import DAY_MS


class Levels(NamedTuple):
    """The series whose level has become another, that level, and how it has scattered."""

    series: Integers
    level: Floats
    scatter: Floats


class ShiftColumns:
    """Runs out of bounds of `size` series. Parameters as of `LevelShift`."""

    def __init__(self, size: int, adopt_after_ms: int, memory: int) -> None:
        self.adopt_after_ms = adopt_after_ms
        self.memory = memory
        self.out = np.zeros(size, np.int64)
        self._since_ms = np.zeros(size, np.int64)
        self._mean = np.zeros(size)
        self._dev = np.zeros(size)
        self._former = np.zeros(size)
        self._former_until_ms = np.zeros(size, np.int64)
        self._back = np.zeros(size, np.int64)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All state, by name."""
        return {
            "out": self.out,
            "out_since_ms": self._since_ms,
            "out_mean": self._mean,
            "out_dev": self._dev,
            "former": self._former,
            "former_until_ms": self._former_until_ms,
            "back": self._back,
        }

    def note(
        self, series: Integers, start_ms: int, end_ms: int, y: Floats, side: Integers
    ) -> Levels:
        """As `LevelShift.note`, for some series; those that have a new level."""
        out = self.out[series]
        out[(side == 0) | (out * side < 0)] = 0
        outside = side != 0
        self.out[series[~outside]] = 0
        at, y, out, side = series[outside], y[outside], out[outside], side[outside]
        begins = out == 0
        self._since_ms[at[begins]] = start_ms
        mean = np.where(begins, y, self._mean[at])
        dev = np.where(begins, 0.0, self._dev[at])
        out += side
        rate = 1.0 / np.minimum(np.abs(out), self.memory)
        dev += rate * (np.abs(y - mean) - dev)
        mean += rate * (y - mean)
        lasts = end_ms - self._since_ms[at] >= self.adopt_after_ms
        adopted = lasts & (np.abs(out) >= ADOPT_SAMPLES)
        out[adopted] = 0
        self.out[at], self._mean[at], self._dev[at] = out, mean, dev
        return Levels(at[adopted], mean[adopted], TO_SIGMA * dev[adopted])

    def adopted(self, series: Integers, end_ms: int, former: Floats) -> None:
        """As `LevelShift.adopted`, for some series."""
        self._former[series], self._back[series] = former, 0
        self._former_until_ms[series] = end_ms + DAY_MS

    def is_back(self, series: Integers, start_ms: int, level: Floats, reach: Floats) -> Flags:
        """As `LevelShift.is_back`, for some series."""
        known = start_ms < self._former_until_ms[series]
        near: Flags = known & (np.abs(level - self._former[series]) <= reach)
        return near

    def back(self, series: Integers) -> Levels:
        """As `LevelShift.back`, for some series; those that have stayed."""
        self._back[series] += 1
        stayed = series[self._back[series] >= BACK_SAMPLES]
        self._former_until_ms[stayed] = 0
        return Levels(stayed, self._former[stayed], np.zeros(len(stayed)))

    def dump(self, series: int) -> State:
        """What `LevelShift.dump` gives of one series."""
        return [array[series].item() for array in self.arrays().values()]

    def load(self, series: int, state: State) -> None:
        """Takes what `LevelShift.dump` gives into one series."""
        for array, value in zip(self.arrays().values(), state, strict=True):
            array[series] = value
