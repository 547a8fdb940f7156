"""Sends what the outbox holds: in order within a lane, each channel by itself."""

import asyncio
import sys
import time
import zlib
from collections.abc import Callable, Collection, Mapping

import structlog
from aiolimiter import AsyncLimiter
from sqlalchemy.exc import SQLAlchemyError

from schemas.incidents import FailureClass
from sinks.database import Database
from sinks.notifier import metrics, outbox
from sinks.notifier.channels.channel import Channel, Receipt, Refused, Retry
from sinks.notifier.outbox import Entry
from sinks.notifier.store import add_deliveries

FIRST_DELAY_MS = 1_000
LONGEST_DELAY_MS = 300_000
IDLE_SECONDS = 5.0
SEND_TIMEOUT_SECONDS = 30.0
STOP_SECONDS = 0.7
PACE_SECONDS = 0.1
TIDY_SECONDS = 1.0

log = structlog.get_logger("tocsin.notifier")


class Sender:
    """Delivers messages with durable retries.

    Each channel has a loop of its own, so that a receiver that hangs keeps only its own channel
    waiting. A crash between sending and noting it sends again under the same id.
    """

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Channel],
        *,
        now_ms: Callable[[], int],
        give_up_after_ms: int,
        on_delivery: Callable[[], None],
        send_timeout_seconds: float = SEND_TIMEOUT_SECONDS,
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._on_delivery = on_delivery
        self._give_up_after_ms = give_up_after_ms
        self._send_timeout_seconds = send_timeout_seconds
        self._loops = [_ChannelLoop(self, name, made) for name, made in channels.items()]
        self._channels = channels
        self._under_way: set[asyncio.Timeout] = set()
        self.is_stopping = False

    def wake(self) -> None:
        """Says that there is something new to send, or that time has passed."""
        for loop in self._loops:
            loop.wake.set()

    def stop(self) -> None:
        """Asks `run` to end: nothing new is begun, and what is under way has a moment to end."""
        self.is_stopping = True
        self.wake()
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._end_attempts)

    def _end_attempts(self) -> None:
        for attempt in self._under_way:
            attempt.reschedule(0)

    async def run(self) -> None:
        """Works until `stop` is called. Not to be cancelled: it may be in a transaction."""
        await self._fail_orphans()
        async with asyncio.TaskGroup() as group:
            for loop in self._loops:
                group.create_task(loop.run(), name=f"send over {loop.name}")

    async def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels.values():
            await channel.close()

    async def _fail_orphans(self) -> None:
        async with self._database.writing() as connection:
            for entry in await outbox.waiting_elsewhere(connection, list(self._channels)):
                detail = f"channel {entry.channel} is no longer configured"
                await outbox.mark_failed(connection, entry, detail)
                failed = entry.delivery(
                    "failed",
                    self._now_ms(),
                    attempt=entry.attempts + 1,
                    failure="refused",
                    detail=detail,
                )
                await add_deliveries(connection, [failed])
        self._on_delivery()

    async def attempt(self, name: str, channel: Channel, entry: Entry) -> None:
        """Sends once and notes what came of it, with its delivery record, in one transaction."""
        began = time.monotonic()
        try:
            receipt = await self._send(channel, entry)
        except Retry as retry:
            await self._failed(name, entry, retry)
        except Refused as refused:
            await self._ended(name, entry, refused.failure, refused.detail)
        except TimeoutError:
            await self._failed(name, entry, Retry("unreachable", "no answer in time"))
        except Exception as error:  # a mistake in a channel must not lose the message
            log.exception("channel failed", channel=name, message_id=entry.content.id)
            await self._failed(name, entry, Retry("unreachable", type(error).__name__))
        else:
            await self._sent(name, entry, receipt)
        metrics.notification_seconds.labels(name).observe(time.monotonic() - began)
        self._on_delivery()

    async def _send(self, channel: Channel, entry: Entry) -> Receipt:
        async with asyncio.timeout(self._send_timeout_seconds) as attempt:
            self._under_way.add(attempt)
            try:
                return await channel.send(entry.content)
            finally:
                self._under_way.discard(attempt)

    async def _sent(self, name: str, entry: Entry, receipt: Receipt) -> None:
        now_ms = self._now_ms()
        seconds = seconds_to_communicate(entry, now_ms)
        async with self._database.writing() as connection:
            await outbox.mark_sent(connection, entry, receipt.thread, now_ms)
            sent = entry.delivery(
                "sent",
                now_ms,
                attempt=entry.attempts + 1,
                detail=receipt.detail,
                seconds_to_communicate=seconds,
            )
            await add_deliveries(connection, [sent])
        metrics.notifications.labels(name, "sent").inc()
        if seconds is not None:
            metrics.time_to_communicate_seconds.labels(name).observe(seconds)

    async def _failed(self, name: str, entry: Entry, retry: Retry) -> None:
        now_ms = self._now_ms()
        next_ms = next_attempt_ms(entry, retry, now_ms, self._give_up_after_ms)
        if next_ms is None:
            await self._ended(name, entry, "gave_up", f"gave up; at last: {retry.detail}")
            return
        async with self._database.writing() as connection:
            await outbox.mark_waiting(connection, entry, next_ms, retry.detail)
            if retry.failure == "rate_limited":
                await outbox.pause_channel(connection, name, next_ms)
            failed = entry.delivery(
                "failed",
                now_ms,
                attempt=entry.attempts + 1,
                failure=retry.failure,
                detail=retry.detail,
            )
            await add_deliveries(connection, [failed])
        metrics.notifications.labels(name, retry.failure).inc()
        log.warning(
            "message not taken",
            channel=name,
            message_id=entry.content.id,
            failure=retry.failure,
            detail=retry.detail,
            next_attempt_ms=next_ms,
        )

    async def _ended(self, name: str, entry: Entry, failure: FailureClass, detail: str) -> None:
        async with self._database.writing() as connection:
            await outbox.mark_failed(connection, entry, detail)
            failed = entry.delivery(
                "failed",
                self._now_ms(),
                attempt=entry.attempts + 1,
                failure=failure,
                detail=detail,
            )
            await add_deliveries(connection, [failed])
        metrics.notifications.labels(name, failure).inc()
        log.error(
            "message failed",
            channel=name,
            message_id=entry.content.id,
            recipient=entry.content.recipient,
            failure=failure,
            detail=detail,
        )

    async def tidy(self, name: str, under_way: Collection[str]) -> None:
        """Measures a channel's backlog, and lets wait again what was left as being sent."""
        now_ms = self._now_ms()
        async with self._database.writing() as connection:
            await outbox.release(connection, name, under_way)
            count, oldest_ms = await outbox.backlog(connection, name)
        metrics.outbox_messages.labels(name).set(count)
        age_ms = 0 if oldest_ms is None else max(0, now_ms - oldest_ms)
        metrics.oldest_unsent_seconds.labels(name).set(age_ms / 1000)

    async def take_due(self, name: str, limit: int) -> tuple[list[Entry], float]:
        """What can be sent now over a channel, and the seconds until it is worth asking again."""
        now_ms = self._now_ms()
        async with self._database.writing() as connection:
            until_ms = await outbox.paused_until_ms(connection, name)
            if until_ms > now_ms:
                entries, next_ms = list[Entry](), until_ms
            else:
                entries = await outbox.claim_due(connection, name, now_ms, limit)
                next_ms = (
                    await outbox.next_attempt_ms_after(connection, name, now_ms) or sys.maxsize
                )
        return entries, min(IDLE_SECONDS, (next_ms - now_ms) / 1000)


