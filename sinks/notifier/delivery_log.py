"""Publishes the delivery records and commands that the store holds, until Kafka has them all."""

import asyncio
import contextlib

import structlog

from sinks.database import Database
from sinks.notifier import metrics
from sinks.notifier.store import drop_deliveries, pending_deliveries
from sinks.sink import Publish

BATCH = 200
LONGEST_WAIT_SECONDS = 30.0

log = structlog.get_logger("tocsin.notifier")


class DeliveryLog:
    """Takes records out of the outbox once Kafka has acknowledged them; repeats are possible."""

    def __init__(self, database: Database, publish: Publish, topic: str) -> None:
        self._database = database
        self._publish = publish
        self._topic = topic
        self._wake = asyncio.Event()
        self._is_stopping = False

    def wake(self) -> None:
        """Says that there is something new to publish."""
        self._wake.set()

    def stop(self) -> None:
        """Asks `run` to end."""
        self._is_stopping = True
        self.wake()

    async def run(self) -> None:
        """Works until `stop` is called."""
        wait_seconds = 1.0
        while not self._is_stopping:
            self._wake.clear()
            try:
                while await self.publish_pending():
                    pass
            except Exception as error:  # the broker's client or the store: both may come back
                log.warning("deliveries not published", error=type(error).__name__)
                await self._wait(wait_seconds)
                wait_seconds = min(LONGEST_WAIT_SECONDS, wait_seconds * 2)
            else:
                wait_seconds = 1.0
                await self._wait(None)

    async def _wait(self, seconds: float | None) -> None:
        """Waits for something new, or, after a failure, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def publish_pending(self) -> bool:
        """Publishes the oldest records; whether more may wait. Raises what publishing raises."""
        async with self._database.reading() as connection:
            rows = await pending_deliveries(connection, BATCH)
        metrics.unpublished_deliveries.set(len(rows))
        if not rows:
            return False
        results = await asyncio.gather(
            *(self._publish(row.topic or self._topic, row.incident_id, row.value) for row in rows),
            return_exceptions=True,
        )
        done = [
            row.seq
            for row, result in zip(rows, results, strict=True)
            if not isinstance(result, BaseException)
        ]
        if done:
            async with self._database.writing() as connection:
                await drop_deliveries(connection, done)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            raise failures[0]
        return len(rows) == BATCH
