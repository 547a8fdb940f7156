"""What a series usually does at this time of day and on this day of the week."""

from detectors.base import State
from schemas.times import DAY_MS

HOUR_MS = 3_600_000
HOURS = 24
BLOCKS = 12
"""Parts of a day of the week's profile: nights, mornings and evenings differ by day."""
BLOCK_HOURS = HOURS // BLOCKS
MOST_DAYS = 14
MOST_WEEKS = 6
SHRINKAGE = 2.0


Band = tuple[float, float, float]
"""The expected deviation from the level, and how far below (at most 0) and above it (at least 0)
would not be strange either."""

NO_BAND: Band = (0.0, 0.0, 0.0)


class SeasonalProfile:
    """Mean deviation from the level by hour of the day, and by weekday in blocks of two hours,
    shrunk while history is short.

    An hour speaks with the weight days / (days + `shrinkage`): after one day the profile says a
    third of what it saw, after a week four fifths. The week's part holds what is left over once
    the hour is taken off, and speaks after the first week. What an hour brought is folded in as
    one mean when the hour is over, so that frequent and rare samples teach alike, and one day
    weighs no more than a fourteenth in the end. Between the middles of hours it is interpolated.

    `band` tells besides what would not be strange: what the hours before and after expect, since
    clocks are changed and rushes begin early or late; and what any other day of the week expects
    at this time, since a holiday is like some other day.

    Parameters
    ----------
    shrinkage
        Days (or weeks) of history at which a bin is believed by half.

    References
    ----------
    Holt, C. C. (1957). Forecasting seasonals and trends by exponentially weighted averages.
    """

    __slots__ = (
        "_day",
        "_days",
        "_hour",
        "_n",
        "_segment",
        "_segment_ms",
        "_speaks_ms",
        "_sum",
        "_week",
        "_weeks",
        "shrinkage",
    )

    def __init__(self, shrinkage: float = SHRINKAGE) -> None:
        self.shrinkage = shrinkage
        self._day: list[float] = []
        self._days: list[int] = []
        self._week: list[float] = []
        self._weeks: list[int] = []
        self._speaks_ms = 0
        self._hour = -1
        self._sum = 0.0
        self._n = 0
        self._segment_ms = -HOUR_MS
        self._segment = (0.0, 0.0, 0.0, 0.0)

    def at(self, time_ms: int) -> float:
        """The expected deviation from the level at this time; 0 before the second day."""
        return self.band(time_ms)[0]

    def band(self, time_ms: int) -> Band:
        """The expected deviation, and how far below and above it would not be strange."""
        if time_ms < self._speaks_ms or not self._day:
            return NO_BAND
        into_ms = time_ms - self._segment_ms
        if not 0 <= into_ms < HOUR_MS:
            self._segment_ms = (time_ms - HOUR_MS // 2) // HOUR_MS * HOUR_MS + HOUR_MS // 2
            self._segment = self._segment_of(self._segment_ms // HOUR_MS)
            into_ms = time_ms - self._segment_ms
        start, slope, below, above = self._segment
        return start + slope * into_ms, below, above

    def learn(self, time_ms: int, deviation: float) -> None:
        """Takes in the deviation from the level (season not taken off) of one healthy sample."""
        hour = time_ms // HOUR_MS
        if hour != self._hour:
            self._speaks_ms = self._speaks_ms or time_ms + DAY_MS
            if self._n:
                self._fold(self._hour, self._sum / self._n)
            self._hour, self._sum, self._n = hour, 0.0, 0
        self._sum += deviation
        self._n += 1

    def _segment_of(self, hour: int) -> tuple[float, float, float, float]:
        """From the middle of an hour to that of the next: the start, the slope a millisecond, and
        how far below and above would not be strange."""
        before, left, right, after = (self._expected(h) for h in range(hour - 1, hour + 3))
        near = (0.0, before - left, right - left, left - right, after - right)
        below, above = min(near), max(near)
        if min(self._weeks) >= BLOCK_HOURS:
            block = hour % HOURS // BLOCK_HOURS
            own = self._week_part(hour // HOURS % 7, block)
            others = [self._week_part(d, block) - own for d in range(7)]
            below, above = below + min(others), above + max(others)
        return left, (right - left) / HOUR_MS, below, above

    def _expected(self, hour: int) -> float:
        i = hour % HOURS
        days = self._days[i]
        value = self._day[i] * days / (days + self.shrinkage)
        return value + self._week_part(hour // HOURS % 7, i // BLOCK_HOURS)

    def _week_part(self, weekday: int, block: int) -> float:
        at = weekday * BLOCKS + block
        weeks = self._weeks[at] / BLOCK_HOURS
        return self._week[at] * weeks / (weeks + self.shrinkage)

    def _fold(self, hour: int, deviation: float) -> None:
        """Learns the mean of an hour that is over."""
        if not self._day:
            self._day, self._days = [0.0] * HOURS, [0] * HOURS
            self._week, self._weeks = [0.0] * (7 * BLOCKS), [0] * (7 * BLOCKS)
        i = hour % HOURS
        at = hour // HOURS % 7 * BLOCKS + i // BLOCK_HOURS
        week = self._week_part(hour // HOURS % 7, i // BLOCK_HOURS)
        days = self._days[i] = min(self._days[i] + 1, MOST_DAYS)
        self._day[i] += (deviation - week - self._day[i]) / days
        if days > 1:
            weeks = self._weeks[at] = min(self._weeks[at] + 1, MOST_WEEKS * BLOCK_HOURS)
            rate = 1.0 / (weeks + BLOCK_HOURS)
            self._week[at] += rate * (deviation - self._day[i] - self._week[at])
        self._segment_ms = -HOUR_MS

    def dump(self) -> State:
        """The bins; empty before the first hour is over."""
        return [
            self._day,
            self._days,
            self._week,
            self._weeks,
            self._speaks_ms,
            self._hour,
            self._sum,
            self._n,
        ]

    def load(self, state: State) -> None:
        """Takes the bins from `dump`."""
        day, days, week, weeks, self._speaks_ms, self._hour, self._sum, self._n = state
        self._day, self._days = list(day), list(days)
        self._week, self._weeks = list(week), list(weeks)
        self._segment_ms = -HOUR_MS
