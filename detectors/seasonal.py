"""The default detector of a gauge: level, trend, season, robust scale and a calibrated tail."""

from math import sinh, sqrt
from statistics import median
from typing import Literal, NamedTuple

from detectors.base import Explanation, Sample, State
from detectors.calibration import FleetCalibrator, TailCalibrator
from detectors.profile import NO_BAND, SeasonalProfile
from detectors.shift import TO_SIGMA, LevelShift
from detectors.squash import squash
from detectors.tails import student_score
from detectors.units import (
    failing_side,
    is_work,
    show_in_unit,
    smallest_difference,
    subject,
)
from schemas.times import DAY_MS
from schemas.units import metric_of

TAIL_DEGREES = 16
INSIDE = 0.2
"""How much of a deviation moves the level where the season leaves it open what to expect."""
LEAST_SIZE = 1e-30
MOST_SIZES = 1e15
CARRY = 0.5
BASE_MS = 2 * DAY_MS
"""The season is what is left over the mean level of so long: the level itself follows the series
within hours, and would leave the season nothing to learn."""
_WORK_SCORE = 10.0
"""What counts bytes or system calls follows the load, so alone it must be this far out."""


class Parameters(NamedTuple):
    """What a `SeasonalDetector` is made with, but for its fleet."""

    warmup_samples: int = 20
    memory: int = 40
    relative_floor: float = 0.05
    confirm_samples: int = 3
    confirm_ms: int = 300_000
    confirm_history: int = 120
    adopt_after_ms: int = 3_600_000
    harmless_low: bool = False

    def learns_as(self, other: "Parameters") -> bool:
        """Whether detectors made with the two score and learn alike, whatever they confirm."""
        names = ("warmup_samples", "memory", "relative_floor", "adopt_after_ms")
        return all(getattr(self, name) == getattr(other, name) for name in names)


