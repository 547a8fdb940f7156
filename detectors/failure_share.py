"""A share of requests that a service reports as succeeded or failed, judged by what fails."""

from math import asinh, cosh, sinh, sqrt
from statistics import median

from detectors.base import Explanation, Sample, State
from detectors.calibration import TailCalibrator
from detectors.shift import TO_SIGMA, LevelShift
from detectors.tails import student_score
from detectors.units import failing_side, show_in_unit, subject
from schemas.units import metric_of, split_unit

_TAIL_DEGREES = 16
_MATTERS = 0.02
"""The failing share that matters: below it looked at linearly, above it by its logarithm."""
_FLOOR = 0.25
_RELATIVE_FLOOR = 0.05
_CARRY = 0.5
_YOUNG = 5
"""Part of the history for confirmation after which a series that seldom fails is believed."""
_SELDOM = 8
"""One sample in so many, at most, fails in a series that seldom does."""


class FailureShareDetector:
    """Says how unlikely it is that so large a share of a service's requests fails.

    An availability that falls from 100 % to 97 % has hardly moved, but the share that fails has
    gone from nothing to what hurts; so it is the failing share that is held to its own level and
    scatter, whichever of the two the series reports. It is looked at through
    asinh(share / 2 %). That less fails than usual is no news.

    Evidence of neighbouring samples adds up, to no more than twice a sample's own: half of the
    first one's, since one burst may lie across two samples, and all of what three or more have. A
    run of failing samples is an outage and no noise of the series, so that the first outage does
    not hide the next; single ones are its noise, which `TailCalibrator` knows.

    Cold start: the median of the first `warmup_samples` is the level, so a short outage among them
    does no harm; they score 0. After that no sample moves the level by more than its step for 2.5
    scatters, an anomalous one by a tenth of that. What stays for `adopt_after_ms` is adopted.

    Parameters
    ----------
    warmup_samples
        Samples before it speaks.
    memory
        Samples over which the level forgets.
    confirm_samples, confirm_history
        So many failing samples in a row, after so many samples of history, before the evidence
        counts as confirmed: shares of few requests are wild, and that takes time to know. In a
        fifth of that history one more in a row will do, if hardly any sample had failed before:
        wild series show early that they are.
    adopt_after_ms
        A share that lasts is adopted after this long.
    """

    __slots__ = (
        "_evidence",
        "_expected",
        "_failed",
        "_last",
        "_level",
        "_n",
        "_raw",
        "_scatter",
        "_score",
        "_shift",
        "_spread",
        "_warmup",
        "_y",
        "calibrator",
        "confirm_history",
        "confirm_samples",
        "memory",
        "warmup_samples",
    )

    def __init__(
        self,
        *,
        warmup_samples: int = 20,
        memory: int = 100,
        confirm_samples: int = 2,
        confirm_history: int = 120,
        adopt_after_ms: int = 3_600_000,
    ) -> None:
        self.warmup_samples = warmup_samples
        self.memory = memory
        self.confirm_samples = confirm_samples
        self.confirm_history = confirm_history
        self.calibrator = TailCalibrator(cap=60.0, prior_excess=0.6, outage_samples=2)
        self._warmup: list[float] = []
        self._n = 0
        self._failed = 0
        self._level = 0.0
        self._scatter = 0.0
        self._shift = LevelShift(adopt_after_ms, memory)
        self._last: Sample | None = None
        self._y = 0.0
        self._raw = 0.0
        self._score = 0.0
        self._expected = 0.0
        self._spread = 0.0
        self._evidence = 0.0

    def score_one(self, x: Sample) -> float:
        self._last = x
        self._raw = self._score = 0.0
        self._y = y = asinh(failing_share(x) / _MATTERS)
        if not self._n:
            return 0.0
        self._expected = self._level
        floor = max(_FLOOR / cosh(y), _RELATIVE_FLOOR * min(max(y, 0.3), 1.0))
        self._spread = max(self._scatter, floor) * sqrt(1.0 + 2.0 / self._n)
        z = (y - self._expected) / self._spread
        if z < 2.0:
            return 0.0
        alone = student_score(z, _TAIL_DEGREES)
        carried = self._evidence if self._shift.out >= 2 else _CARRY * self._evidence
        self._raw = alone + min(carried, alone)
        self._score = self.calibrator.score(self._raw)
        return self._score

    def learn_one(self, x: Sample) -> None:
        if not self._n:
            self._warm_up(self._y)
            return
        self.calibrator.learn(self._raw)
        self._evidence = self._raw
        deviation = self._y - self._expected
        above = int(deviation > 4.0 * self._spread)
        self._failed = min(self._failed + above, 1_000_000)
        adopted = self._shift.note(x.start_ms, x.end_ms, self._y, above)
        if adopted is not None:
            self._level = adopted[0]
            return
        anomalous = self._score >= 4.0
        factor = 0.1 if anomalous else 1.0
        self._n = min(self._n + 1, 1_000_000)
        step = max(1.0 / self._n, 1.0 / self.memory) * factor
        self._level += step * max(-2.5 * self._spread, min(2.5 * self._spread, deviation))
        size = min(abs(deviation), 4.0 * self._spread)
        self._scatter += max(1.0 / self._n, 0.02) * factor * (TO_SIGMA * size - self._scatter)

    def _warm_up(self, y: float) -> None:
        self._warmup.append(y)
        if len(self._warmup) < self.warmup_samples:
            return
        ys, self._warmup = self._warmup, []
        self._level = median(ys)
        self._scatter = 1.4826 * median(abs(y - self._level) for y in ys)
        self._n = len(ys)
        most = self._level + 4.0 * max(self._scatter, _FLOOR)
        self._failed = sum(y > most for y in ys)

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        o = self._last.observation
        metric = metric_of(o.series)
        usual = min(_MATTERS * sinh(max(self._expected, 0.0)), 1.0)
        most = min(_MATTERS * sinh(max(self._expected + 4.0 * self._spread, 0.0)), 1.0)
        full = _full(metric)
        if failing_side(metric) < 0:
            expected, lower, upper = full * (1 - usual), full * (1 - most), full
            bound = f"at least {show_in_unit(lower, metric)}"
        else:
            expected, lower, upper = full * usual, 0.0, full * most
            bound = f"at most {show_in_unit(upper, metric)}"
        reason = (
            f"{subject(o.series, o.service, o.instance, o.operation)} is "
            f"{show_in_unit(o.mean, metric)}, expected {bound}"
        )
        confirmed = self._is_confirmed()
        return Explanation("error_ratio", o.mean, expected, lower, upper, reason, confirmed)

    def _is_confirmed(self) -> bool:
        before = self._shift.out
        if self._n >= self.confirm_history:
            return before + 1 >= self.confirm_samples
        seldom = _SELDOM * (self._failed - before) <= self._n
        old = _YOUNG * self._n >= self.confirm_history
        return old and seldom and before >= self.confirm_samples

    def dump(self) -> State:
        return [
            self._warmup,
            self._n,
            self._level,
            self._scatter,
            self._evidence,
            self._shift.dump(),
            self.calibrator.dump(),
            self._failed,
        ]

    def load(self, state: State) -> None:
        (
            warmup,
            self._n,
            self._level,
            self._scatter,
            self._evidence,
            shift,
            calibrator,
            self._failed,
        ) = state
        self._warmup = list(warmup)
        self._shift.load(shift)
        self.calibrator.load(calibrator)


def is_failure_share(series: str) -> bool:
    """Whether a gauge reports which share of requests succeeds or fails, by its name."""
    return failing_side(metric_of(series)) != 0


def failing_share(x: Sample) -> float:
    """The share that fails, 0 to 1, of a series that reports it or its counterpart."""
    metric = metric_of(x.observation.series)
    share = min(max(x.observation.mean / _full(metric), 0.0), 1.0)
    return 1.0 - share if failing_side(metric) < 0 else share


def _full(metric: str) -> float:
    """What the metric shows for all requests."""
    return 100.0 if split_unit(metric)[1] == "percent" else 1.0
