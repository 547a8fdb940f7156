"""`SeasonalProfile`s of many series in columns, in which `detectors.native.seasonal` learns."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.base import State
from detectors.native.profiles import Profiles
from detectors.native.seasonal import Band
from detectors.novelty_grids import Floats
from detectors.profile import BLOCK_HOURS, BLOCKS, HOUR_MS, HOURS, SHRINKAGE
from schemas.times import DAY_MS

_WEEKDAYS = 7


class _Segment(NamedTuple):
    """What is expected from the middle of an hour to that of the next, `SeasonalProfile`'s way."""

    begins_ms: int
    start: Floats
    slope: Floats
    below: Floats
    above: Floats


class ProfileColumns:
    """The profiles of `size` series; every array's last axis is the series."""

    def __init__(self, size: int) -> None:
        self._day = np.zeros((HOURS, size))
        self._days = np.zeros((HOURS, size), np.uint8)
        self._week = np.zeros((_WEEKDAYS * BLOCKS, size))
        self._weeks = np.zeros((_WEEKDAYS * BLOCKS, size), np.uint8)
        self._speaks_ms = np.zeros(size, np.int64)
        self._hour = np.full(size, -1, np.int64)
        self._sum = np.zeros(size)
        self._n = np.zeros(size, np.int64)
        self._quiet = Band(*(np.zeros(size) for _ in Band._fields))
        self._turned = np.zeros(2, np.bool_)
        self.columns = Profiles(**self.arrays(), turned=self._turned)
        self._first_ms: int | None = None
        self._segment: _Segment | None = None

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All state, by name."""
        return {
            "day": self._day,
            "days": self._days,
            "week": self._week,
            "weeks": self._weeks,
            "speaks_ms": self._speaks_ms,
            "hour": self._hour,
            "hour_sum": self._sum,
            "hour_n": self._n,
        }

    def forget_derived(self) -> None:
        """Derives anew what follows from the state, which has been changed from outside."""
        self._segment = None
        known = self._speaks_ms[self._speaks_ms > 0]
        self._first_ms = int(known.min()) if len(known) else None

    def band(self, time_ms: int) -> Band:
        """As `SeasonalProfile.band`, of all series at one time."""
        if self._first_ms is None or time_ms < self._first_ms:
            return self._quiet
        segment = self._segment
        if segment is None or not 0 <= time_ms - segment.begins_ms < HOUR_MS:
            segment = self._segment = self._segment_of(time_ms)
        speaks = (self._speaks_ms > 0) & (self._speaks_ms <= time_ms)
        season = segment.start + segment.slope * (time_ms - segment.begins_ms)
        if speaks.all():
            return Band(season, segment.below, segment.above)
        return Band(*(np.where(speaks, one, 0.0) for one in (season, segment.below, segment.above)))

    def _segment_of(self, time_ms: int) -> _Segment:
        begins_ms = (time_ms - HOUR_MS // 2) // HOUR_MS * HOUR_MS + HOUR_MS // 2
        hour = begins_ms // HOUR_MS
        before, left, right, after = (self._expected(h) for h in range(hour - 1, hour + 3))
        near = np.array((before - left, right - left, left - right, after - right))
        below, above = np.minimum(near.min(0), 0.0), np.maximum(near.max(0), 0.0)
        whole = np.flatnonzero(self._weeks.min(0) >= BLOCK_HOURS)
        if len(whole):
            block = hour % HOURS // BLOCK_HOURS
            own = self._week_part(hour // HOURS % _WEEKDAYS, block)[whole]
            others = np.array([self._week_part(d, block)[whole] - own for d in range(_WEEKDAYS)])
            below[whole] += others.min(0)
            above[whole] += others.max(0)
        return _Segment(begins_ms, left, (right - left) / HOUR_MS, below, above)

    def _expected(self, hour: int) -> Floats:
        i = hour % HOURS
        days = self._days[i].astype(np.float64)
        value: Floats = self._day[i] * days / (days + SHRINKAGE)
        value += self._week_part(hour // HOURS % _WEEKDAYS, i // BLOCK_HOURS)
        return value

    def _week_part(self, weekday: int, block: int) -> Floats:
        at = weekday * BLOCKS + block
        weeks = self._weeks[at] / BLOCK_HOURS
        part: Floats = self._week[at] * weeks / (weeks + SHRINKAGE)
        return part

    def learnt(self, time_ms: int) -> None:
        """Derives anew what follows from the state, if samples of a time have turned it."""
        told, folded = self._turned
        if told:
            self._first_ms = min(self._first_ms or time_ms + DAY_MS, time_ms + DAY_MS)
        if folded:
            self._segment = None
        self._turned[:] = False

    def dump(self, series: int) -> State:
        """What `SeasonalProfile.dump` gives of one series."""
        bins = (self._day, self._days, self._week, self._weeks)
        known = bool(self._days[:, series].any())
        return [
            *(one[:, series].tolist() if known else [] for one in bins),
            *(one[series].item() for one in (self._speaks_ms, self._hour, self._sum, self._n)),
        ]

    def load(self, series: int, state: State) -> None:
        """Takes what `SeasonalProfile.dump` gives into one series."""
        day, days, week, weeks, *numbers = state
        self._day[:, series], self._days[:, series] = day or 0.0, days or 0
        self._week[:, series], self._weeks[:, series] = week or 0.0, weeks or 0
        self._speaks_ms[series], self._hour[series] = numbers[:2]
        self._sum[series], self._n[series] = numbers[2:]
        self.forget_derived()
