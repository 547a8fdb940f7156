"""Which of Kafka's failures pass by themselves, and waiting longer after each."""

import asyncio
import random

from aiokafka.errors import KafkaError, KafkaTimeoutError


def passes(error: KafkaError) -> bool:
    """Whether trying again can help: the broker is away, or moving, or slow."""
    return bool(error.retriable) or isinstance(error, KafkaTimeoutError)


class Backoff:
    """Doubles from `first_seconds` up to `longest_seconds`, each time shortened by up to half.

    The random part keeps processes that lost the same broker from coming back as one.
    """

    def __init__(self, first_seconds: float = 0.1, longest_seconds: float = 5) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._failures = 0

    def next_seconds(self) -> float:
        """How long to wait after one more failure."""
        longest = min(self._longest, self._first * 2.0**self._failures)
        self._failures = min(self._failures + 1, 32)
        return longest * random.uniform(0.5, 1)  # noqa: S311

    def reset(self) -> None:
        """After a success."""
        self._failures = 0

    async def sleep(self) -> None:
        """Waits for `next_seconds`."""
        await asyncio.sleep(self.next_seconds())
