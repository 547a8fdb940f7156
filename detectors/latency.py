"""Durations of requests, in the service or on the way to it, against those that are usual."""

from bisect import bisect_left, bisect_right
from itertools import accumulate
from math import log
from typing import Literal

from detectors.base import Explanation, Sample, State
from detectors.bins import BIN_WIDTH, Bins, add, bin_value, coarse, quantile_bin, value_bin
from detectors.calibration import TailCalibrator
from detectors.tails import beta_binomial_score
from detectors.units import show, subject
from schemas.units import metric_of

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


class LatencyDetector:
    """Says how unlikely it is that so many of a window's requests took so long.

    The reference is the distribution of all durations seen while healthy. At its median and its
    90, 99 and 99.9 % quantiles (moved up to what would matter at all: `least_factor` times the
    median and `least_seconds` more) the window's requests beyond are counted and given a binomial
    tail, so few requests never make an anomaly of a quantile's noise, and the shape of the
    distribution does not matter. While it is of few requests, the share expected beyond three and
    ten times what has been seen at most is that of a power law through the tail as far as it is
    known: so then, too, what is far out shows. Requests of a window resemble each other; how much
    is learnt (the intra-class correlation of the share beyond the median), and makes the tail
    beta-binomial. The highest of these scores counts, less the price of looking several times.
    Evidence of neighbouring windows adds up, each step back counting seven tenths and all of them
    at most three times the window itself, so that a lasting slowness shows where requests are few
    and its end shows at once. `TailCalibrator` holds the sum to the series'
    own history.

    Cold start: silent until `least_windows` windows and `least_requests` requests have been seen.
    A suspicious window is learnt with a fifth of its weight, an anomalous one with a fiftieth;
    slowness that has lasted `adopt_after_ms` becomes the new reference. A reference that most
    windows since its beginning do not fit is none, however young: it may have been learnt amid an
    outage. So it is learnt anew when they were slow, for `distrust_after_ms` of windows in all, or
    when the last ones all took less than half of its 90 % quantile, for `quick_after_ms`.

    Parameters
    ----------
    least_windows, least_requests
        What must have been seen before it speaks.
    memory
        Requests that the reference is at most worth; older ones fade.
    least_factor, least_seconds
        Slower than the median by less than this is nobody's business.
    fast_factor
        Requests that mostly take less than the median by this factor do not do their work: what
        fails often fails fast. Looked at for durations only, not for the network's part.
    adopt_after_ms
        A lasting change is adopted after this long.
    distrust_after_ms, quick_after_ms
        Windows, laid end to end, after which a reference that does not fit them is given up, if
        they are more than all others.

    References
    ----------
    Hill, B. M. (1975). A simple general approach to inference about the tail of a distribution.
    Griffiths, D. A. (1973). Maximum likelihood estimation for the beta-binomial distribution and
    an application to the household distribution of the total number of cases of a disease.
    """

    __slots__ = (
        "_bins",
        "_count",
        "_end_ms",
        "_evidence",
        "_excess",
        "_fast",
        "_last",
        "_ordered",
        "_pairs",
        "_quick",
        "_quick_windows",
        "_raw",
        "_reference",
        "_score",
        "_slow_since",
        "_slow_windows",
        "_sorted",
        "_total",
        "_window",
        "_windows",
        "adopt_after_ms",
        "calibrator",
        "distrust_after_ms",
        "fast_factor",
        "least_factor",
        "least_requests",
        "least_seconds",
        "least_windows",
        "memory",
        "quick_after_ms",
    )

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

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        o = self._last.observation
        kind: Literal["network", "latency"] = (
            "network" if metric_of(o.series).startswith("network") else "latency"
        )
        ordered = sorted(self._reference.items())
        expected = bin_value(quantile_bin(ordered, self._total, 0.5))
        lower = bin_value(quantile_bin(ordered, self._total, 0.01))
        upper = bin_value(quantile_bin(ordered, self._total, 0.99))
        bins = coarse(o.sketch)
        window = sorted(bins.items())
        n = sum(bins.values())
        value = bin_value(quantile_bin(window, n, 0.5))
        high = bin_value(quantile_bin(window, n, 0.9))
        place = subject(o.series, o.service, o.instance, o.operation)
        if o.caller:
            place += f" called by {o.caller}"
        place = f"{place} is suspiciously fast: it" if self._fast else place
        reason = (
            f"{place} has a median of {show(value)} s and a 90 % quantile of {show(high)} s in "
            f"{n:,.0f} requests, expected a median of {show(expected)} s, mostly {show(lower)} to "
            f"{show(upper)} s"
        )
        return Explanation(kind, value, expected, lower, upper, reason, not self._fast or n >= 10)

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

    def load(self, state: State) -> None:
        (
            reference,
            self._total,
            self._windows,
            self._excess,
            self._pairs,
            self._evidence,
            self._end_ms,
            self._slow_since,
            self._slow_windows,
            self._quick_windows,
            calibrator,
        ) = state
        self._reference = dict(reference)
        self.calibrator.load(calibrator)
