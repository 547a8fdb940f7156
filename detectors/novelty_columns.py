"""`Views` of many series at once: the same numbers, operation by operation, as arrays."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.base import State
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
    STATE,
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
        self._every = np.arange(series)
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

    def clear(self, series: int) -> None:
        """Makes one series' views new."""
        for name, array in self._arrays.items():
            array[..., series] = _START.get(name, 0)

    def dump(self, series: int) -> State:
        """What `Views.dump` gives of one series."""
        return [self._arrays[name][..., series].tolist() for name in STATE]

    def load(self, series: int, state: State) -> None:
        """Takes what `dump` gave into one series."""
        for name, value in zip(STATE, state, strict=True):
            self._arrays[name][..., series] = value

    def look(self, times_ms: Integers, values: Floats) -> Looks:
        """As `Views.look`, for one value a series."""
        a, every = self._arrays, self._every
        blocks, within = np.divmod(a["samples"], BLOCK)
        sums = a["sums"]
        now = a["block_sum"] + values + sums[(blocks - 1) % SUMS, every]
        before = sums[(blocks - 2) % SUMS, every] + sums[(blocks - 3) % SUMS, every]
        step = now / (within + 1 + BLOCK) - before / (2 * BLOCK)
        least = np.minimum(values, a["block_least"])
        greatest = np.maximum(values, a["greatest"])
        slots = times_ms // SLOT_MS
        at = slots % SLOTS
        days = a["days"][at, every] - (slots == a["last_slot"]).astype(np.float64)
        deviation = a["profile"][at, every] * (days / (days + SHRINKAGE_DAYS))
        day = values - (a["level"] + deviation)
        valid = np.ones((5, len(values)), np.bool_)
        valid[1] = blocks >= SUMS
        valid[4] = days > 0
        numbers = np.empty((5, len(values)))
        numbers[0] = values
        numbers[1] = np.where(valid[1] & (np.abs(step) >= LEAST), step, 0.0)
        numbers[2] = np.minimum(least, a["leasts"].min(0))
        numbers[3] = np.maximum(greatest, a["greatests"].max(0))
        numbers[4] = np.where(valid[4] & (np.abs(day) >= LEAST), day, 0.0)
        return Looks(numbers, valid)

    def learn(self, times_ms: Integers, values: Floats, present: Flags) -> None:
        """As `Views.learn`, for the series that are `present`."""
        a = self._arrays
        self._learn_day(times_ms, values, present)
        full = np.flatnonzero(present & (a["samples"] % BLOCK == BLOCK - 1))
        a["samples"] += present
        a["block_sum"] += np.where(present, values, 0.0)
        np.minimum(a["block_least"], np.where(present, values, np.inf), out=a["block_least"])
        np.maximum(a["greatest"], np.where(present, values, -np.inf), out=a["greatest"])
        if len(full):
            self._close_blocks(full, a["samples"][full] // BLOCK - 1)

    def _close_blocks(self, at: Integers, blocks: Integers) -> None:
        a = self._arrays
        a["sums"][blocks % SUMS, at] = a["block_sum"][at]
        a["leasts"][blocks % LEASTS, at] = a["block_least"][at]
        a["block_sum"][at], a["block_least"][at] = 0.0, np.inf
        odd = blocks % 2 == 1
        at, blocks = at[odd], blocks[odd]
        a["greatests"][blocks // 2 % GREATESTS, at] = a["greatest"][at]
        a["greatest"][at] = -np.inf

    def _learn_day(self, times_ms: Integers, values: Floats, present: Flags) -> None:
        a, every, samples = self._arrays, self._every, self._arrays["samples"]
        slots = times_ms // SLOT_MS
        at = slots % SLOTS
        days, last = a["days"][at, every], a["last_slot"]
        days += present & (slots != last) & (days < MOST_DAYS)
        a["days"][at, every] = days
        np.copyto(last, slots, where=present)
        level = np.where(samples == 0, values, a["level"])
        level += np.maximum(1.0 / (samples + 1), LEAST_LEVEL_RATE) * (values - level)
        np.copyto(a["level"], level, where=present)
        profile = a["profile"][at, every]
        rate = np.maximum(0.05, 0.3 / np.maximum(days, 1))
        learnt = profile + rate * (values - level - profile)
        a["profile"][at, every] = np.where(present, learnt, profile)
