"""The recent past of a series at several time scales, each a few points wide."""

from collections.abc import Iterator
from typing import NamedTuple

from detectors.base import State

_MINUTE_MS = 60_000
_FACTOR = 4
_LEVELS = 5
_POINTS = 24


class Scale(NamedTuple):
    """The last points at one scale: the highest value of each span of `width_ms`."""

    width_ms: int
    times: list[int]
    values: list[float]

    @property
    def span_ms(self) -> int:
        """From the first point to the last."""
        return self.times[-1] - self.times[0] if self.times else 0


class Ladder:
    """Keeps the highest value of each minute, of each four, sixteen, sixty-four and 256 minutes.

    Twenty-four points a scale: from the last half hour to the last four days in 120 numbers. A
    point of one scale goes into the next coarser one when its time is over.
    """

    __slots__ = ("_open", "scales")

    def __init__(self) -> None:
        self.scales = [Scale(_MINUTE_MS * _FACTOR**k, [], []) for k in range(_LEVELS)]
        self._open: list[tuple[int, float] | None] = [None] * _LEVELS

    def add(self, time_ms: int, value: float) -> int:
        """Takes a value in; how many scales, from the finest, have a new point."""
        for k, scale in enumerate(self.scales):
            start_ms = time_ms // scale.width_ms * scale.width_ms
            now = self._open[k]
            if now is None or now[0] == start_ms:
                self._open[k] = (start_ms, value if now is None else max(value, now[1]))
                return k
            self._open[k] = (start_ms, value)
            _put(scale, now)
            time_ms, value = now
        return len(self.scales)

    def recent(self, k: int) -> float:
        """The highest value since the last point of a scale began."""
        still_open = [now[1] for now in self._open[: k + 1] if now is not None]
        return max(*still_open, *self.scales[k].values[-1:])

    def __iter__(self) -> Iterator[Scale]:
        return iter(self.scales)

    def dump(self) -> State:
        """The points of all scales."""
        return [[[s.times, s.values] for s in self.scales], self._open]

    def load(self, state: State) -> None:
        """Takes the points from `dump`."""
        points, still_open = state
        for scale, (times, values) in zip(self.scales, points, strict=True):
            scale.times[:], scale.values[:] = times, values
        self._open = [None if o is None else (o[0], o[1]) for o in still_open]


def _put(scale: Scale, point: tuple[int, float]) -> None:
    """Adds a point; drops what is too many, or too long ago to belong to one line."""
    times, values = scale.times, scale.values
    times.append(point[0] + scale.width_ms // 2)
    values.append(point[1])
    while len(times) > _POINTS or times[-1] - times[0] > 2 * _POINTS * scale.width_ms:
        del times[0], values[0]
