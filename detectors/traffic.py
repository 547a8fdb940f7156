"""Far fewer or far more requests than usual."""

from math import exp, log1p

from detectors.base import Explanation, Sample, State
from detectors.calibration import TailCalibrator
from detectors.profile import SeasonalProfile
from detectors.tails import gamma_poisson_scores
from detectors.units import show, subject


class TrafficDetector:
    """Says how unlikely a window's number of requests is, by a negative binomial tail.

    The rate follows an exponentially weighted mean with the profile of the time of day and week;
    the dispersion is learnt. It speaks only of a series that has reported in every window for
    `regular_ms`: where requests are seen in slices only, neither their coming nor their going
    means anything, and the first and the last window of a slice are cut. Evidence counts as
    confirmed after `confirm_samples` windows in a row, and only for too few requests of a whole
    service: more of them are no outage, and single operations come and go.

    Parameters
    ----------
    regular_ms
        Unbroken history before it speaks, milliseconds.
    memory
        Windows over which rate and dispersion forget.
    """

    __slots__ = (
        "_end",
        "_expected",
        "_last",
        "_mean",
        "_n",
        "_out",
        "_out_since",
        "_raw",
        "_score",
        "_since",
        "_variance",
        "adopt_after_ms",
        "calibrator",
        "confirm_samples",
        "memory",
        "profile",
        "regular_ms",
    )

    def __init__(
        self,
        regular_ms: int = 1_800_000,
        memory: int = 120,
        confirm_samples: int = 3,
        adopt_after_ms: int = 3_600_000,
    ) -> None:
        self.regular_ms = regular_ms
        self.memory = memory
        self.confirm_samples = confirm_samples
        self.adopt_after_ms = adopt_after_ms
        self.calibrator = TailCalibrator()
        self.profile = SeasonalProfile()
        self._since = 0
        self._end = 0
        self._n = 0
        self._mean = 0.0
        self._variance = 0.0
        self._out = 0
        self._out_since = 0
        self._last: Sample | None = None
        self._raw = 0.0
        self._score = 0.0
        self._expected = 0.0

    def score_one(self, x: Sample) -> float:
        self._last = x
        self._raw = self._score = 0.0
        self._expected = self._mean
        if self._end != x.start_ms or x.start_ms - self._since < self.regular_ms:
            return 0.0
        self._expected = self._mean * exp(self.profile.at(x.start_ms))
        count = float(x.observation.count)
        excess = max(self._variance - self._mean, 0.0)
        shape = min(self._mean * self._mean / excess, 1e4) if excess > 0 else 1e4
        more, fewer = gamma_poisson_scores(count, self._expected, max(shape, 0.05))
        self._raw = max(more, fewer)
        if abs(count - self._expected) < 0.5 * self._expected or self._raw < 1:
            self._raw = 0.0
        self._score = self.calibrator.score(self._raw)
        return self._score

    def learn_one(self, x: Sample) -> None:
        count = float(x.observation.count)
        if self._end != x.start_ms:
            self._since = x.start_ms
        self._end = x.end_ms
        self.calibrator.learn(self._raw)
        anomalous = self._score >= 4.0
        if not anomalous:
            self._out = 0
        else:
            if not self._out:
                self._out_since = x.start_ms
            self._out += 1
        adopted = self._out > 0 and x.end_ms - self._out_since >= self.adopt_after_ms
        self._n = min(self._n + 1, 1_000_000)
        rate = max(1.0 / self._n, 1.0 / self.memory)
        if anomalous and not adopted:
            rate *= 0.02
        deviation = count - self._expected if self._n > 1 else count
        self._mean += rate * (count - self._mean)
        self._variance += rate * ((1 - rate) * deviation * deviation - self._variance)
        if not anomalous:
            self.profile.learn(x.start_ms, log1p(count) - log1p(self._mean))

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        o = self._last.observation
        reach = 4 * max(self._variance, self._expected) ** 0.5
        lower, upper = max(0.0, self._expected - reach), self._expected + reach
        reason = (
            f"{subject('requests', o.service, o.instance, o.operation)}: {o.count:,} in the "
            f"window, expected {show(lower)} to {show(upper)}"
        )
        fewer = o.count < self._expected and o.operation is None and o.caller is None
        confirmed = fewer and self._out + 1 >= self.confirm_samples
        return Explanation(
            "traffic", float(o.count), self._expected, lower, upper, reason, confirmed
        )

    def dump(self) -> State:
        return [
            self._since,
            self._end,
            self._n,
            self._mean,
            self._variance,
            self._out,
            self._out_since,
            self.calibrator.dump(),
            self.profile.dump(),
        ]

    def load(self, state: State) -> None:
        (
            self._since,
            self._end,
            self._n,
            self._mean,
            self._variance,
            self._out,
            self._out_since,
            calibrator,
            profile,
        ) = state
        self.calibrator.load(calibrator)
        self.profile.load(profile)
