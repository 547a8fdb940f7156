"""Where a series has turned back by itself: collections of garbage, rotated logs, nightly jobs."""

from detectors.base import State
from schemas.times import DAY_MS

_REMEMBERED_MS = 7 * DAY_MS
_MOST = 16


class Resets:
    """Remembers the heights from which a rising series has fallen back, for a week.

    It has fallen back when half of a rise is lost again, and the rise was no trifle. What rises
    next is no news until it is above where it has turned before.
    """

    __slots__ = ("_falls", "_high", "_low", "_peaks")

    def __init__(self) -> None:
        self._low: float | None = None
        self._high = 0.0
        self._peaks: list[tuple[int, float]] = []
        self._falls: list[tuple[int, float]] = []

    def note(self, time_ms: int, value: float, trifle: float) -> None:
        """Takes the next value in; a rise of less than `trifle` is none."""
        if self._low is None or value < self._low:
            self._low = self._high = value
        elif value > self._high:
            self._high = value
        elif self._high - self._low >= trifle and (
            self._high - value >= 0.5 * (self._high - self._low)
        ):
            since_ms = time_ms - _REMEMBERED_MS
            kept = [(at, p) for at, p in self._peaks if p > self._high and at > since_ms]
            self._peaks = [*kept[-_MOST:], (time_ms, self._high)]
            self._falls = [*self._falls[-_MOST:], (time_ms, self._high - self._low)]
            self._low = self._high = value

    def teeth(self, since_ms: int) -> float:
        """The height of the teeth since then; a single fall is none, it may be the end of them."""
        rises = sorted(rise for at, rise in self._falls if at >= since_ms)
        return rises[-2] if len(rises) > 1 else 0.0

    def highest(self, time_ms: int) -> float | None:
        """The highest height from which it has fallen back within the last week."""
        return next((p for at, p in self._peaks if at > time_ms - _REMEMBERED_MS), None)

    def dump(self) -> State:
        """The heights, and the rise that is under way."""
        return [self._low, self._high, self._peaks, self._falls]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        self._low, self._high, peaks, falls = state
        self._peaks = [(at, peak) for at, peak in peaks]
        self._falls = [(at, rise) for at, rise in falls]
