"""The notifier as a sink: incident events in, messages and delivery records out."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.routing import BaseRoute

from schemas.configuration import Configuration, Secret
from schemas.times import DAY_MS
from sinks.database import Database
from sinks.notifier import outbox, tables
from sinks.notifier.acknowledge import Acknowledgements
from sinks.notifier.channels import open_channels
from sinks.notifier.delivery_log import DeliveryLog
from sinks.notifier.intake import Intake
from sinks.notifier.links import Linker, Tickets
from sinks.notifier.sender import Sender
from sinks.notifier.store import setting_or
from sinks.positions import read_positions, take_new
from sinks.reading import EventReader
from sinks.sink import Publish, Record

KEPT_MS = 90 * DAY_MS
"""How long messages that are over are kept, ms."""
FORGET_SECONDS = 6 * 3600
STOP_SECONDS = 1.2
"""What sending and publishing may take to end, within the 1.5 s that the host gives."""

log = structlog.get_logger("tocsin.notifier")


class Notifier:
    """Tells people of incidents over the configured channels, and hears that they know.

    One notifier works on one store. Messages are delivered at least once, under ids that are the
    same at every attempt. Raises AppriseUrlError or StoreError for a configuration that cannot
    work, and what `resolve` raises for a secret that is not there.

    Parameters
    ----------
    resolve
        Gives the value of a secret.
    publish
        Writes a record to Kafka; deliveries and acknowledgements go through it.
    now_ms
        The wall clock, Unix ms.
    console
        Where the console channel prints; standard output if None.
    """

    name = "notifier"

    def __init__(
        self,
        configuration: Configuration,
        *,
        resolve: Callable[[Secret], str],
        publish: Publish,
        now_ms: Callable[[], int],
        console: TextIO | None = None,
    ) -> None:
        section = configuration.notifier
        self.topics = (configuration.topics.incident_events,)
        self._configuration = configuration
        self._events = EventReader(self.name, configuration.environment)
        self._now_ms = now_ms
        self._key = resolve(section.signing_secret) if section.signing_secret else None
        password = resolve(section.store_password) if section.store_password else None
        self._database = Database(tables.SCHEMA, section.store, password)
        self._deliveries = DeliveryLog(self._database, publish, configuration.topics.deliveries)
        self._sender = Sender(
            self._database,
            open_channels(section.channels, resolve, now_ms, console),
            now_ms=now_ms,
            give_up_after_ms=int(section.give_up_after_seconds * 1000),
            on_delivery=self._deliveries.wake,
        )
        self._pages = Acknowledgements(
            self._database,
            self._opened_tickets,
            publish=publish,
            commands_topic=configuration.topics.commands,
            case_url=configuration.case_store.public_url,
            now_ms=now_ms,
            on_delivery=self._deliveries.wake,
        )
        self._tickets: Tickets | None = None
        self._intake: Intake | None = None
        self._work: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Opens the store and starts sending what a former run left. Raises StoreError."""
        await self._database.migrate()
        section = self._configuration.notifier
        async with self._database.writing() as connection:
            key = self._key or await setting_or(connection, "link_key", secrets.token_urlsafe(32))
        self._tickets = Tickets(key, section.link_max_age_seconds, self._now_ms)
        linker = Linker(self._configuration, self._tickets)
        self._intake = Intake(self._configuration, linker, self._now_ms)
        self._work = asyncio.create_task(self._run(), name="notifier")
        self._work.add_done_callback(_report)

    async def positions(self) -> Mapping[tuple[str, int], int]:
        """The next offset to read by topic and partition."""
        async with self._database.reading() as connection:
            return await read_positions(connection, tables.position)

    async def apply(self, records: Sequence[Record]) -> None:
        """Takes events in with their positions, in one transaction. A repeat changes nothing.

        Raises what the store raises, and what has stopped the sending, if anything did.
        """
        if self._intake is None or self._work is None:
            raise RuntimeError("the notifier is not started; call start() first")
        if self._work.done():
            self._work.result()
            raise RuntimeError("the notifier has stopped sending")
        async with self._database.writing() as connection:
            for record in await take_new(connection, tables.position, records):
                event = self._events.read(record)
                if event is not None:
                    await self._intake.take(connection, event, record.timestamp_ms)
        self.wake()

    def wake(self) -> None:
        """Looks at once for what is due; for after the clock has moved."""
        self._sender.wake()
        self._deliveries.wake()

    async def stop(self) -> None:
        """Ends sending; what is not sent by then is kept and sent after the next start."""
        if self._work is not None:
            self._stopping.set()
            self._sender.stop()
            self._deliveries.stop()
            _, late = await asyncio.wait([self._work], timeout=STOP_SECONDS)
            if late:  # only publishing waits without an end of its own
                self._work.cancel()
                await asyncio.wait([self._work])
            self._work = None
        await self._sender.close()
        await self._database.close()

    def routes(self) -> list[BaseRoute]:
        """The pages of acknowledgement links."""
        return self._pages.routes()

    def _opened_tickets(self) -> Tickets:
        if self._tickets is None:
            raise RuntimeError("the notifier is not started; call start() first")
        return self._tickets

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sender.run(), name="sender")
            group.create_task(self._deliveries.run(), name="delivery log")
            group.create_task(self._forget(), name="forget")

    async def _forget(self) -> None:
        while not self._stopping.is_set():
            try:
                async with self._database.writing() as connection:
                    await outbox.forget(connection, self._now_ms() - KEPT_MS)
            except (SQLAlchemyError, OSError):
                log.exception("old messages not dropped")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FORGET_SECONDS):
                    await self._stopping.wait()


def _report(work: asyncio.Task[None]) -> None:
    """Says at once that sending has ended by a mistake; apply() raises it when next called."""
    if not work.cancelled() and (error := work.exception()) is not None:
        log.critical("sending has stopped", exc_info=error)
