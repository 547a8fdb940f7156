"""What the wall clock says of quiet sources. Decides; does not act, and is given the time."""

from dataclasses import dataclass

NEVER_MS = -1
"""Watermark of a source from which nothing has come."""

PATIENCE, LEAST_PATIENCE_SECONDS = 1 / 3, 5.0
"""How long the broker may say nothing between two words for a quiet to go on: so much of the
time-out, but not so little that a slow broker would be taken for one that is away."""


@dataclass(slots=True)
class _Source:
    heard_seconds: float
    seen_seconds: float
    watermark_ms: int = NEVER_MS
    idle: bool = False
    advanced_ms: int | None = None


class IdleClock:
    """Tells which sources are idle, and how far event time has come in them.

    A source is idle when it has no lag and nothing has come from it for the time-out. It is not
    waited for from then on, so the windows that it has begun must be closed before that: a batch
    that came after the others had passed its window would be dropped. Beyond them its event time
    goes on only while all sources are idle. Times are in seconds of a monotonic clock that is
    passed in, and `seen_seconds` is when the broker said last that a source has no more: while it
    says nothing, no time passes for the source, and its quiet counts anew once the broker is back,
    since what was sent meanwhile may still be on its way.

    Parameters
    ----------
    timeout_seconds
        At least so long, and never less than it takes for a window to be closed.
    window_ms, lateness_ms
        The grid: event time advances only to moments at which a window can be closed.
    """

    def __init__(self, timeout_seconds: float, window_ms: int, lateness_ms: int) -> None:
        self.timeout_seconds = max(timeout_seconds, (window_ms + lateness_ms) / 1000)
        self._patience_seconds = max(self.timeout_seconds * PATIENCE, LEAST_PATIENCE_SECONDS)
        self.window_ms = window_ms
        self.lateness_ms = lateness_ms
        self._sources: dict[str, _Source] = {}

    def remove(self, source: str) -> None:
        """A source belongs to someone else now."""
        self._sources.pop(source, None)

    def heard(self, source: str, now_seconds: float) -> None:
        """Records came from the source, or it begins; its quiet counts from now."""
        self._sources[source] = _Source(now_seconds, now_seconds)

    def seen(self, source: str, seen_seconds: float) -> None:
        """The broker said then that a source has no more."""
        state = self._sources[source]
        if seen_seconds - state.seen_seconds > self._patience_seconds:
            self.heard(source, seen_seconds)
        else:
            state.seen_seconds = max(seen_seconds, state.seen_seconds)

    def newly_idle(self, source: str, watermark_ms: int, seen_seconds: float) -> bool:
        """Whether a source without lag has just become idle; True once."""
        state = self._sources[source]
        if state.idle or seen_seconds - state.heard_seconds < self.timeout_seconds:
            return False
        state.idle, state.watermark_ms = True, watermark_ms
        return True

    def advance_to_ms(self, source: str, seen_seconds: float) -> int | None:
        """How far the event time of an idle source has come, if a window can be closed by it."""
        state = self._sources[source]
        if state.watermark_ms < 0 or not state.idle:
            return None
        reached = state.watermark_ms + self.window_ms + self.lateness_ms  # closes what is begun
        if all(s.idle for s in self._sources.values()):
            reached = state.watermark_ms + round((seen_seconds - state.heard_seconds) * 1000)
        grid = (reached - self.lateness_ms) // self.window_ms * self.window_ms + self.lateness_ms
        if grid <= (state.advanced_ms or state.watermark_ms):
            return None
        state.advanced_ms = grid
        return grid
