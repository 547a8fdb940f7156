"""One channel's loop, at the channel's pace, and when a failed attempt is made again."""

import asyncio
import zlib
from collections.abc import Collection
from typing import Protocol

import structlog
from aiolimiter import AsyncLimiter
from sqlalchemy.exc import SQLAlchemyError

from schemas.incidents import Severity
from sinks.notifier.channels.channel import Channel, Retry
from sinks.notifier.health import TRIES
from sinks.notifier.outbox import Entry

FIRST_DELAY_MS = 1_000
LONGEST_DELAY_MS: dict[Severity, int] = {"P1": 60_000, "P2": 60_000, "P3": 300_000, "P4": 300_000}
"""Who is paged is not left waiting for long after a receiver has come back."""
PACE_SECONDS = 0.1
TIDY_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
"""A receiver that wants to be left alone for longer is passed over, if there is another way."""

log = structlog.get_logger("tocsin.notifier")


class Attempts(Protocol):
    """What a loop needs of the sender."""

    is_stopping: bool

    async def attempt(self, name: str, channel: Channel, entry: Entry) -> None:
        """Sends once and notes what came of it."""

    async def tidy(self, name: str, under_way: Collection[str]) -> None:
        """Measures the backlog, and lets wait again what was left as being sent."""

    async def take_due(self, name: str, limit: int) -> tuple[list[Entry], float]:
        """What can be sent now, and the seconds until it is worth asking again."""


class ChannelLoop:
    """One channel's loop: takes what is due, at the channel's pace, a few at once."""

    def __init__(self, sender: Attempts, name: str, channel: Channel) -> None:
        self.name = name
        self.wake = asyncio.Event()
        self._sender = sender
        self._channel = channel
        self._limiter = AsyncLimiter(channel.messages, channel.per_seconds)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tidy_at = 0.0

    async def run(self) -> None:
        """Sends until the sender stops, then waits for what is under way."""
        while not self._sender.is_stopping:
            await self._step()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _step(self) -> None:
        self.wake.clear()
        limit = self._capacity()
        if limit == 0 and len(self._running) < self._channel.concurrency:
            await self._wait(PACE_SECONDS)
            return
        try:
            self._reap()
            now = asyncio.get_running_loop().time()
            if now >= self._tidy_at:
                await self._sender.tidy(self.name, list(self._running))
                self._tidy_at = now + TIDY_SECONDS
            entries, wait_seconds = await self._sender.take_due(self.name, limit)
        except (SQLAlchemyError, OSError):
            log.exception("the store does not answer", channel=self.name)
            self._tidy_at = 0.0
            entries, wait_seconds = [], 1.0
        for entry in entries:
            await self._limiter.acquire()  # there is room for it, so this does not wait
            self._running[entry.content.id] = asyncio.create_task(
                self._send(entry), name=f"sending {entry.content.id}"
            )
        await self._wait(wait_seconds)

    def _capacity(self) -> int:
        """How many messages may be begun now, by the channel's pace and concurrency."""
        free = self._channel.concurrency - sum(not task.done() for task in self._running.values())
        return next((n for n in range(free, 0, -1) if self._limiter.has_capacity(n)), 0)

    async def _send(self, entry: Entry) -> None:
        try:
            await self._sender.attempt(self.name, self._channel, entry)
        finally:
            self.wake.set()

    def _reap(self) -> None:
        for message_id, task in list(self._running.items()):
            if task.done():
                del self._running[message_id]
                task.result()

    async def _wait(self, seconds: float) -> None:
        if self._sender.is_stopping:
            return
        try:
            async with asyncio.timeout(max(0.01, seconds)):
                await self.wake.wait()
        except TimeoutError:
            return


def next_attempt_ms(entry: Entry, retry: Retry, now_ms: int, give_up_after_ms: int) -> int | None:
    """When to try again, None to give up.

    The delay doubles from one second to five minutes, or to one if it is severe, spread by a tenth
    after the message's id so that many do not come at once, and is never shorter than the receiver
    asked for. There is one last attempt when the time is up.
    """
    deadline_ms = entry.asked_ms + give_up_after_ms
    if now_ms >= deadline_ms:
        return None
    longest_ms = LONGEST_DELAY_MS[entry.content.severity]
    delay_ms = min(longest_ms, FIRST_DELAY_MS << min(entry.attempts, 16))
    delay_ms += delay_ms * (zlib.crc32(entry.content.id.encode()) % 100) // 1000
    asked_ms = int((retry.after_seconds or 0) * 1000)
    if now_ms + asked_ms > deadline_ms:
        return None
    return min(deadline_ms, now_ms + max(delay_ms, asked_ms))


def left_alone_until_ms(retry: Retry, now_ms: int) -> int:
    """Until when a receiver that sets us a limit hears nothing from us: as long as it asked."""
    return now_ms + max(FIRST_DELAY_MS, int((retry.after_seconds or 0) * 1000))


def passes_over(entry: Entry, retry: Retry, *, is_dead: bool = False) -> bool:
    """Whether a message had better go by its next way than wait for this one.

    A channel that has failed this message three times in a row, or all messages (`is_dead`), does
    not accept our credentials, or asks for more patience than a page has, is no way to go.
    """
    if not entry.content.ways:
        return False
    asks_for_patience = (retry.after_seconds or 0) > PATIENCE_SECONDS
    has_failed = is_dead or entry.attempts + 1 >= TRIES
    return has_failed or retry.failure == "auth" or asks_for_patience


def seconds_to_communicate(entry: Entry, sent_ms: int) -> float | None:
    """From the first anomalous moment to the message that first tells a recipient.

    The part until the incident was opened is event time (`opened_ms` − `first_anomaly_ms`), the
    rest is wall time from the event's record on Kafka. None for messages that follow.
    """
    if entry.detection_delay_ms is None:
        return None
    return (entry.detection_delay_ms + max(0, sent_ms - entry.recorded_ms)) / 1000
