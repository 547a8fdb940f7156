"""`Views` of many series at once: the same numbers, operation by operation, as arrays."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.novelty_grids import Flags, Floats, Integers
from detectors.novelty_views import (
    BLOCK,
    GREATESTS,
    LEAST,
    LEAST_LEVEL_RATE,
    LEASTS,
    MOST_DAYS,
    SHRINKAGE_DAYS,
    SLOT_MS,
    SLOTS,
    SUMS,
)

_START: dict[str, float] = {
    "block_least": np.inf,
    "leasts": np.inf,
    "greatest": -np.inf,
    "greatests": -np.inf,
    "last_slot": -1,
}


class Looks(NamedTuple):
    """One number a view (value, step, floor, ceiling, day) and series; 0 where not `valid`."""

    numbers: Floats
    valid: Flags


class ViewColumns:
    """The views of `series` series; every array's last axis is the series."""

    def __init__(self, series: int) -> None:
        self._series = series
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

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All state, by name."""
        return self._arrays

    def clear(self, column: int) -> None:
        """Makes one series' views new."""
        for name, array in self._arrays.items():
            array[..., column] = _START.get(name, 0)

    def _here(self, columns: Integers) -> Integers | slice:
        """The same columns without copying when they are all, as they mostly are."""
        return slice(None) if len(columns) == self._series else columns

    def look(self, times_ms: Integers, values: Floats, columns: Integers) -> Looks:
        """As `Views.look`, for the series in `columns`."""
        a = self._arrays
        here = self._here(columns)
        samples = a["samples"][here]
        blocks, within = np.divmod(samples, BLOCK)
        numbers = np.zeros((5, len(values)))
        valid = np.ones((5, len(values)), np.bool_)
        numbers[0] = values
        sums = a["sums"]
        now = a["block_sum"][here] + values + sums[(blocks - 1) % SUMS, columns]
        before = sums[(blocks - 2) % SUMS, columns] + sums[(blocks - 3) % SUMS, columns]
        valid[1] = blocks >= SUMS
        step = now / (within + 1 + BLOCK) - before / (2 * BLOCK)
        numbers[1] = np.where(valid[1] & (np.abs(step) >= LEAST), step, 0.0)
        least = np.minimum(values, a["block_least"][here])
        numbers[2] = np.minimum(least, a["leasts"][:, here].min(0))
        greatest = np.maximum(values, a["greatest"][here])
        numbers[3] = np.maximum(greatest, a["greatests"][:, here].max(0))
        slots = times_ms // SLOT_MS
        at = slots % SLOTS
        days = a["days"][at, columns] - (slots == a["last_slot"][here]).astype(np.float64)
        expected = a["level"][here] + a["profile"][at, columns] * (days / (days + SHRINKAGE_DAYS))
        valid[4] = days > 0
        day = values - expected
        numbers[4] = np.where(valid[4] & (np.abs(day) >= LEAST), day, 0.0)
        return Looks(numbers, valid)

    def learn(self, times_ms: Integers, values: Floats, columns: Integers) -> None:
        """As `Views.learn`, for the series in `columns`."""
        a = self._arrays
        here = self._here(columns)
        samples = a["samples"][here].copy()
        self._learn_day(times_ms, values, columns, samples)
        a["samples"][here] += 1
        a["block_sum"][here] += values
        a["block_least"][here] = np.minimum(a["block_least"][here], values)
        a["greatest"][here] = np.maximum(a["greatest"][here], values)
        full = np.flatnonzero(samples % BLOCK == BLOCK - 1)
        if len(full):
            self._close_blocks(columns[full], samples[full] // BLOCK)

    def _close_blocks(self, at: Integers, blocks: Integers) -> None:
        a = self._arrays
        a["sums"][blocks % SUMS, at] = a["block_sum"][at]
        a["leasts"][blocks % LEASTS, at] = a["block_least"][at]
        a["block_sum"][at], a["block_least"][at] = 0.0, np.inf
        odd = blocks % 2 == 1
        at, blocks = at[odd], blocks[odd]
        a["greatests"][blocks // 2 % GREATESTS, at] = a["greatest"][at]
        a["greatest"][at] = -np.inf

    def _learn_day(
        self, times_ms: Integers, values: Floats, columns: Integers, samples: Integers
    ) -> None:
        a = self._arrays
        here = self._here(columns)
        slots = times_ms // SLOT_MS
        at = slots % SLOTS
        days = a["days"][at, columns]
        days = np.where(slots != a["last_slot"][here], np.minimum(days, MOST_DAYS - 1) + 1, days)
        a["days"][at, columns] = days
        a["last_slot"][here] = slots
        level = np.where(samples == 0, values, a["level"][here])
        level += np.maximum(1.0 / (samples + 1), LEAST_LEVEL_RATE) * (values - level)
        a["level"][here] = level
        profile = a["profile"][at, columns]
        rate = np.maximum(0.05, 0.3 / days)
        a["profile"][at, columns] = profile + rate * (values - level - profile)
