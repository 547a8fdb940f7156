"""The notifier as a sink: incident events in, messages and delivery records out."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.routing import BaseRoute

from schemas.configuration import Configuration, Secret
from schemas.times import DAY_MS
from sinks.database import Database
from sinks.notifier import outbox, tables, timers
from sinks.notifier.acknowledge import Acknowledgements
from sinks.notifier.channels import Channel, open_channels
from sinks.notifier.channels.http import Http
from sinks.notifier.channels.slack import Slack
from sinks.notifier.channels.teams_bot import TeamsBot
from sinks.notifier.chat import BotTokens, ChatDesk, SlackDoor, TeamsBotDoor, TeamsDoor
from sinks.notifier.clockwork import SETTLE_SECONDS, Clockwork
from sinks.notifier.delivery_log import DeliveryLog
from sinks.notifier.desk import DIGEST, Desk
from sinks.notifier.digests import Digests
from sinks.notifier.escalation.run import PAGE, Escalations
from sinks.notifier.handovers import HAND_OVER, HandOvers
from sinks.notifier.intake import Intake
from sinks.notifier.language import FOLDER
from sinks.notifier.links import Linker, Tickets
from sinks.notifier.people import People
from sinks.notifier.promises import PROMISE, Promises
from sinks.notifier.sender import Sender
from sinks.notifier.silences import SilenceNotices
from sinks.notifier.store import forget_trail, setting_or
from sinks.notifier.subscriptions import Subscriptions
from sinks.outgoing import Outgoing
from sinks.positions import read_positions, take_new
from sinks.reading import EventReader
from sinks.sink import Publish, Record

KEPT_MS = 90 * DAY_MS
"""How long messages that are over are kept, ms."""
AT_ONCE = 50
"""Events that are taken in by one transaction: a timer that is due waits for no more of them."""
FORGET_SECONDS = 6 * 3600
REFRESH_SECONDS = 60.0
"""How often it is looked whether calendars have changed."""
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
    settle_seconds
        How long no timer fires after the start, so that events that wait in Kafka come first.
    database, channels
        The store and the ways out, where they are not to be opened as configured.
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
        settle_seconds: float = SETTLE_SECONDS,
        database: Database | None = None,
        channels: Mapping[str, Channel] | None = None,
    ) -> None:
        section = configuration.notifier
        self._silence_events = configuration.topics.silence_events
        self.topics = (configuration.topics.incident_events, self._silence_events)
        self._configuration = configuration
        self._events = EventReader(self.name, configuration.environment)
        self._now_ms = now_ms
        self._key = resolve(section.signing_secret) if section.signing_secret else None
        password = resolve(section.store_password) if section.store_password else None
        self._database = database or Database(tables.SCHEMA, section.store, password)
        self._deliveries = DeliveryLog(self._database, publish, configuration.topics.deliveries)
        self._outgoing = Outgoing.of(configuration.outgoing)
        if channels is None:
            owners = {s.name: s.owner for s in configuration.catalogue.services if s.owner}
            channels = open_channels(
                section.channels,
                resolve,
                now_ms,
                console=console,
                owners=owners,
                outgoing=self._outgoing,
            )
        self._sender = Sender(
            self._database,
            channels,
            now_ms=now_ms,
            give_up_after_ms=int(section.give_up_after_seconds * 1000),
            on_delivery=self._deliveries.wake,
        )
        self._people = People(configuration)
        own = (Path(section.templates),) if section.templates else ()
        self._pages = Acknowledgements(
            self._database,
            self._opened_tickets,
            recipients=self._people.recipients,
            folders=(*own, FOLDER),
            publish=publish,
            commands_topic=configuration.topics.commands,
            case_url=configuration.case_store.public_url,
            now_ms=now_ms,
            on_delivery=self._deliveries.wake,
            on_acknowledged=self._acknowledged,
        )
        self._key_clients: list[Http] = []
        self._chat = self._open_chat(channels, resolve, publish)
        self._subscriptions = Subscriptions(
            self._database, self._opened_tickets, self._people.recipients, now_ms
        )
        self._tickets: Tickets | None = None
        self._intake: Intake | None = None
        self._silences: SilenceNotices | None = None
        self._escalations: Escalations | None = None
        self._hand_overs: HandOvers | None = None
        self._clockwork: Clockwork | None = None
        self._settle_seconds = settle_seconds
        self._work: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Opens the store and starts sending what a former run left. Raises StoreError."""
        await self._database.migrate()
        section = self._configuration.notifier
        async with self._database.writing() as connection:
            key = self._key or await setting_or(connection, "link_key", secrets.token_urlsafe(32))
        self._tickets = Tickets(key, section.link_max_age_seconds, self._now_ms)
        await self._put_together(Linker(self._configuration, self._tickets))
        self._work = asyncio.create_task(self._run(), name="notifier")
        self._work.add_done_callback(_report)

    async def _put_together(self, linker: Linker) -> None:
        configuration, people, now_ms = self._configuration, self._people, self._now_ms
        desk = Desk(configuration, linker, now_ms)
        escalations = Escalations(configuration, desk, people, now_ms)
        promises = Promises(configuration, desk, people, now_ms)
        hand_overs = HandOvers(desk, people, now_ms)
        digests = Digests(configuration.notifier.limit, desk, people, now_ms)
        self._intake = Intake(
            configuration,
            desk=desk,
            people=people,
            escalations=escalations,
            promises=promises,
            now_ms=now_ms,
        )
        self._silences = SilenceNotices(configuration, desk=desk, people=people, now_ms=now_ms)
        self._escalations, self._hand_overs = escalations, hand_overs
        self._clockwork = Clockwork(
            self._database,
            {
                PAGE: escalations.fire,
                PROMISE: promises.fire,
                DIGEST: digests.fire,
                HAND_OVER: hand_overs.fire,
            },
            now_ms=now_ms,
            on_fired=self._wake_senders,
            settle_seconds=self._settle_seconds,
        )
        async with self._database.writing() as connection:
            await hand_overs.plan(connection)

    async def positions(self) -> Mapping[tuple[str, int], int]:
        """The next offset to read by topic and partition."""
        async with self._database.reading() as connection:
            return await read_positions(connection, tables.position)

    async def apply(self, records: Sequence[Record]) -> None:
        """Takes events in, each with its position in one transaction. A repeat changes nothing.

        Timers and messages that are due come in between, however many events there are.
        Raises what the store raises, and what has stopped the sending, if anything did.
        """
        if self._intake is None or self._work is None:
            raise RuntimeError("the notifier is not started; call start() first")
        if self._work.done():
            self._work.result()
            raise RuntimeError("the notifier has stopped sending")
        for start in range(0, len(records), AT_ONCE):
            await self._take(self._intake, records[start : start + AT_ONCE])
        if self._clockwork is not None and records:
            newest_ms = max(record.timestamp_ms for record in records)
            self._clockwork.heard(newest_ms if newest_ms > 0 else self._now_ms())
        self.wake()

    async def _take(self, intake: Intake, records: Sequence[Record]) -> None:
        async with self._database.writing() as connection:
            for record in await take_new(connection, tables.position, records):
                await self._take_one(connection, intake, record)

    async def _take_one(self, connection: AsyncConnection, intake: Intake, record: Record) -> None:
        if record.topic == self._silence_events:
            told = self._events.read_silence(record)
            if told is not None and self._silences is not None:
                await self._silences.take(connection, told, record.timestamp_ms)
            return
        event = self._events.read(record)
        if event is not None:
            await intake.take(connection, event, record.timestamp_ms)

    def wake(self) -> None:
        """Looks at once for what is due; for after the clock has moved."""
        self._wake_senders()
        if self._clockwork is not None:
            self._clockwork.wake()

    def _wake_senders(self) -> None:
        self._sender.wake()
        self._deliveries.wake()

    async def _acknowledged(self, connection: AsyncConnection, incident_id: str, by: str) -> None:
        """Stops pages at once, without waiting until the acknowledgement comes back as an event."""
        if self._escalations is not None:
            await self._escalations.acknowledged(connection, incident_id, by)

    async def stop(self) -> None:
        """Ends sending; what is not sent by then is kept and sent after the next start."""
        if self._work is not None:
            self._stopping.set()
            self._sender.stop()
            self._deliveries.stop()
            if self._clockwork is not None:
                self._clockwork.stop()
            _, late = await asyncio.wait([self._work], timeout=STOP_SECONDS)
            if late:  # only publishing waits without an end of its own
                self._work.cancel()
                await asyncio.wait([self._work])
            self._work = None
        await self._sender.close()
        for client in self._key_clients:
            await client.close()
        await self._database.close()

    def routes(self) -> list[BaseRoute]:
        """The pages behind links in messages, and the addresses that chat calls."""
        return [*self._pages.routes(), *self._subscriptions.routes(), *self._chat]

    def _open_chat(
        self,
        channels: Mapping[str, Channel],
        resolve: Callable[[Secret], str],
        publish: Publish,
    ) -> list[BaseRoute]:
        section = self._configuration.notifier.channels
        desk = ChatDesk(
            self._database,
            publish=publish,
            commands_topic=self._configuration.topics.commands,
            now_ms=self._now_ms,
            on_acknowledged=self._acknowledged,
        )
        made: list[BaseRoute] = []
        slack = channels.get("slack")
        if section.slack is not None and section.slack.signing_secret and isinstance(slack, Slack):
            secret = resolve(section.slack.signing_secret)
            made += SlackDoor(secret, desk, slack.name_of, self._now_ms).routes()
        bot = channels.get("teams")
        if section.teams_bot is not None and isinstance(bot, TeamsBot):
            http = Http("the Bot Connector's keys", self._now_ms, outgoing=self._outgoing)
            settings = section.teams_bot
            tokens = BotTokens(settings.keys_url, settings.app_id, http, self._now_ms)
            made += TeamsBotDoor(settings, bot, tokens, desk).routes()
            self._key_clients.append(http)
        if section.teams_secret is not None:
            made += TeamsDoor(resolve(section.teams_secret), desk).routes()
        return made

    def _opened_tickets(self) -> Tickets:
        if self._tickets is None:
            raise RuntimeError("the notifier is not started; call start() first")
        return self._tickets

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sender.run(), name="sender")
            group.create_task(self._deliveries.run(), name="delivery log")
            group.create_task(self._forget(), name="forget")
            group.create_task(self._refresh(), name="calendars")
            if self._clockwork is not None:
                group.create_task(self._clockwork.run(), name="timers")

    async def _forget(self) -> None:
        while not self._stopping.is_set():
            try:
                async with self._database.writing() as connection:
                    await outbox.forget(connection, self._now_ms() - KEPT_MS)
                    await forget_trail(connection, self._now_ms() - KEPT_MS)
                    await timers.forget(connection)
            except (SQLAlchemyError, OSError):
                log.exception("old messages not dropped")
            await self._pause(FORGET_SECONDS)

    async def _refresh(self) -> None:
        """Takes over calendars that have changed, with their changes of shift."""
        while not self._stopping.is_set():
            await self._pause(REFRESH_SECONDS)
            try:
                self._people.rosters.refresh()
                async with self._database.writing() as connection:
                    if self._hand_overs is not None:
                        await self._hand_overs.plan(connection)
            except Exception:  # a calendar is anybody's text, and pages must go on whatever it says
                log.exception("changes of shift not planned")

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def _report(work: asyncio.Task[None]) -> None:
    """Says at once that sending has ended by a mistake; apply() raises it when next called."""
    if not work.cancelled() and (error := work.exception()) is not None:
        log.critical("sending has stopped", exc_info=error)
