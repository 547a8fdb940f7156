"""Says in the log that records cannot be used: at once, and then no oftener than each minute."""

from collections.abc import Callable, Sequence
from typing import Final

from mode import get_logger

from schemas.events import DeadLetter

EVERY_SECONDS: Final = 60.0

logger = get_logger(__name__)


class BadRecords:
    """Counts bad records by topic and reason, and says of each how many there were meanwhile.

    Parameters
    ----------
    where
        The topic that the bad records go to.
    monotonic
        A clock, in seconds.
    """

    def __init__(self, where: str, monotonic: Callable[[], float]) -> None:
        self._where = where
        self._monotonic = monotonic
        self._said: dict[tuple[str, str], float] = {}
        self._unsaid: dict[tuple[str, str], int] = {}

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Takes these in, and says what it is time to say."""
        examples: dict[tuple[str, str], DeadLetter] = {}
        for letter in letters:
            about = (letter.topic, letter.reason)
            examples.setdefault(about, letter)
            self._unsaid[about] = self._unsaid.get(about, 0) + 1
        now = self._monotonic()
        for about, example in examples.items():
            if now - self._said.get(about, -EVERY_SECONDS) < EVERY_SECONDS:
                continue
            self._said[about] = now
            count = self._unsaid.pop(about)
            topic, reason = about
            logger.warning(
                "bad records in %s: %d (%s), sent on to %s; such as %s",
                *(topic, count, reason, self._where, example.message),
            )
