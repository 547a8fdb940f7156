"""How long until a certificate (or a domain, a token, a licence) expires."""

from detectors.base import Explanation, Sample, State
from detectors.units import subject
from schemas.anomalies import Forecast
from schemas.times import DAY_MS, duration, stamp

_SCORE = 30.0
_WITHDRAWN_SCORE = 4.0
_ABSOLUTE_SECONDS = 6e8
"""What is more than nineteen years is no time left, but a date: seconds since 1970."""

_MOST_MS = 100 * 365 * DAY_MS
"""Nothing is further away than that; a date beyond the calendar could not be written."""


class ExpiryDetector:
    """Tells that something expires within `horizon_ms`, and when it has expired.

    A gauge of this kind holds the time left, or the date itself in Unix seconds; nothing has to be
    learnt of it. Several samples in a window (of several certificates) are as near as the nearest.

    Parameters
    ----------
    unit_ms
        Milliseconds in the gauge's unit.
    horizon_ms
        From when on it is told.
    """

    __slots__ = ("_last", "_told", "_withdrawn", "horizon_ms", "unit_ms")

    def __init__(self, unit_ms: float, horizon_ms: int = 14 * DAY_MS) -> None:
        self.unit_ms = unit_ms
        self.horizon_ms = horizon_ms
        self._told: int | None = None
        self._withdrawn: tuple[int, int] | None = None
        self._last: Sample | None = None

    def score_one(self, x: Sample) -> float:
        self._last = x
        if self._left_ms(x) <= self.horizon_ms:
            return _SCORE
        return 0.0 if self._withdrawn is None else _WITHDRAWN_SCORE

    def learn_one(self, x: Sample) -> None:
        left_ms = self._left_ms(x)
        self._withdrawn = None
        if left_ms <= self.horizon_ms:
            self._told = x.end_ms + left_ms
        elif self._told is not None:
            self._withdrawn, self._told = (self._told, x.end_ms + left_ms), None

    def _left_ms(self, x: Sample) -> int:
        """Milliseconds left at the end of the window; negative if it has expired."""
        value_ms = x.observation.min * self.unit_ms
        left_ms = value_ms - x.end_ms if value_ms > _ABSOLUTE_SECONDS * 1000 else value_ms
        return round(max(-_MOST_MS, min(_MOST_MS, left_ms)))

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        o, now_ms, left_ms = self._last.observation, self._last.end_ms, self._left_ms(self._last)
        what = subject(o.series, o.service, o.instance, o.operation)
        limit = (now_ms / self.unit_ms) if o.min != left_ms / self.unit_ms else 0.0
        if left_ms <= 0:
            reason = f"{what}: expired {duration(-left_ms)} ago"
            since_ms = now_ms + left_ms
            return Explanation("saturation", o.min, limit, limit, limit, reason, since_ms=since_ms)
        confirmed = left_ms <= self.horizon_ms
        if confirmed:
            at_ms, why = now_ms + left_ms, None
            reason = f"{what}: expires in {duration(left_ms)}, on {stamp(at_ms)} UTC"
        else:
            assert self._withdrawn is not None, "explain is asked only about what scores"
            at_ms, renewed_ms = self._withdrawn
            why = f"it was renewed and is valid until {stamp(renewed_ms)} UTC"
            reason = f"{what} was to expire on {stamp(at_ms)} UTC; {why}"
        forecast = Forecast(limit, at_ms, at_ms, at_ms, withdrawn=why)
        return Explanation("forecast", o.min, limit, limit, o.min, reason, confirmed, forecast)

    def dump(self) -> State:
        return [self._told, self._withdrawn]

    def load(self, state: State) -> None:
        self._told, withdrawn = state
        self._withdrawn = None if withdrawn is None else (withdrawn[0], withdrawn[1])
