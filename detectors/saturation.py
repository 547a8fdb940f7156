"""A resource near its limit: utilisation as a Beta variable, with a prior that needs no history."""

from detectors.base import Explanation, Sample, State
from detectors.calibration import TailCalibrator
from detectors.tails import beta_score
from detectors.units import show, subject
from schemas.units import metric_of, split_unit

_BUSY = ("usage", "utilization", "utilisation", "used")
"""Ends of names, but for the unit, of what has reached a limit at 1, or at 100 %; a `success_ratio`
is none of them."""
_BEYOND = 1.5
"""So far beyond, it is no limit: processors are counted one by one, or a quota may be exceeded."""

_PRIOR_MEAN = 1 / 7
_PRIOR_VARIANCE = 6 / (49 * 8)  # of Beta(1, 6)
_PRIOR_SAMPLES = 3.0
_LEAST_VARIANCE = 0.03**2


def is_utilisation(series: str) -> bool:
    """Whether a gauge is a utilisation, by the end of its name."""
    return full_of(series) > 0


def full_of(series: str) -> float:
    """What a utilisation shows at its limit, 1 or 100; 0 if the gauge is none."""
    name, unit = split_unit(metric_of(series))
    full = {"%": 1.0, "percent": 100.0}.get(unit, 0.0)
    return full if name.endswith(_BUSY) else 0.0


class SaturationDetector:
    """Says how unlikely it is that a utilisation, a ratio or in per cent, is this near its limit.

    Utilisation is taken as Beta distributed. Mean and variance are the series' own, weighed
    against a prior, Beta(1, 6), that is worth three samples: most resources idle most of the time.
    So a resource at its limit is told from the first sample on, and one that is always busy is
    soon known to be. Scores only values of at least `near_limit`; what happens below is the
    business of `SeasonalDetector`.

    Learning is robust: a sample counts as no further from the mean than three standard deviations,
    and one that is anomalous a fiftieth, until it has lasted `adopt_after_ms`.

    Parameters
    ----------
    near_limit
        Utilisation from which on there can be an anomaly.
    confirm_history
        Samples that must have been seen before the evidence counts as confirmed.
    memory
        Samples over which mean and variance forget.
    adopt_after_ms
        What has been near the limit for so long is learnt like anything else.
    """

    __slots__ = (
        "_last",
        "_mean",
        "_n",
        "_near_since",
        "_raw",
        "_score",
        "_variance",
        "adopt_after_ms",
        "calibrator",
        "confirm_history",
        "memory",
        "near_limit",
    )

    def __init__(
        self,
        *,
        near_limit: float = 0.75,
        confirm_history: int = 3,
        memory: int = 200,
        adopt_after_ms: int = 3_600_000,
    ) -> None:
        self.near_limit = near_limit
        self.confirm_history = confirm_history
        self.memory = memory
        self.adopt_after_ms = adopt_after_ms
        self.calibrator = TailCalibrator(outage_samples=2)
        self._n = 0
        self._mean = 0.0
        self._variance = 0.0
        self._near_since = 0
        self._last: Sample | None = None
        self._raw = 0.0
        self._score = 0.0

    def _moments(self) -> tuple[float, float]:
        """Mean and variance of the series' own history and the prior's samples put together."""
        n, w = float(min(self._n, self.memory)), _PRIOR_SAMPLES
        mean = (n * self._mean + w * _PRIOR_MEAN) / (n + w)
        within = (n * self._variance + w * _PRIOR_VARIANCE) / (n + w)
        between = n * w * (self._mean - _PRIOR_MEAN) ** 2 / (n + w) ** 2
        return mean, max(within + between, _LEAST_VARIANCE)

    def score_one(self, x: Sample) -> float:
        self._last = x
        value = _share(x)
        if not self.near_limit <= value <= _BEYOND:
            self._raw = self._score = 0.0
            return 0.0
        mean, variance = self._moments()
        mean = min(max(mean, 0.005), 0.995)
        self._raw = beta_score(min(value, 0.995), mean, variance)
        self._score = self.calibrator.score(self._raw)
        return self._score

    def learn_one(self, x: Sample) -> None:
        value = min(max(_share(x), 0.0), 1.0)
        self.calibrator.learn(self._raw)
        if self._score < 4.0:
            self._near_since = 0
        elif not self._near_since:
            self._near_since = x.start_ms
        adopted = self._near_since and x.end_ms - self._near_since >= self.adopt_after_ms
        self._n = min(self._n + 1, 1_000_000)
        rate = max(1.0 / self._n, 1.0 / self.memory)
        if self._score >= 4.0 and not adopted:
            rate *= 0.02
        deviation = value - self._mean
        if self._n > _PRIOR_SAMPLES and not adopted:
            reach = 3.0 * self._moments()[1] ** 0.5
            deviation = min(max(deviation, -reach), reach)
        self._mean += rate * deviation
        self._variance += rate * ((1 - rate) * deviation * deviation - self._variance)

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        o = self._last.observation
        mean, variance = self._moments()
        reach, full = 4 * variance**0.5, full_of(o.series) or 1.0
        lower, upper = max(mean - reach, 0.0), min(mean + reach, 1.0)
        reason = (
            f"{subject(o.series, o.service, o.instance, o.operation)} is {show(o.mean / full)} of "
            f"its limit, expected {show(lower)} to {show(upper)}"
        )
        return Explanation(
            "saturation",
            o.mean,
            full * mean,
            full * lower,
            full * upper,
            reason,
            self._n >= self.confirm_history,
        )

    def dump(self) -> State:
        return [self._n, self._mean, self._variance, self._near_since, self.calibrator.dump()]

    def load(self, state: State) -> None:
        self._n, self._mean, self._variance, self._near_since, calibrator = state
        self.calibrator.load(calibrator)


def _share(x: Sample) -> float:
    """The part of the limit that is used."""
    return x.observation.mean / (full_of(x.observation.series) or 1.0)
