"""Tells whether a worker still works."""

TURN_SECONDS = 30.0
PROGRESS_SECONDS = 60.0


class Watchdog:
    """Not live when the event loop stands still, or when there is lag and nothing moves.

    Times are in seconds of a monotonic clock that is passed in.
    """

    def __init__(self) -> None:
        self._turned_seconds: float | None = None
        self._progress_seconds: float | None = None
        self._processed = -1

    def turn(self, now_seconds: float, lag_records: int, processed_records: int) -> None:
        """The loop has turned; this much is left and so much has been done so far."""
        self._turned_seconds = now_seconds
        if lag_records <= 0 or processed_records != self._processed:
            self._progress_seconds = now_seconds
        self._processed = processed_records

    def live(self, now_seconds: float) -> bool:
        """Whether to let the process go on. True until it has turned for the first time."""
        if self._turned_seconds is None or self._progress_seconds is None:
            return True
        return (
            now_seconds - self._turned_seconds < TURN_SECONDS
            and now_seconds - self._progress_seconds < PROGRESS_SECONDS
        )
