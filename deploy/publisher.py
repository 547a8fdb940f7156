"""Writes single records to Kafka, each acknowledged by the broker before the call returns."""

import asyncio
import contextlib
from collections.abc import Mapping

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from deploy.backoff import Backoff, passes
from deploy.credentials import KafkaSettings

log = structlog.get_logger(__name__)


class Publisher:
    """A `sinks.sink.Publish` on aiokafka's idempotent producer.

    A call made before the connection stands, or while the broker is away, waits and tries again:
    it returns when the record is on Kafka, however long that takes. What a record says is
    recognised by its id, so one that is written twice after an outage does no harm.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._connected = asyncio.Event()

    async def start(self) -> None:
        """Connects; tries until the broker answers."""
        backoff = Backoff()
        while True:
            producer = self._new_producer()
            try:
                await producer.start()
            except KafkaError as error:
                await producer.stop()
                if not passes(error):
                    raise
                await backoff.sleep()
            except BaseException:
                await producer.stop()
                raise
            else:
                self._producer = producer
                self._connected.set()
                return

    async def __call__(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Returns once all in-sync replicas have the record. Raises if Kafka refuses it."""
        encoded = [(name, text.encode()) for name, text in (headers or {}).items()]
        backoff = Backoff()
        while True:
            await self._connected.wait()
            assert self._producer is not None
            try:
                await self._producer.send_and_wait(topic, value, key=key.encode(), headers=encoded)
                return
            except KafkaError as error:
                if not passes(error):
                    raise
                log.warning("publishing waits for the broker", topic=topic, error=repr(error))
            await backoff.sleep()

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._settings.aiokafka,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=10_000,
        )

    async def stop(self, timeout_seconds: float = 1) -> None:
        """Closes the connection; what was not acknowledged by then has not returned either."""
        producer, self._producer = self._producer, None
        self._connected.clear()
        if producer is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                await asyncio.wait_for(producer.stop(), timeout_seconds)
