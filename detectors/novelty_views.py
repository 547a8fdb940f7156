"""What novelty is sought in: five ways to look at a series, each one number a sample."""

from math import inf
from typing import Final

from detectors.base import State

BLOCK: Final = 12
"""Samples that a sum and a least value are kept of; greatest values are kept of two blocks."""
SUMS: Final = 4
LEASTS: Final = 6
GREATESTS: Final = 8
SLOTS: Final = 48
SLOT_MS: Final = 1_800_000
SHRINKAGE_DAYS: Final = 1.0
LEAST_LEVEL_RATE: Final = 0.005
MOST_DAYS: Final = 250
LEAST: Final = 1e-150
"""What is smaller in magnitude counts as 0."""

STATE = (
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


class Views:
    """The latest blocks of a series and its usual day, and what a sample looks like before them.

    value: the sample itself. step: the mean of the last 13 to 24 samples less that of the 24
    before. floor: the least of the last 73 to 84; ceiling: the greatest of the last 193 to 216.
    day: what is left of the sample without the level and the usual deviation from it at this half
    hour of the day (UTC), which is shrunk by days / (days + 1) while days are few.
    """

    __slots__ = (*STATE, "_ceiling", "_floor", "_mean_before", "_sum_now", "_within")

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
        self._sum_up()

    def _sum_up(self) -> None:
        """Works out what does not change within a block."""
        blocks, self._within = divmod(self.samples, BLOCK)
        sums = self.sums
        self._sum_now = sums[(blocks - 1) % SUMS]
        self._mean_before = (sums[(blocks - 2) % SUMS] + sums[(blocks - 3) % SUMS]) / (2 * BLOCK)
        self._floor = min(self.block_least, *self.leasts)
        self._ceiling = max(self.greatest, *self.greatests)

    def look(self, time_ms: int, value: float) -> tuple[float | None, ...]:
        """The views value, step, floor, ceiling, day.

        There is no step in the first 48 samples, and no day before its half hour's second.
        """
        step = day = None
        if self.samples >= SUMS * BLOCK:
            now = self.block_sum + value + self._sum_now
            step = _or_zero(now / (self._within + 1 + BLOCK) - self._mean_before)
        expected = self._expected(time_ms)
        if expected is not None:
            day = _or_zero(value - expected)
        floor = self._floor if self._floor < value else value
        return value, step, floor, self._ceiling if self._ceiling > value else value, day

    def bases(self, time_ms: int) -> tuple[float, ...]:
        """What each view is counted from: base plus view is in the terms of the series."""
        return 0.0, self._mean_before, 0.0, 0.0, self._expected(time_ms) or 0.0

    def _expected(self, time_ms: int) -> float | None:
        slot = time_ms // SLOT_MS
        at = slot % SLOTS
        days = self.days[at] - (slot == self.last_slot)
        return self.level + self.profile[at] * (days / (days + SHRINKAGE_DAYS)) if days else None

    def learn(self, time_ms: int, value: float) -> None:
        """Takes a sample into blocks, level and profile."""
        self._learn_day(time_ms // SLOT_MS, value)
        self.samples += 1
        self.block_sum += value
        if value < self.block_least:
            self.block_least = value
            self._floor = min(self._floor, value)
        if value > self.greatest:
            self.greatest = value
            self._ceiling = max(self._ceiling, value)
        self._within += 1
        if self._within == BLOCK:
            self._end_block(self.samples // BLOCK - 1)

    def _end_block(self, block: int) -> None:
        self.sums[block % SUMS] = self.block_sum
        self.leasts[block % LEASTS] = self.block_least
        self.block_sum, self.block_least = 0.0, inf
        if block % 2:
            self.greatests[block // 2 % GREATESTS] = self.greatest
            self.greatest = -inf
        self._sum_up()

    def _learn_day(self, slot: int, value: float) -> None:
        at = slot % SLOTS
        days = self.days[at]
        if slot != self.last_slot:
            self.last_slot = slot
            if days < MOST_DAYS:
                days = self.days[at] = days + 1
        n = self.samples
        if not n:
            self.level = value
        level_rate = LEAST_LEVEL_RATE if n >= 1 / LEAST_LEVEL_RATE else 1.0 / (n + 1)
        level = self.level = self.level + level_rate * (value - self.level)
        known = self.profile[at]
        self.profile[at] = known + (0.3 / days if days < 6 else 0.05) * (value - level - known)

    def dump(self) -> State:
        """All fields, in the order of their names."""
        return [
            self.block_least,
            self.block_sum,
            list(self.days),
            self.greatest,
            list(self.greatests),
            self.last_slot,
            list(self.leasts),
            self.level,
            list(self.profile),
            self.samples,
            list(self.sums),
        ]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        (
            self.block_least,
            self.block_sum,
            days,
            self.greatest,
            greatests,
            self.last_slot,
            leasts,
            self.level,
            profile,
            self.samples,
            sums,
        ) = state
        self.days, self.profile, self.sums = list(days), list(profile), list(sums)
        self.leasts, self.greatests = list(leasts), list(greatests)
        self._sum_up()


def _or_zero(difference: float) -> float:
    """The difference, or 0 where it is too small to be told from rounding and underflow."""
    return difference if difference >= LEAST or difference <= -LEAST else 0.0
