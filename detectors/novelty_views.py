"""What novelty is sought in: five ways to look at a series, each one number a sample."""

from math import inf
from typing import NamedTuple

from detectors.base import State

BLOCK = 12
"""Samples that a sum and a least value are kept of; greatest values are kept of two blocks."""
SUMS, LEASTS, GREATESTS = 4, 6, 8
SLOTS = 48
SLOT_MS = 1_800_000
SHRINKAGE_DAYS = 1.0
LEAST_LEVEL_RATE = 0.005
MOST_DAYS = 250


class View(NamedTuple):
    """One look at the newest sample: what novelty is sought in, and from what it is counted.

    `base + number` is in the terms of the series: for a step the mean that was before it.
    """

    number: float
    base: float = 0.0


class Views:
    """The latest blocks of a series and its usual day, and what a sample looks like before them.

    value: the sample itself. step: the mean of the last 13 to 24 samples less that of the 24
    before. floor: the least of the last 73 to 84; ceiling: the greatest of the last 193 to 216.
    day: what is left of the sample without the level and the usual deviation from it at this half
    hour of the day (UTC), which is shrunk by days / (days + 1) while days are few.
    """

    __slots__ = (
        "block_least",
        "block_sum",
        "days",
        "greatest",
        "greatests",
        "last_slot",
        "leasts",
        "level",
        "profile",
        "samples",
        "sums",
    )

    def __init__(self) -> None:
        self.samples = 0
        self.block_sum = 0.0
        self.block_least = inf
        self.greatest = -inf
        self.sums = [0.0] * SUMS
        self.leasts = [inf] * LEASTS
        self.greatests = [-inf] * GREATESTS
        self.level = 0.0
        self.last_slot = -1
        self.profile = [0.0] * SLOTS
        self.days = [0] * SLOTS

    def look(self, time_ms: int, value: float) -> tuple[View | None, ...]:
        """The views value, step, floor, ceiling, day.

        There is no step in the first 48 samples, and no day before its half hour's second.
        """
        return (
            View(value),
            self._step(value),
            View(min(value, self.block_least, *self.leasts)),
            View(max(value, self.greatest, *self.greatests)),
            self._day(time_ms, value),
        )

    def _step(self, value: float) -> View | None:
        blocks, within = divmod(self.samples, BLOCK)
        if blocks < SUMS:
            return None
        sums = self.sums
        now = self.block_sum + value + sums[(blocks - 1) % SUMS]
        before = sums[(blocks - 2) % SUMS] + sums[(blocks - 3) % SUMS]
        base = before / (2 * BLOCK)
        return View(now / (within + 1 + BLOCK) - base, base)

    def _day(self, time_ms: int, value: float) -> View | None:
        slot = time_ms // SLOT_MS
        days = self.days[slot % SLOTS] - (1 if slot == self.last_slot else 0)
        if not days:
            return None
        expected = self.level + self.profile[slot % SLOTS] * (days / (days + SHRINKAGE_DAYS))
        return View(value - expected, expected)

    def learn(self, time_ms: int, value: float) -> None:
        """Takes a sample into blocks, level and profile."""
        self._learn_day(time_ms, value)
        blocks, within = divmod(self.samples, BLOCK)
        self.samples += 1
        self.block_sum += value
        self.block_least = min(self.block_least, value)
        self.greatest = max(self.greatest, value)
        if within < BLOCK - 1:
            return
        self.sums[blocks % SUMS] = self.block_sum
        self.leasts[blocks % LEASTS] = self.block_least
        self.block_sum, self.block_least = 0.0, inf
        if blocks % 2:
            self.greatests[blocks // 2 % GREATESTS] = self.greatest
            self.greatest = -inf

    def _learn_day(self, time_ms: int, value: float) -> None:
        slot = time_ms // SLOT_MS
        at = slot % SLOTS
        if slot != self.last_slot:
            self.days[at] = min(self.days[at] + 1, MOST_DAYS)
            self.last_slot = slot
        if not self.samples:
            self.level = value
        self.level += max(1.0 / (self.samples + 1), LEAST_LEVEL_RATE) * (value - self.level)
        rate = max(0.05, 0.3 / self.days[at])
        self.profile[at] += rate * (value - self.level - self.profile[at])

    def dump(self) -> State:
        """All fields, in the order of their names."""
        return [list(v) if isinstance(v := getattr(self, s), list) else v for s in self.__slots__]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        for name, value in zip(self.__slots__, state, strict=True):
            setattr(self, name, list(value) if isinstance(value, list | tuple) else value)
