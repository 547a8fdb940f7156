"""Whether a channel works, by what became of its last attempts.

Messages that have another way need not find out one by one, each by three attempts that may hang,
that a channel is dead. After a start it is found out anew. Pure: time is handed in.
"""

from schemas.incidents import FailureClass

TRIES = 3
"""Attempts in a row that fail before another way is taken, if there is one."""
PROBE_MS = 30_000
"""A channel that failed last so long ago is tried again, by whichever message is next."""


class Health:
    """Of one channel, Unix ms."""

    def __init__(self) -> None:
        self._failures = 0
        self._failed_ms = 0

    def worked(self) -> bool:
        """A message was taken; whether the channel counted as dead until now."""
        was_dead = self._failures >= TRIES
        self._failures = 0
        return was_dead

    def failed(self, failure: FailureClass, now_ms: int) -> None:
        """A message was not taken. A refusal is about the message, and a limit about our pace."""
        if failure in ("unreachable", "auth"):
            self._failures += 1
            self._failed_ms = now_ms

    def is_dead(self, now_ms: int) -> bool:
        """Whether it has failed time after time, and just now."""
        return self._failures >= TRIES and now_ms - self._failed_ms < PROBE_MS
