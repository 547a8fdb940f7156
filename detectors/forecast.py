"""How long until a gauge reaches its limit, if it goes on as it does."""

import msgspec

from detectors.base import Explanation, Sample, State
from detectors.limits import Limit
from detectors.lines import LEAST_SCORE, Line, Lines
from detectors.trend import Trend
from detectors.units import show_in_unit, subject
from schemas.anomalies import Forecast
from schemas.times import DAY_MS, duration
from schemas.units import metric_of

_AT_LIMIT_SCORE = 30.0
_NEAR = 0.005
"""Part of the series' size that a value may be away from the limit and be at it."""
_POINTS = 3
"""So many points, a minute each, or samples in a row settle a question."""
_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_MOST_RELUCTANT = 6


class ForecastDetector:
    """Tells when a gauge that only fills up, or is only used up, will reach its limit.

    What it tells stands on a line that `Lines` believes, and its score is that of the line's slope:
    how unlikely that would be if there were no trend. A line must be believed three minutes in a
    row, twice as long with every forecast that was withdrawn within a day, since this series is one
    that comes and goes. Then less is asked of it, so that what was told does not flutter.

    A forecast that does not hold any more is withdrawn once, with the reason. At the limit this
    says `saturation`, for as long as `adopt_after_ms`; after that it is usual.

    Parameters
    ----------
    limit
        The limit; its side is learnt from the first sample if it is not known.
    horizon_ms
        How far ahead is told at most.
    """

    __slots__ = (
        "_at_limit_ms",
        "_at_limit_since",
        "_believed",
        "_fallen",
        "_last",
        "_lines",
        "_missed",
        "_side",
        "_told",
        "_withdrawals",
        "_withdrawn",
        "adopt_after_ms",
        "horizon_ms",
        "limit",
    )

    def __init__(
        self, limit: Limit, horizon_ms: int = DAY_MS, adopt_after_ms: int = DAY_MS
    ) -> None:
        self.limit = limit
        self.horizon_ms = horizon_ms
        self.adopt_after_ms = adopt_after_ms
        self._side = limit.side or 1
        self._lines = Lines(self._side * limit.value, horizon_ms)
        self._told: Line | None = None
        self._withdrawn: Forecast | None = None
        self._withdrawals: list[int] = []
        self._believed = 0
        self._missed = 0
        self._fallen = 0
        self._at_limit_since = 0
        self._at_limit_ms = 0
        self._last: Sample | None = None

    def score_one(self, x: Sample) -> float:
        self._last = x
        if self._is_news(x):
            return _AT_LIMIT_SCORE
        if self._withdrawn is not None:
            return LEAST_SCORE
        return 0.0 if self._told is None else max(self._told.score, LEAST_SCORE)

    def learn_one(self, x: Sample) -> None:
        self._withdrawn = None
        if not self._lines.first_ms and self.limit.side is None:
            self._side = 1 if x.observation.mean <= self.limit.value else -1
            self._lines.goal = self._side * self.limit.value
        if self._is_at_limit(x):
            self._at_limit_since = self._at_limit_since or x.start_ms
            self._at_limit_ms = x.end_ms
            self._told, self._believed = None, 0
        elif x.end_ms - self._at_limit_ms > _HOUR_MS:
            self._at_limit_since = 0
        if self._lines.add(x.start_ms, self._toward(x)) and not self._at_limit_since:
            self._decide(x)
        self._watch_fall(x)

    def _toward(self, x: Sample) -> float:
        """The sample's value nearest to the limit, so that it rises towards it."""
        o = x.observation
        return o.max if self._side > 0 else -o.min

    def _is_at_limit(self, x: Sample) -> bool:
        return self._toward(x) >= self._lines.goal - _NEAR * self._lines.size

    def _is_news(self, x: Sample) -> bool:
        """Whether it is at the limit, was away from it before, and has not been there for long."""
        since, first_ms = self._at_limit_since, self._lines.first_ms
        if not first_ms or not self._is_at_limit(x):
            return False
        if not since:
            return self._told is not None or x.start_ms - first_ms >= _HOUR_MS
        return since > first_ms and x.end_ms - since < self.adopt_after_ms

    def _decide(self, x: Sample) -> None:
        """Looks for the line to believe, each time that there is a new point."""
        line = self._lines.best(x.end_ms, self._toward(x), 1 if self._told is None else 2)
        if line is None:
            self._miss(x)
            return
        self._missed = 0
        self._believed += 1
        self._withdrawals = [at for at in self._withdrawals if at > x.end_ms - DAY_MS]
        wait = _POINTS << min(len(self._withdrawals), _MOST_RELUCTANT)
        if self._told is not None or self._believed >= wait:
            self._told = line

    def _miss(self, x: Sample) -> None:
        """No line is to be believed now; one that was told is given some time to come back."""
        self._believed = 0
        if self._told is None:
            return
        self._missed += 1
        if self._missed * _MINUTE_MS >= max(self._told.span_ms // 8, _POINTS * _MINUTE_MS):
            self._withdraw(x, self._told)

    def _watch_fall(self, x: Sample) -> None:
        """Withdraws at once what has fallen back, without waiting for the next line."""
        told = self._told
        if told is None or not self._lines.is_off(told, x.end_ms, self._toward(x)):
            self._fallen = 0
            return
        self._fallen += 1
        if self._fallen >= _POINTS:
            self._withdraw(x, told)

    def _withdraw(self, x: Sample, told: Line) -> None:
        if self._lines.has_fallen(told, x.end_ms, self._toward(x)):
            now = show_in_unit(x.observation.mean, metric_of(x.observation.series))
            reason = f"it has {'fallen' if self._side > 0 else 'risen'} to {now}"
        else:
            reason = f"it no longer {'rises' if self._side > 0 else 'falls'} like that"
        self._withdrawals.append(x.end_ms)
        last = self._forecast(told, x.end_ms)
        self._withdrawn = msgspec.structs.replace(last, withdrawn=reason)
        self._told, self._believed, self._missed, self._fallen = None, 0, 0, 0

    def _forecast(self, line: Line, now_ms: int) -> Forecast:
        expected, earliest, latest = line.trend.reaches(self._lines.goal, now_ms)
        return Forecast(
            limit=self.limit.value,
            reached_ms=now_ms + max(round(expected), 0),
            earliest_ms=now_ms + round(earliest),
            latest_ms=None if latest is None else now_ms + max(round(latest), 0),
        )

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        x, value, limit = self._last, self._last.observation.mean, self.limit.value
        low, high = sorted((value, limit))
        if self._is_news(x):
            return self._full(x)
        forecast, line = self._withdrawn, self._told
        if forecast is not None:
            reason = f"{self._what(x)}; it was to reach {self._in_unit(x, limit)} soon, but "
            reason += str(forecast.withdrawn)
            return Explanation("forecast", value, limit, low, high, reason, False, forecast)
        assert line is not None, "explain is asked only about what scores"
        forecast = self._forecast(line, x.end_ms)
        reason = f"{self._what(x)}; {self._course(x, line)}, so {self._arrival(x, forecast)}"
        return Explanation("forecast", value, limit, low, high, reason, True, forecast)

    def _full(self, x: Sample) -> Explanation:
        limit = self._in_unit(x, self.limit.value)
        low, high = sorted(self._side * bound for bound in self._lines.usual())
        return Explanation(
            "saturation",
            x.observation.mean,
            (low + high) / 2,
            low,
            high,
            f"{self._what(x)}, at its limit of {limit}; it was {self._in_unit(x, low)} to "
            f"{self._in_unit(x, high)} before",
            since_ms=self._at_limit_since or x.start_ms,
        )

    def _what(self, x: Sample) -> str:
        o = x.observation
        what = subject(o.series, o.service, o.instance, o.operation)
        return f"{what} is {self._in_unit(x, o.mean)}"

    def _in_unit(self, x: Sample, value: float) -> str:
        return show_in_unit(value, metric_of(x.observation.series))

    def _course(self, x: Sample, line: Line) -> str:
        """`it has risen by 5 % an hour over the last 6 h`."""
        hourly = self._in_unit(x, line.trend.slope * _HOUR_MS)
        way = "risen" if self._side > 0 else "fallen"
        return f"it has {way} by {hourly} an hour over the last {duration(line.span_ms)}"

    def _arrival(self, x: Sample, forecast: Forecast) -> str:
        """`it reaches 100 % in 4 h, with 80 % between 3 h 30 min and 5 h from now`."""
        expected, earliest = (
            duration(at - x.end_ms) for at in (forecast.reached_ms, forecast.earliest_ms)
        )
        bounds = f"not before {earliest} from now"
        if forecast.latest_ms is not None:
            bounds = f"between {earliest} and {duration(forecast.latest_ms - x.end_ms)} from now"
        return f"it reaches {self._in_unit(x, forecast.limit)} in {expected}, with 80 % {bounds}"

    def dump(self) -> State:
        told = self._told
        return [
            self._side,
            self._lines.dump(),
            None if told is None else [list(told.trend), *told[1:]],
            msgspec.to_builtins(self._withdrawn),
            self._withdrawals,
            self._believed,
            self._missed,
            self._fallen,
            self._at_limit_since,
            self._at_limit_ms,
        ]

    def load(self, state: State) -> None:
        self._side, lines, told, withdrawn, withdrawals, *counts = state
        self._lines.goal = self._side * self.limit.value
        self._lines.load(lines)
        self._told = None if told is None else Line(Trend(*told[0]), *told[1:])
        self._withdrawn = msgspec.convert(withdrawn, Forecast | None)
        self._withdrawals = list(withdrawals)
        self._believed, self._missed, self._fallen, *at_limit = counts
        self._at_limit_since, self._at_limit_ms = at_limit
