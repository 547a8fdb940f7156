"""What a series usually does at this time of day and on this day of the week."""

from detectors.base import State
from schemas.times import DAY_MS


class SeasonalProfile:
    """Mean deviation from the level by time of day and by day of week, shrunk while history is
    short.

    A bin speaks with the weight days / (days + `shrinkage`): after one day the profile of the day
    says a third of what it saw, after a week four fifths. The week's part holds what is left over
    once the time of day is taken off, so workdays and weekends come apart after two weeks.

    Parameters
    ----------
    bins
        Buckets of the day.
    shrinkage
        Days of history at which a bin is believed by half.

    References
    ----------
    Holt, C. C. (1957). Forecasting seasonals and trends by exponentially weighted averages.
    """

    __slots__ = ("_day", "_last", "_seen", "_week", "_week_seen", "bins", "shrinkage")

    def __init__(self, bins: int = 24, shrinkage: float = 2.0) -> None:
        self.bins = bins
        self.shrinkage = shrinkage
        self._day: list[float] = []
        self._seen: list[int] = []
        self._last: list[int] = []
        self._week: list[float] = []
        self._week_seen: list[int] = []

    def at(self, time_ms: int) -> float:
        """The expected deviation from the level at this time; 0 before the second day."""
        if not self._day:
            return 0.0
        i = time_ms % DAY_MS * self.bins // DAY_MS
        seen = self._seen[i] - (1 if self._last[i] == time_ms // DAY_MS else 0)
        if seen <= 0:
            return 0.0
        value = self._day[i] * seen / (seen + self.shrinkage)
        d = (time_ms // DAY_MS + 3) % 7
        weeks = self._week_seen[d] / self.bins
        if weeks >= 1:
            value += self._week[d] * weeks / (weeks + self.shrinkage)
        return value

    def learn(self, time_ms: int, deviation: float) -> None:
        """Takes in the deviation from the level (season not taken off) of one healthy sample."""
        if not self._day:
            self._day, self._seen = [0.0] * self.bins, [0] * self.bins
            self._last = [-1] * self.bins
            self._week, self._week_seen = [0.0] * 7, [0] * 7
        day = time_ms // DAY_MS
        i = time_ms % DAY_MS * self.bins // DAY_MS
        d = (day + 3) % 7
        if self._last[i] != day:
            self._last[i] = day
            self._seen[i] = min(self._seen[i] + 1, 60)
            self._week_seen[d] = min(self._week_seen[d] + 1, 60 * self.bins)
        rate = max(0.02, 0.2 / self._seen[i])
        self._day[i] += rate * (deviation - self._day[i])
        self._week[d] += 0.005 * (deviation - self._day[i] - self._week[d])

    def dump(self) -> State:
        """The bins; empty before the first sample."""
        return [self._day, self._seen, self._last, self._week, self._week_seen]

    def load(self, state: State) -> None:
        """Takes the bins from `dump`."""
        self._day, self._seen, self._last, self._week, self._week_seen = (list(s) for s in state)
