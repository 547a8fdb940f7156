"""The lines on which a series may reach a limit, at several time scales, and which to believe."""

from statistics import median
from typing import NamedTuple

from detectors.base import State
from detectors.ladder import Ladder, Scale
from detectors.resets import Resets
from detectors.trend import Trend, fit
from schemas.times import DAY_MS

TRIFLE = 0.02
"""Part of the series' size below which a change is none."""
LEAST_SCORE = 4.0
_AHEAD = 3
"""A line is followed so many times as far ahead as it was seen to hold."""
_GLANCE = 6
"""Points at either end by which a scale is looked at before a line is drawn."""
_OFF = 8.0
_CLOSE = 0.2
"""Of the limit left, from which on no day of history is waited for."""
_MOST = 1e100
"""Values beyond that are taken for it, so that their squares are numbers still."""
_HOUR_MS = 3_600_000


class Line(NamedTuple):
    """A line at one scale, for how long it was seen to hold, and the score of its slope."""

    trend: Trend
    scale: int
    span_ms: int
    score: float


class Lines:
    """Draws a robust line at each scale of a `Ladder` through values that rise towards `goal`.

    A line is believed if its slope is no chance, if it reaches the goal soon (within `horizon_ms`,
    and within three times the time for which it has held) with 90 %, if it has not slowed down to
    half, and if the series has been seen for longer: for a day at least, but for what fills up
    within the hour or is nearly full.

    Saws are not believed: what is below a height from which the series has fallen back by itself
    within a week is no news. That is judged at each scale and the coarser ones; teeth narrower
    than a scale's points are not seen there, and a line through their heights is believed.

    Parameters
    ----------
    goal
        The limit, such that values rise towards it.
    horizon_ms
        How far ahead is looked at most.
    """

    __slots__ = ("_ladder", "_resets", "_trends", "first_ms", "goal", "horizon_ms", "size")

    def __init__(self, goal: float, horizon_ms: int) -> None:
        self.goal = goal
        self.horizon_ms = horizon_ms
        self.size = abs(goal)
        self.first_ms = 0
        self._ladder = Ladder()
        self._resets = [Resets() for _ in self._ladder.scales]
        self._trends: list[Trend | None] = [None] * len(self._ladder.scales)

    def add(self, time_ms: int, value: float) -> bool:
        """Takes a value in; whether that made a new point, and so perhaps a new line."""
        self.first_ms = self.first_ms or time_ms
        value = max(-_MOST, min(_MOST, value))
        self.size = max(self.size, abs(value))
        grown = self._ladder.add(time_ms, value)
        for k in range(grown):
            scale = self._ladder.scales[k]
            self._resets[k].note(scale.times[-1], scale.values[-1], TRIFLE * self.size)
            self._trends[k] = self._draw(scale)
        return grown > 0

    def _draw(self, scale: Scale) -> Trend | None:
        """The line at one scale, if a glance says that it may lead to the goal soon."""
        values = scale.values
        if len(values) < 2 * _GLANCE:
            return None
        rise = (sum(values[-_GLANCE:]) - sum(values[:_GLANCE])) / _GLANCE
        needed = (self.goal - values[-1]) * scale.span_ms / (3 * self._ahead(scale))
        if rise < 0.7 * TRIFLE * self.size or rise < needed:
            return None
        return fit(scale.times, values, 0.002 * self.size)

    def _ahead(self, scale: Scale) -> int:
        return min(self.horizon_ms, _AHEAD * scale.span_ms)

    def best(self, now_ms: int, value: float, ease: int = 1) -> Line | None:
        """The line with the highest score that is believed; `ease` divides what is asked of it."""
        lines = [
            Line(trend, k, self._ladder.scales[k].span_ms, trend.score())
            for k, trend in enumerate(self._trends)
            if trend is not None
        ]
        believed = [line for line in lines if self._is_believed(line, now_ms, value, ease)]
        return max(believed, key=lambda line: line.score, default=None)

    def _is_believed(self, line: Line, now_ms: int, value: float, ease: int) -> bool:
        trend = line.trend
        # So written that what is no number, from values beyond all bounds, is not believed.
        is_rise = trend.slope * line.span_ms >= TRIFLE * self.size
        if not (line.score >= LEAST_SCORE / ease and is_rise and self._goes_on(line, ease)):
            return False
        if not self._is_known_for_long(line.span_ms, now_ms, value):
            return False
        if self.is_off(line, now_ms, value):
            return False
        ahead_ms = ease * self._ahead(self._ladder.scales[line.scale])
        expected_ms, _, latest_ms = trend.reaches(self.goal, now_ms)
        if latest_ms is None or expected_ms > ahead_ms or latest_ms > 1.5 * ahead_ms:
            return False
        height = min(trend.value(now_ms), self._ladder.recent(line.scale))
        margin = max(TRIFLE * self.size / 2, 3 * trend.scatter)
        turned = [resets.highest(now_ms) for resets in self._resets[line.scale :]]
        return all(peak is None or height > peak + margin for peak in turned)

    def _is_known_for_long(self, span_ms: int, now_ms: int, value: float) -> bool:
        """Whether the series has been seen for so long that the line is no part of its day."""
        seen_ms = now_ms - self.first_ms
        if seen_ms < span_ms + min(2 * span_ms, 2 * DAY_MS):
            return False
        is_close = self.goal - value < _CLOSE * self.size
        return seen_ms >= DAY_MS or span_ms < _HOUR_MS or is_close

    def is_off(self, line: Line, now_ms: int, value: float) -> bool:
        """Whether the series is well below a line; the teeth of a saw do not count."""
        return self._is_below(line.trend.value(now_ms), line, now_ms, value)

    def has_fallen(self, line: Line, now_ms: int, value: float) -> bool:
        """Whether the series is well below where the line had led it to already."""
        return self._is_below(line.trend.level, line, now_ms, value)

    def _is_below(self, height: float, line: Line, now_ms: int, value: float) -> bool:
        reach = max(_OFF * line.trend.scatter, 2.5 * TRIFLE * self.size)
        finer = self._resets[: line.scale]
        teeth = max((r.teeth(now_ms - line.span_ms) for r in finer), default=0.0)
        top = self._ladder.recent(line.scale) if teeth >= reach else value
        return top < height - reach or value < height - reach - teeth

    def _goes_on(self, line: Line, ease: int) -> bool:
        """Whether it has not slowed down to half, and the last points still rise, as far as their
        scatter lets one see."""
        if not line.trend.recent >= 0.5 / ease * line.trend.slope:
            return False
        times, values = self._ladder.scales[line.scale][1:]
        rise = median(values[-4:]) - median(values[-10:-6])
        expected = line.trend.slope * (times[-1] - times[-7])
        return rise >= 0.4 / ease * expected - line.trend.scatter

    def usual(self) -> tuple[float, float]:
        """Between which values the middle half of the points at the coarsest scale lies."""
        values = next((s.values for s in reversed(self._ladder.scales) if len(s.values) > 3), [0.0])
        ordered = sorted(values)
        return ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]

    def dump(self) -> State:
        """The points, the heights and the lines."""
        return [
            self.size,
            self.first_ms,
            self._ladder.dump(),
            [resets.dump() for resets in self._resets],
            [None if t is None else list(t) for t in self._trends],
        ]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        self.size, self.first_ms, ladder, resets, trends = state
        self._ladder.load(ladder)
        for one, dumped in zip(self._resets, resets, strict=True):
            one.load(dumped)
        self._trends = [None if t is None else Trend(*t) for t in trends]
