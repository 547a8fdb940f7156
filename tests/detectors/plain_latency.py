"""`LatencyDetector` said plainly, one number after the other: what the compiled one is held to."""

from bisect import bisect_left, bisect_right
from itertools import accumulate
from math import ceil, exp, log, log1p

from detectors.base import Sample, State
from detectors.calibration import TailCalibrator
from detectors.tails import beta_binomial_score
from schemas.observations import Sketch
from schemas.units import metric_of

Bins = dict[int, float]

_COARSE = 5
"""Sketch bins of accuracy 1 % to a bin here."""
_ZERO = -1000
"""The bin of what is too short to measure."""


def coarse(sketch: Sketch | None) -> Bins:
    """The sketch's counts in the reference's wider bins."""
    if sketch is None:
        return {}
    bins: Bins = {}
    for index, count in sketch.bins.items():
        b = index // _COARSE
        if b in bins:
            bins[b] += count
        else:
            bins[b] = float(count)
    if sketch.zeros:
        bins[_ZERO] = float(sketch.zeros)
    return bins


def add(into: Bins, bins: Bins, weight: float) -> None:
    """Adds weighted counts in place, in the order of the bins."""
    for b, count in bins.items():
        into[b] = into.get(b, 0.0) + weight * count


def quantile_bin(ordered: list[tuple[int, float]], total: float, q: float) -> int:
    """The bin in which the quantile `q` lies."""
    rank, seen = q * total, 0.0
    for b, weight in ordered:
        seen += weight
        if seen >= rank:
            return b
    return ordered[-1][0] if ordered else _ZERO


_LOG_GAMMA = log1p(2 * 0.01 / (1 - 0.01))
BIN_WIDTH = _COARSE * _LOG_GAMMA
"""Logarithm of the ratio of neighbouring bins' values."""


def bin_value(b: int) -> float:
    """The middle of a reference bin, seconds; 0 for the bin of zeros."""
    return 0.0 if b == _ZERO else exp((b + 0.4) * _COARSE * _LOG_GAMMA)


def value_bin(seconds: float) -> int:
    """The reference bin in which a duration falls."""
    return _ZERO if seconds <= 1e-9 else ceil(log(seconds) / _LOG_GAMMA) // _COARSE


_ENDLESS = float("inf")
_CUTS = (0.5, 0.9, 0.99, 0.999)
_FAR = (3.0, 10.0)
"""So many times what has been seen at most."""
_MANY = 400.0
"""So many requests tell of their tail themselves."""
_LOG_CUTS = 0.477  # the price of looking several times, less since the answers resemble each other
_PRIOR_EXCESS, _PRIOR_EXCESSES = 0.5, 3.0
_CARRY = 0.7
_PRIOR_CORRELATION = 0.1
_PRIOR_PAIRS = 50.0