class SeasonalDetector:
    """Says how unlikely a gauge's sample is, given its level, trend, season and usual scatter.

    Values are looked at through asinh(value / size), where `size` is the series' usual magnitude
    but no less than the smallest difference that matters in its unit: linear for small values,
    logarithmic for large ones, fit for zero and for negative values. Expected is an
    exponentially weighted level plus a damped trend plus the profile of the time of day and week;
    the scatter is the weighted mean absolute deviation. Only what lies outside the profile's band
    (an hour early or late, or like another weekday) is strange; that, in scatters, is given a
    Student tail, which `TailCalibrator` then holds to the series' own history.

    Evidence of neighbouring samples on the same side adds up: half of what the one before had, and
    no more than the sample's own.

    Cold start: scores 0 for the first `warmup_samples`. Learning is robust: no sample moves the
    level by more than its step for 2.5 scatters, an anomalous one by a tenth of that, so an outage
    is not learnt as normal. What stays outside on the same side for `adopt_after_ms` is adopted as
    the new level (see `LevelShift`).

    Parameters
    ----------
    warmup_samples
        Samples before it speaks.
    memory
        Samples over which the level forgets.
    relative_floor
        Scatter is taken to be at least this part of the value.
    confirm_samples, confirm_ms, confirm_history
        So many samples in a row must be out, or two that last so long, after so many samples of
        history, before the evidence counts as confirmed.
    harmless_low
        Below the expected range is never confirmed: a resource that is used less is no outage.
    fleet
        The common history of raw scores of all series of the same metric.
    adopt_after_ms
        A lasting shift is adopted after this long.

    References
    ----------
    Gelper, S., Fried, R., Croux, C. (2010). Robust forecasting with exponential and Holt-Winters
    smoothing. Journal of Forecasting 29.
    """

    __slots__ = (
        "_band",
        "_base",
        "_end_ms",
        "_evidence",
        "_expected",
        "_is_back",
        "_last",
        "_level",
        "_matters",
        "_n",
        "_raw",
        "_scatter",
        "_score",
        "_shift",
        "_size",
        "_spread",
        "_trend",
        "_warmup",
        "_y",
        "_z",
        "adopt_after_ms",
        "calibrator",
        "confirm_history",
        "confirm_ms",
        "confirm_samples",
        "harmless_low",
        "memory",
        "profile",
        "relative_floor",
        "warmup_samples",
    )

    def __init__(
        self,
        *,
        warmup_samples: int = 20,
        memory: int = 40,
        relative_floor: float = 0.05,
        confirm_samples: int = 3,
        confirm_ms: int = 300_000,
        confirm_history: int = 120,
        adopt_after_ms: int = 3_600_000,
        harmless_low: bool = False,
        fleet: FleetCalibrator | None = None,
    ) -> None:
        self.warmup_samples = warmup_samples
        self.memory = memory
        self.relative_floor = relative_floor
        self.confirm_samples = confirm_samples
        self.confirm_ms = confirm_ms
        self.confirm_history = confirm_history
        self.harmless_low = harmless_low
        self.calibrator = TailCalibrator(cap=60.0, prior_excess=0.6, fleet=fleet)
        self.profile = SeasonalProfile()
        self._warmup: list[float] = []
        self._n = 0
        self._size = 1.0
        self._matters = 0.0
        self._level = 0.0
        self._trend = 0.0
        self._scatter = 0.0
        self._base = 0.0
        self._end_ms = 0
        self.adopt_after_ms = adopt_after_ms
        self._shift = LevelShift(adopt_after_ms, memory)
        self._is_back = False
        self._last: Sample | None = None
        self._raw = 0.0
        self._score = 0.0
        self._expected = 0.0
        self._spread = 0.0
        self._band = NO_BAND
        self._y = 0.0
        self._z = 0.0
        self._evidence = 0.0

    @property
    def parameters(self) -> Parameters:
        """What it was made with."""
        return Parameters(*(getattr(self, name) for name in Parameters._fields))

    def score_one(self, x: Sample) -> float:
        self._last = x
        if not self._n:
            self._score = self._raw = 0.0
            return 0.0
        sizes = max(-MOST_SIZES, min(MOST_SIZES, x.observation.mean / self._size))
        self._y = y = squash(sizes)
        season, below, above = self._band = self.profile.band(x.start_ms)
        self._expected = self._level + self._trend + season
        least = max(
            self.relative_floor * min(max(abs(y), 0.3), 1.0),
            self._matters / sqrt(sizes * sizes + 1.0),
        )
        self._spread = max(self._scatter, least) * sqrt(2.0 / self._n + 1.0)
        off = y - self._expected
        strange = off - above if off > above else off - below if off < below else 0.0
        self._z = z = strange / self._spread
        self._is_back = False
        if abs(z) < 2.0:
            self._raw = self._score = 0.0
            return 0.0
        if self._shift.is_back(x.start_ms, y - season, 4.0 * self._spread):
            self._is_back = True
            self._raw = self._score = 0.0
            return 0.0
        alone = student_score(abs(z), TAIL_DEGREES)
        before = self._evidence if z > 0 else -self._evidence
        self._raw = alone + min(CARRY * max(before, 0.0), alone)
        self._score = self.calibrator.score(self._raw)
        return self._score

    def learn_one(self, x: Sample) -> None:
        if not self._n:
            self._warm_up(x, x.observation.mean)
            return
        y = self._y
        self.calibrator.learn(self._raw)
        deviation = y - self._expected
        self._evidence = self._raw if deviation > 0 else -self._raw
        if (abs(self._z) > 2.0 or self._shift.out) and self._note_shift(x, y):
            return
        anomalous = self._score >= 4.0
        step = max(1.0 / (self._n + 1), 1.0 / self.memory) * (0.1 if anomalous else 1.0)
        clipped = max(-2.5 * self._spread, min(2.5 * self._spread, deviation))
        strange = self._z * self._spread
        shift = strange + INSIDE * (deviation - strange)
        shift = max(-2.5 * self._spread, min(2.5 * self._spread, shift))
        self._n = min(self._n + 1, 1_000_000)
        self._level += self._trend + step * shift
        self._trend = 0.98 * (self._trend + 0.02 * step * shift)
        size = min(max(abs(strange), 0.5 * abs(deviation)), 4.0 * self._spread)
        rate = max(1.0 / (self._n + 1), 0.02) * (0.1 if anomalous else 1.0)
        self._scatter += rate * (TO_SIGMA * size - self._scatter)
        passed = min((x.end_ms - self._end_ms) / BASE_MS, 0.1)
        self._end_ms = x.end_ms
        self._base += passed * (self._level - self._base)
        if not anomalous:
            self.profile.learn(x.start_ms, clipped + self._expected - self._base)

    def _warm_up(self, x: Sample, value: float) -> None:
        self._warmup.append(value)
        if len(self._warmup) < self.warmup_samples:
            return
        values, self._warmup = self._warmup, []
        matters = smallest_difference(metric_of(x.observation.series))
        highest = max(abs(v) for v in values)
        magnitude = max(median(abs(v) for v in values), 1e-6 * highest)
        self._size = max(magnitude, matters, LEAST_SIZE) if magnitude or matters else 1.0
        self._matters = 0.25 * matters / self._size
        ys = [squash(max(-MOST_SIZES, min(MOST_SIZES, v / self._size))) for v in values]
        self._level = median(ys)
        off = 0.0
        for y in ys:
            off += abs(y - self._level)
        self._scatter = TO_SIGMA * off / len(ys)
        self._n = len(values)
        self._base, self._end_ms = self._level, x.end_ms

    def _note_shift(self, x: Sample, y: float) -> bool:
        """Whether a level that has lasted becomes the level with this sample."""
        season, z = self._band[0], self._z
        if self._is_back:
            former = self._shift.back()
            if former is not None:
                self._move(former)
            return former is not None
        side = 1 if z > 4.0 else -1 if z < -4.0 else 0
        new = self._shift.note(x.start_ms, x.end_ms, y, side)
        if new is None:
            return False
        self._shift.adopted(x.end_ms, self._level)
        self._move(new[0] - season)
        self._scatter = max(self._scatter, new[1])
        return True

    def _move(self, level: float) -> None:
        self._base += level - self._level
        self._level, self._trend = level, 0.0

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        o = self._last.observation
        metric = metric_of(o.series)
        reach = 4.0 * self._spread
        _, below, above = self._band
        expected, lower, upper = (
            self._size * sinh(self._expected + v) for v in (0.0, below - reach, above + reach)
        )
        value = o.mean
        lower, upper = held_to_history(lower, upper, value, o.min)
        reason = (
            f"{subject(o.series, o.service, o.instance, o.operation)} is "
            f"{show_in_unit(value, metric)}, expected {show_in_unit(lower, metric)} to "
            f"{show_in_unit(upper, metric)}"
        )
        side, failing = 1 if value > expected else -1, failing_side(metric)
        run = self._shift.out * side + 1
        lasts = run >= self.confirm_samples or (
            run >= 2 and self._last.end_ms - self._shift.since_ms >= self.confirm_ms
        )
        confirmed = (
            lasts
            and self._n >= self.confirm_history
            and not (self.harmless_low and side < 0)
            and side != -failing
            and not (is_work(metric) and self._score < _WORK_SCORE)
        )
        kind: Literal["error_ratio", "level"] = "error_ratio" if side == failing else "level"
        return Explanation(kind, value, expected, lower, upper, reason, confirmed)

    def dump(self) -> State:
        return [
            self._warmup,
            self._n,
            self._size,
            self._matters,
            self._level,
            self._trend,
            self._scatter,
            self._evidence,
            self._base,
            self._end_ms,
            self._shift.dump(),
            self.calibrator.dump(),
            self.profile.dump(),
        ]

    def load(self, state: State) -> None:
        (
            warmup,
            self._n,
            self._size,
            self._matters,
            self._level,
            self._trend,
            self._scatter,
            self._evidence,
            self._base,
            self._end_ms,
            shift,
            calibrator,
            profile,
        ) = state
        self._warmup = list(warmup)
        self._shift.load(shift)
        self.calibrator.load(calibrator)
        self.profile.load(profile)


def held_to_history(lower: float, upper: float, value: float, low: float) -> tuple[float, float]:
    """Bounds without a negative lower end for a series that is not negative."""
    return (max(lower, 0.0) if value >= 0 and low >= 0 else lower), upper
