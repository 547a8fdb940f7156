"""A line through a series' recent past that outliers do not bend, and how sure it is."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from detectors.tails import student_score

_LEAST_POINTS = 12
_MAD_TO_SIGMA = 1.4826
_EFFICIENCY = 0.9
"""Of the least squares' precision, what Theil–Sen keeps on normal noise (Sen 1968)."""
_SURE = 1.2816
"""Standard deviations to either side that hold 80 % of a normal distribution."""


class Trend(NamedTuple):
    """A line `level + slope × (t - at)` with standard errors; times in ms, slopes a millisecond.

    `recent` is the slope of the last two thirds alone.
    """

    at: int
    level: float
    slope: float
    level_error: float
    slope_error: float
    scatter: float
    recent: float
    points: int

    def value(self, time_ms: int) -> float:
        """The line at a time."""
        return self.level + self.slope * (time_ms - self.at)

    def score(self) -> float:
        """-log10 of the probability of such a slope or more, either way, where there is none."""
        if self.slope_error <= 0:
            return 60.0
        return student_score(abs(self.slope) / self.slope_error, self.points - 2)

    def reaches(self, limit: float, from_ms: int) -> tuple[float, float, float | None]:
        """Milliseconds from a time until the line, rising, reaches a limit above it.

        The expected time, and the bounds that hold it with 80 %; the upper one is None if the line
        may as well never get there.
        """
        left = limit - self.value(from_ms)
        off = _SURE * self.level_error
        fast = max(self.slope, self.recent) + _SURE * self.slope_error
        slow = min(self.slope, self.recent) - _SURE * self.slope_error
        latest = (left + off) / slow if slow > 0 else None
        return left / self.slope, max(left - off, 0.0) / fast, latest


def fit(times: Sequence[int], values: Sequence[float], floor: float) -> Trend | None:
    """The Theil–Sen line: its slope is the median of those of all pairs of points.

    The scatter is taken to be at least `floor`. Residuals that go on from one point to the next
    tell less than independent ones; their number is discounted by their autocorrelation. What the
    thirds of the time disagree about the slope counts as error, too: the line may be none.

    References
    ----------
    Sen, P. K. (1968). Estimates of the regression coefficient based on Kendall's tau. JASA 63.
    """
    n = len(times)
    if n < _LEAST_POINTS:
        return None
    at = times[-1]
    t = np.array([time - at for time in times], dtype=np.float64)
    y = np.array(values, dtype=np.float64)
    first, second = np.triu_indices(n, 1)
    slope = float(np.median((y[second] - y[first]) / (t[second] - t[first])))
    level = float(np.median(y - slope * t))
    rest = y - slope * t - level
    scatter = max(_MAD_TO_SIGMA * float(np.median(np.abs(rest))), floor)
    bounded = np.clip(rest, -3 * scatter, 3 * scatter)
    power = float(bounded @ bounded)
    lag = float(bounded[1:] @ bounded[:-1]) / power if power > n * floor * floor / 4 else 0.0
    lag = min(max(lag, 0.0), 0.9)
    worth = sqrt((1 + lag) / (1 - lag) / _EFFICIENCY)
    middle = float(t.mean())
    spread = sqrt(float(((t - middle) ** 2).sum()))
    early, recent = _thirds(t, y)
    slope_error = max(scatter * worth / spread, abs(recent - early) / 4)
    level_error = sqrt((scatter * worth) ** 2 / n + (slope_error * middle) ** 2)
    return Trend(at, level, slope, level_error, slope_error, scatter, recent, n)


def _thirds(t: "np.ndarray", y: "np.ndarray") -> tuple[float, float]:
    """The slopes from the first third to the second, and from there to the last."""
    n = len(t)
    a, b = n // 3, n - n // 3
    points = [
        (float(np.median(t[part])), float(np.median(y[part])))
        for part in (slice(0, a), slice(a, b), slice(b, n))
    ]
    (t1, y1), (t2, y2), (t3, y3) = points
    return (y2 - y1) / (t2 - t1), (y3 - y2) / (t3 - t2)