class _ChannelLoop:
    """One channel's loop: takes what is due, at the channel's pace, a few at once."""

    def __init__(self, sender: Sender, name: str, channel: Channel) -> None:
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
            if time.monotonic() >= self._tidy_at:
                await self._sender.tidy(self.name, list(self._running))
                self._tidy_at = time.monotonic() + TIDY_SECONDS
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

    The delay doubles from one second to five minutes, spread by a tenth after the message's id so
    that many do not come at once, and is never shorter than the receiver asked for. There is one
    last attempt when the time is up.
    """
    deadline_ms = entry.asked_ms + give_up_after_ms
    if now_ms >= deadline_ms:
        return None
    delay_ms = min(LONGEST_DELAY_MS, FIRST_DELAY_MS << min(entry.attempts, 16))
    delay_ms += delay_ms * (zlib.crc32(entry.content.id.encode()) % 100) // 1000
    asked_ms = int((retry.after_seconds or 0) * 1000)
    if now_ms + asked_ms > deadline_ms:
        return None
    return min(deadline_ms, now_ms + max(delay_ms, asked_ms))


def seconds_to_communicate(entry: Entry, sent_ms: int) -> float | None:
    """From the first anomalous moment to the message that first tells a recipient.

    The part until the incident was opened is event time (`opened_ms` − `first_anomaly_ms`), the
    rest is wall time from the event's record on Kafka. None for messages that follow.
    """
    if entry.detection_delay_ms is None:
        return None
    return (entry.detection_delay_ms + max(0, sent_ms - entry.recorded_ms)) / 1000
