"""Whether this worker may still speak for its partitions: what its group said of it last.

A worker that stood still for longer than its session (a paused machine, a swapped-out process)
is replaced by another, and does not know it when it goes on. Kafka refuses its commits, but not
what it writes to topics. So nothing is written unless the group's coordinator has confirmed the
membership within the session.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from streams.shell.connection import WorkerError

POLL_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 45.0
"""How long a word of the coordinator is waited for; less than the watchdog waits."""


class LeaseLostError(Exception):
    """Another worker may have the partitions, and says what was not said of them."""


class Lease:
    """Renewed by every heartbeat that the coordinator answers, as of when it was sent.

    Parameters
    ----------
    seconds
        The session: the coordinator counts a member out when it has not heard of it for so long.
    clock
        Seconds that only go forward.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._renewed_at: float | None = None
        self._is_given_up = False

    def renew(self, at_seconds: float) -> None:
        """The coordinator has confirmed the membership as of then. From any thread."""
        self._renewed_at = max(at_seconds, self._renewed_at or at_seconds)
        self._is_given_up = False

    def give_up(self) -> None:
        """The partitions are being taken away: nobody needs to wait for a confirmation of them."""
        self._is_given_up = True

    def holds(self) -> bool:
        """Whether the coordinator surely still counts this worker in. True before the first word
        of it, when there is nothing to speak for."""
        if self._renewed_at is None:
            return True
        return self._clock() - self._renewed_at < self._seconds

    async def confirmed(self) -> None:
        """Returns at once while it holds, else when it is confirmed.

        Raises `LeaseLostError` if the partitions are taken away instead, and `WorkerError` if the
        coordinator says nothing for too long.
        """
        waiting_since = self._clock()
        while not self.holds():
            if self._is_given_up:
                raise LeaseLostError
            if self._clock() - waiting_since >= PATIENCE_SECONDS:
                raise WorkerError(
                    f"the group's coordinator has said nothing for {PATIENCE_SECONDS:g} s; what "
                    "was not acknowledged will be said after the restart"
                )
            await asyncio.sleep(POLL_SECONDS)
