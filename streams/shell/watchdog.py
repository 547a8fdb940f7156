"""Tells whether a worker still works."""

TURN_SECONDS = 30.0
PROGRESS_SECONDS = 60.0
RESTORE_SECONDS = 300.0


class Watchdog:
    """Not live when the event loop stands still, when there is lag and nothing moves, or when
    partitions and their state do not come.

    Times are in seconds of a monotonic clock that is passed in.
    """

    def __init__(self) -> None:
        self._turned_seconds: float | None = None
        self._progress_seconds: float | None = None
        self._waiting_seconds: float | None = None
        self._processed = -1

    def wait(self, now_seconds: float) -> None:
        """The loop has turned, and partitions or state are still waited for."""
        self._turned_seconds = now_seconds
        if self._waiting_seconds is None:
            self._waiting_seconds = now_seconds

    def turn(self, now_seconds: float, lag_records: int, processed_records: int) -> None:
        """The loop has turned; this much is left and so much has been done so far."""
        self._turned_seconds = now_seconds
        self._waiting_seconds = None
        if lag_records <= 0 or processed_records != self._processed:
            self._progress_seconds = now_seconds
        self._processed = processed_records

    def live(self, now_seconds: float) -> bool:
        """Whether to let the process go on. True until it has turned for the first time."""
        if self._turned_seconds is None:
            return True
        if now_seconds - self._turned_seconds >= TURN_SECONDS:
            return False
        if self._waiting_seconds is not None:
            return now_seconds - self._waiting_seconds < RESTORE_SECONDS
        return (
            self._progress_seconds is None
            or now_seconds - self._progress_seconds < PROGRESS_SECONDS
        )
