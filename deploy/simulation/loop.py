"""An event loop without sockets, threads and waiting: time passes when there is nothing to do."""

import asyncio
import heapq
from asyncio import base_events
from typing import Any


class StuckError(Exception):
    """Everything waits for something that will never come."""


class _NoFiles:
    """In place of a selector: nothing ever comes from outside, and waiting moves the clock."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StuckError("nothing is to do and no time is waited for")
        self._loop.skip(timeout)
        return []


class VirtualLoop(base_events.BaseEventLoop):
    """asyncio's own scheduling on a clock that jumps to the next moment that is waited for.

    The same program therefore does the same steps in the same order every time, and an hour of
    waiting takes none. Raises `StuckError` out of the run where a real loop would wait for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._selector = _NoFiles(self)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._seconds

    def skip(self, seconds: float) -> None:
        """Lets time pass; exactly to the next moment that is waited for, if it is that near."""
        reached = self._seconds + seconds
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if scheduled and abs(scheduled[0].when() - reached) < self._clock_resolution:
            reached = scheduled[0].when()
        self._seconds = max(self._seconds, reached)

    def drop_timers(self) -> None:
        """Forgets every moment that is waited for."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        while scheduled:
            heapq.heappop(scheduled).cancel()

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no files."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""