class PlainLatency:
    """Scores and learns as `LatencyDetector` does; parameters as of that."""

    def __init__(
        self,
        *,
        least_windows: int = 4,
        least_requests: int = 30,
        memory: float = 20_000.0,
        least_factor: float = 1.5,
        least_seconds: float = 0.02,
        fast_factor: float = 50.0,
        adopt_after_ms: int = 3_600_000,
        distrust_after_ms: int = 900_000,
        quick_after_ms: int = 300_000,
    ) -> None:
        self.least_windows = least_windows
        self.least_requests = least_requests
        self.memory = memory
        self.least_factor = least_factor
        self.least_seconds = least_seconds
        self.fast_factor = fast_factor
        self.adopt_after_ms = adopt_after_ms
        self.distrust_after_ms = distrust_after_ms
        self.quick_after_ms = quick_after_ms
        self.calibrator = TailCalibrator(outage_samples=3)
        self._reference: Bins = {}
        self._total = 0.0
        self._windows = 0
        self._excess = 0.0
        self._pairs = 0.0
        self._evidence = 0.0
        self._end_ms = 0
        self._slow_since = 0
        self._slow_windows = 0
        self._quick_windows = 0
        self._last: Sample | None = None
        # Of the last scored sample, since learning it needs the same again.
        self._bins: Bins = {}
        self._count = 0.0
        self._sorted: list[tuple[int, float]] = []
        self._ordered: list[tuple[int, float]] = []
        self._window = 0.0
        self._fast = False
        self._quick = False
        self._raw = 0.0
        self._score = 0.0

    def score_one(self, x: Sample) -> float:
        self._last = x
        self._raw = self._score = self._window = 0.0
        self._quick = False
        bins = self._bins = coarse(x.observation.sketch)
        self._count, self._ordered = sum(bins.values()), []
        if self._windows < self.least_windows or self._total < self.least_requests:
            return 0.0
        self._ordered, self._sorted = sorted(self._reference.items()), sorted(bins.items())
        middle = bin_value(quantile_bin(self._ordered, self._total, 0.5))
        slow, fast = self._tail(self._cuts(middle)), self._fast_tail(x, bins, middle)
        self._fast = fast > slow
        self._window = max(slow, fast)
        self._quick = self._is_quick()
        near = x.start_ms - self._end_ms <= 2 * (x.end_ms - x.start_ms)
        carried = _CARRY * self._evidence if near else 0.0
        self._raw = self._window + min(carried, 3.0 * self._window)
        self._score = self.calibrator.score(self._raw)
        return self._score

    def _cuts(self, middle: float) -> list[tuple[int, float]]:
        """(bin, probability of being beyond it) at each quantile of the reference."""
        floor = value_bin(max(middle * self.least_factor, middle + self.least_seconds))
        found: list[tuple[int, float]] = []
        bins, weights = [b for b, _ in self._ordered], [w for _, w in self._ordered]
        seen = list(accumulate(weights))
        for q in _CUTS:
            place = min(bisect_left(seen, q * self._total), len(bins) - 1)
            cut = max(bins[place], floor)
            beyond = sum(weights[bisect_right(bins, cut) :])
            found.append((cut, (beyond + 0.5) / (self._total + 1.0)))
        if self._total >= _MANY:
            return found
        top = max(bins[min(bisect_left(seen, self._total - 0.5), len(bins) - 1)], floor)
        excess = self._mean_excess(bins, weights, bins[bisect_left(seen, 0.9 * self._total)])
        for factor in _FAR:
            cut = top + round(log(factor) / BIN_WIDTH)
            beyond = sum(weights[bisect_right(bins, cut) :])
            unseen = 0.5 * factor ** (-1.0 / excess)
            found.append((cut, (beyond + unseen) / (self._total + 1.0)))
        return found

    def _mean_excess(self, bins: list[int], weights: list[float], edge: int) -> float:
        """Mean of log(duration / edge) above the edge: Hill's estimate of 1 / tail index."""
        above = bisect_right(bins, edge)
        weight = sum(weights[above:])
        total = sum(w * (b - edge) for b, w in zip(bins[above:], weights[above:], strict=True))
        prior = _PRIOR_EXCESSES * _PRIOR_EXCESS
        return (BIN_WIDTH * total + prior) / (weight + _PRIOR_EXCESSES)

    def _fast_tail(self, x: Sample, bins: Bins, middle: float) -> float:
        """Score of so many requests done in a fraction of the time: their work was not done."""
        if metric_of(x.observation.series).startswith("network"):
            return 0.0
        most = middle / self.fast_factor
        if middle - most < self.least_seconds:
            return 0.0
        cut = value_bin(most)
        k, n = sum(w for b, w in bins.items() if b < cut), self._count
        p = (sum(w for b, w in self._reference.items() if b < cut) + 0.5) / (self._total + 1.0)
        if k < 1 or k / n < max(0.5, 1.5 * p):
            return 0.0
        strength = self._strength()
        best = beta_binomial_score(k, n, p * strength, (1 - p) * strength)
        return max(0.0, best - _LOG_CUTS)

    def _is_quick(self) -> bool:
        """Whether nine in ten requests took less than half of what nine in ten usually take."""
        usual = bin_value(quantile_bin(self._ordered, self._total, 0.9))
        now = bin_value(quantile_bin(self._sorted, self._count, 0.9))
        return now < 0.5 * usual and usual - now >= self.least_seconds

    def _tail(self, cuts: list[tuple[int, float]]) -> float:
        # Counts are whole numbers, so what is beyond a cut is exactly what is not up to it.
        n, bins = self._count, [b for b, _ in self._sorted]
        upto = [0.0, *accumulate(w for _, w in self._sorted)]
        best, strength = 0.0, self._strength()
        for cut, p in cuts:
            k = n - upto[bisect_right(bins, cut)]
            if k > 0.5 and k / n > 1.5 * p:
                best = max(best, beta_binomial_score(k, n, p * strength, (1 - p) * strength))
        return max(0.0, best - _LOG_CUTS)

    def learn_one(self, x: Sample) -> None:
        if x is not self._last:
            self._bins, self._ordered = coarse(x.observation.sketch), []
            self._count = sum(self._bins.values())
        bins = self._bins
        anomalous = self._raw >= 3.0
        self.calibrator.learn(self._raw)
        self._evidence, self._end_ms = self._raw, x.end_ms
        if not anomalous:
            self._slow_since = 0
        elif not self._slow_since:
            self._slow_since = x.start_ms
        elif x.end_ms - self._slow_since >= self.adopt_after_ms:
            self._begin_anew()
            anomalous = False
        self._slow_windows += anomalous
        self._quick_windows = self._quick_windows + 1 if self._quick and not anomalous else 0
        if self._misfits(x.end_ms - x.start_ms):
            self._begin_anew()
            anomalous = False
        if self._windows >= self.least_windows and self._window < 1.5:
            self._learn_correlation(bins)
        self._windows = min(self._windows + 1, 1_000_000)
        weight = 0.02 if anomalous else 0.2 if self._window >= 1.5 else 1.0
        add(self._reference, bins, weight)
        self._total += weight * self._count
        if self._total > self.memory:
            self._fade()

    def _misfits(self, width_ms: int) -> bool:
        """Whether most windows since the reference's beginning say that it is not the usual."""
        slow, quick = self._slow_windows, self._quick_windows
        return (2 * slow > self._windows and slow * width_ms >= self.distrust_after_ms) or (
            2 * quick > self._windows and quick * width_ms >= self.quick_after_ms
        )

    def _begin_anew(self) -> None:
        self._reference, self._total, self._windows, self._slow_since = {}, 0.0, 0, 0
        self._ordered = []
        self._slow_windows = self._quick_windows = 0
        self._window = 0.0

    def _learn_correlation(self, bins: Bins) -> None:
        """Moment estimate of the correlation within a window, of the share beyond the median."""
        n = self._count
        ordered = self._ordered or sorted(self._reference.items())
        cut = quantile_bin(ordered, self._total, 0.5)
        beyond = bisect_right(ordered, (cut, _ENDLESS))
        p = (sum([w for _, w in ordered[beyond:]]) + 0.5) / (self._total + 1.0)
        if n < 2 or not 0.05 < p < 0.95:
            return
        share = sum([w for b, w in bins.items() if b > cut]) / n
        excess = (share - p) ** 2 * n / (p * (1 - p)) - 1.0
        self._excess = 0.998 * self._excess + min(excess, n - 1.0)
        self._pairs = 0.998 * self._pairs + n - 1.0

    def _strength(self) -> float:
        """How many requests a window is worth at most: 1 / correlation - 1."""
        excess = self._excess + _PRIOR_CORRELATION * _PRIOR_PAIRS
        correlation = excess / (self._pairs + _PRIOR_PAIRS)
        return 1.0 / min(max(correlation, 0.02), 0.5) - 1.0

    def _fade(self) -> None:
        self._reference = {b: w / 2 for b, w in self._reference.items() if w >= 0.02}
        self._total = sum(w for _, w in sorted(self._reference.items()))

    def dump(self) -> State:
        return [
            self._reference,
            self._total,
            self._windows,
            self._excess,
            self._pairs,
            self._evidence,
            self._end_ms,
            self._slow_since,
            self._slow_windows,
            self._quick_windows,
            self.calibrator.dump(),
        ]
