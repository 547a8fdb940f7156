"""Sends what the outbox holds: in order within a lane, each channel by itself."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.incidents import Delivery, FailureClass
from sinks.database import Database
from sinks.notifier import dispatch, holding, metrics, outbox
from sinks.notifier.channels.channel import Channel, KeepsCard, Receipt, Refused, Retry
from sinks.notifier.clean import clean
from sinks.notifier.health import Health
from sinks.notifier.language import language
from sinks.notifier.outbox import Entry
from sinks.notifier.pacing import (
    PATIENCE_SECONDS,
    ChannelLoop,
    left_alone_until_ms,
    next_attempt_ms,
    passes_over,
    seconds_to_communicate,
)
from sinks.notifier.store import add_deliveries
from sinks.redaction import redact_text

IDLE_SECONDS = 5.0
SEND_TIMEOUT_SECONDS = 30.0
STOP_SECONDS = 0.7
PASSED_AT_ONCE = 100
"""Messages that go another way in one transaction."""

log = structlog.get_logger("tocsin.notifier")


class Sender:
    """Delivers messages with durable retries.

    Each channel has a loop of its own, so that a receiver that hangs keeps only its own channel
    waiting. A crash between sending and noting it sends again under the same id. What has another
    way does not wait for a channel that is dead or wants to be left alone for long.
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
        self._loops = [ChannelLoop(self, name, made) for name, made in channels.items()]
        self._channels = channels
        self._health = {name: Health() for name in channels}
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
            for entry in await dispatch.waiting_elsewhere(connection, list(self._channels)):
                detail = f"channel {entry.channel} is no longer configured"
                await self._end(connection, entry, "refused", detail)
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
            self._on_delivery()
            await self._bring_up_to_date(channel, entry, receipt)
        metrics.notification_seconds.labels(name).observe(time.monotonic() - began)
        self._on_delivery()

    async def _send(self, channel: Channel, entry: Entry) -> Receipt:
        async with self._bounded():
            return await channel.send(entry.content)

    async def _bring_up_to_date(self, channel: Channel, entry: Entry, receipt: Receipt) -> None:
        if not isinstance(channel, KeepsCard) or self.is_stopping:
            return
        try:
            async with self._bounded():
                await channel.bring_up_to_date(entry.content, receipt)
        except Exception as error:  # the message has arrived, whatever comes of this
            log.warning("card not edited", message_id=entry.content.id, error=type(error).__name__)

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """What is asked of a receiver has an end, and a nearer one when we stop."""
        async with asyncio.timeout(self._send_timeout_seconds) as attempt:
            self._under_way.add(attempt)
            try:
                yield
            finally:
                self._under_way.discard(attempt)

    async def _sent(self, name: str, entry: Entry, receipt: Receipt) -> None:
        now_ms = self._now_ms()
        seconds = seconds_to_communicate(entry, now_ms)
        async with self._database.writing() as connection:
            await dispatch.mark_sent(connection, entry, receipt.thread, now_ms)
            if self._health[name].worked():
                await dispatch.hurry(connection, name, now_ms)
            sent = entry.delivery(
                "sent",
                now_ms,
                attempt=entry.attempts + 1,
                detail=redact_text(receipt.detail),
                seconds_to_communicate=seconds,
            )
            await add_deliveries(connection, [sent, *_accepted(entry, receipt, now_ms)])
        metrics.notifications.labels(name, "sent").inc()
        if seconds is not None and not entry.content.drill:
            told = metrics.time_to_communicate_seconds.labels(name, entry.content.audience)
            told.observe(seconds)

    async def _failed(self, name: str, entry: Entry, retry: Retry) -> None:
        now_ms = self._now_ms()
        self._health[name].failed(retry.failure, now_ms)
        if retry.failure == "rate_limited":
            async with self._database.writing() as connection:
                until_ms = left_alone_until_ms(retry, now_ms)
                await dispatch.pause_channel(connection, name, until_ms)
        if passes_over(entry, retry, is_dead=self._health[name].is_dead(now_ms)):
            await self._ended(name, entry, retry.failure, retry.detail)
            return
        next_ms = next_attempt_ms(entry, retry, now_ms, self._give_up_after_ms)
        if next_ms is None:
            await self._ended(name, entry, "gave_up", f"gave up; at last: {retry.detail}")
            return
        async with self._database.writing() as connection:
            unsure = retry.failure == "unreachable"
            await dispatch.mark_waiting(
                connection, entry, next_ms, retry.detail, may_have_arrived=unsure
            )
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
        """This way is at its end: the message goes by the next one, or has failed."""
        async with self._database.writing() as connection:
            await self._end(connection, entry, failure, detail)
        metrics.notifications.labels(name, failure).inc()
        self.wake()
        log.error(
            "message failed",
            channel=name,
            message_id=entry.content.id,
            recipient=entry.content.recipient,
            failure=failure,
            detail=detail,
        )

    async def _end(
        self,
        connection: AsyncConnection,
        entry: Entry,
        failure: FailureClass,
        detail: str,
        *,
        was_tried: bool = True,
    ) -> None:
        now_ms, attempt = self._now_ms(), entry.attempts + was_tried
        steps = [entry.delivery("failed", now_ms, attempt=attempt, failure=failure, detail=detail)]
        if await holding.was_taken_back(connection, entry):  # no way is tried any more
            await add_deliveries(connection, steps)
            return
        other = await dispatch.fall_over(connection, entry, now_ms, _note(entry))
        if other is None:
            await dispatch.mark_failed(connection, entry, detail, now_ms)
        else:
            said = outbox.after_failed(entry.channel)
            steps.append(other.delivery("asked", now_ms, detail=said))
        await add_deliveries(connection, steps)

    async def tidy(self, name: str, under_way: Collection[str]) -> None:
        """Measures a channel's backlog, and lets wait again what was left as being sent."""
        now_ms = self._now_ms()
        async with self._database.writing() as connection:
            await dispatch.release(connection, name, under_way)
            count, oldest_ms = await dispatch.backlog(connection, name)
        metrics.outbox_messages.labels(name).set(count)
        age_ms = 0 if oldest_ms is None else max(0, now_ms - oldest_ms)
        metrics.oldest_unsent_seconds.labels(name).set(age_ms / 1000)

    async def take_due(self, name: str, limit: int) -> tuple[list[Entry], float]:
        """What can be sent now over a channel, and the seconds until it is worth asking again."""
        now_ms = self._now_ms()
        async with self._database.writing() as connection:
            until_ms = await dispatch.paused_until_ms(connection, name)
            await self._pass_over(connection, name, until_ms)
            if until_ms > now_ms:
                entries, next_ms = list[Entry](), until_ms
            else:
                entries = await dispatch.claim_due(connection, name, now_ms, limit)
                next_ms = (
                    await dispatch.next_attempt_ms_after(connection, name, now_ms) or sys.maxsize
                )
        return entries, min(IDLE_SECONDS, (next_ms - now_ms) / 1000)

    async def _pass_over(self, connection: AsyncConnection, name: str, until_ms: int) -> None:
        """Lets go by their next way all that have one, where this one would keep them waiting."""
        now_ms = self._now_ms()
        failure: FailureClass
        if until_ms - now_ms > PATIENCE_SECONDS * 1000:
            failure, detail = "rate_limited", f"{name} wants to be left alone for now"
        elif self._health[name].is_dead(now_ms):
            failure, detail = "unreachable", f"{name} has failed time after time"
        else:
            return
        passed = set[str]()
        for entry in await dispatch.with_further_ways(connection, name, PASSED_AT_ONCE):
            await self._end(connection, entry, failure, detail, was_tried=False)
            metrics.notifications.labels(name, failure).inc()
            passed.add(entry.content.ways[0].channel)
        for loop in self._loops:
            if loop.name in passed:
                loop.wake.set()


def _accepted(entry: Entry, receipt: Receipt, now_ms: int) -> list[Delivery]:
    """The record that the receiver has confirmed the message with an id of its own."""
    if receipt.accepted is None:
        return []
    attempt, said = entry.attempts + 1, clean(redact_text(receipt.accepted))
    return [entry.delivery("accepted", now_ms, attempt=attempt, detail=said)]


def _note(entry: Entry) -> str:
    """What a message that goes another way says of it."""
    said = language(entry.content.language, "UTC").phrase("channels", "instead")
    return said.format(channel=entry.channel.partition(":")[0])
