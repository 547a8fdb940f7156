"""Failed requests against the failures that are usual."""

from detectors.base import Explanation, Sample, State
from detectors.calibration import TailCalibrator
from detectors.tails import beta_binomial_score
from detectors.units import show, subject

_PRIOR_ERRORS = 0.5
_PRIOR_SUCCESSES = 99.5


class ErrorRatioDetector:
    """Says how unlikely so many failures in so many requests are, by an exact binomial tail.

    The base rate is learnt as a Beta distribution from a prior of half an error in a hundred
    requests. Failures come in clumps, so the base rate is never believed to be known better than
    from `strength` requests; the tail is that of the predictive beta-binomial, and is held to the
    series' own history by `TailCalibrator`. Ratios below `least_ratio` are never anomalies.

    Parameters
    ----------
    warmup_samples
        Windows before it speaks, or a tenth of that with at least 200 requests seen.
    strength
        How many requests the base rate is at most worth.
    memory
        Requests after which the older half counts half.
    least_ratio
        Smallest error ratio worth telling.
    """

    __slots__ = (
        "_errors",
        "_last",
        "_raw",
        "_requests",
        "_score",
        "_windows",
        "calibrator",
        "least_ratio",
        "memory",
        "strength",
        "warmup_samples",
    )

    def __init__(
        self,
        warmup_samples: int = 20,
        strength: float = 300.0,
        memory: float = 50_000.0,
        least_ratio: float = 0.005,
    ) -> None:
        self.warmup_samples = warmup_samples
        self.strength = strength
        self.memory = memory
        self.least_ratio = least_ratio
        self.calibrator = TailCalibrator()
        self._windows = 0
        self._requests = 0.0
        self._errors = 0.0
        self._last: Sample | None = None
        self._raw = 0.0
        self._score = 0.0

    def _rate(self) -> float:
        """The base rate: the mean of the Beta distribution."""
        return (self._errors + _PRIOR_ERRORS) / (self._requests + _PRIOR_ERRORS + _PRIOR_SUCCESSES)

    def _ready(self) -> bool:
        return self._windows >= self.warmup_samples or (
            self._windows * 10 >= self.warmup_samples and self._requests >= 200
        )

    def score_one(self, x: Sample) -> float:
        self._last = x
        self._raw = self._score = 0.0
        n, k = x.observation.count, x.observation.errors or 0
        if not k or not n or not self._ready():
            return 0.0
        rate = self._rate()
        if k / n <= max(rate, self.least_ratio):
            return 0.0
        strength = min(self._requests + _PRIOR_ERRORS + _PRIOR_SUCCESSES, self.strength)
        self._raw = beta_binomial_score(k, n, rate * strength, (1 - rate) * strength)
        self._score = self.calibrator.score(self._raw)
        return self._score

    def learn_one(self, x: Sample) -> None:
        if x.observation.errors is None:
            return
        self.calibrator.learn(self._raw)
        self._windows = min(self._windows + 1, 1_000_000)
        weight = 0.05 if self._score >= 4.0 else 1.0
        self._requests += weight * x.observation.count
        self._errors += weight * x.observation.errors
        if self._requests > self.memory:
            self._requests /= 2
            self._errors /= 2

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        o = self._last.observation
        errors, rate = o.errors or 0, self._rate()
        upper = min(1.0, rate + 4 * (rate * (1 - rate) / max(o.count, 1)) ** 0.5)
        at = subject("errors", o.service, o.instance, o.operation)
        reason = (
            f"{at}: {errors:,} of {o.count:,} requests failed ({show(100 * errors / o.count)} %), "
            f"expected up to {show(100 * upper)} %"
        )
        return Explanation("error_ratio", errors / o.count, rate, 0.0, upper, reason, errors >= 2)

    def dump(self) -> State:
        return [self._windows, self._requests, self._errors, self.calibrator.dump()]

    def load(self, state: State) -> None:
        self._windows, self._requests, self._errors, calibrator = state
        self.calibrator.load(calibrator)
