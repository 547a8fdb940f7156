"""The sink itself: what the host starts, feeds and serves."""

from collections.abc import Callable, Mapping, Sequence

from starlette.routing import BaseRoute

from schemas.configuration import Configuration, Secret
from sinks.case_store.access import Access
from sinks.case_store.api import Api
from sinks.case_store.commands import Desk
from sinks.case_store.metrics import CASES
from sinks.case_store.pages import Pages
from sinks.case_store.reader import Reader
from sinks.case_store.records import NAME, read
from sinks.case_store.tables import SCHEMA
from sinks.case_store.writer import Writer
from sinks.database import Database
from sinks.reading import EventReader
from sinks.sink import Publish, Record

STATES = ("investigating", "identified", "monitoring", "resolved", "closed")


class CaseStore:
    """Keeps every incident as a numbered case and lets people look at it and act on it.

    Parameters
    ----------
    configuration
        The whole; `case_store`, `topics`, `environment` (events of another one are left out) and
        the `catalogue` (owners, runbooks, whom a report is about) are used.
    resolve
        Gives the content of a secret.
    publish
        Writes to Kafka; used for commands.
    now_ms
        The wall clock, Unix milliseconds; for the audit. Pages show event times.
    database
        The store, where it is not to be opened as configured.

    Raises `StoreError` if `case_store.store` is no store that is known.
    """

    name = NAME

    def __init__(
        self,
        configuration: Configuration,
        *,
        resolve: Callable[[Secret], str],
        publish: Publish,
        now_ms: Callable[[], int],
        database: Database | None = None,
    ) -> None:
        section = configuration.case_store
        self._topics = configuration.topics
        self._events = EventReader(self.name, configuration.environment)
        self._changes_topic = section.changes_topic
        self.topics: tuple[str, ...] = (self._topics.incident_events, self._topics.deliveries)
        if section.changes_topic is not None:
            self.topics += (section.changes_topic,)
        password = resolve(section.store_password) if section.store_password else None
        self._database = database or Database(SCHEMA, section.store, password)
        self._writer = Writer(self._database)
        self._reader = Reader(self._database)
        access = Access(
            resolve(section.token) if section.token else None,
            resolve(section.read_token) if section.read_token else None,
            section.public_url,
        )
        desk = self._desk = Desk(self._database, publish, self._topics.commands, now_ms)
        self._api = Api(
            self._reader,
            desk,
            access,
            public_url=section.public_url,
            services=configuration.catalogue.services,
            now_ms=now_ms,
        )
        self._pages = Pages(self._reader, desk, access, configuration.catalogue, now_ms)

    async def start(self) -> None:
        """Opens the store and runs the migrations that are missing. Raises `StoreError`."""
        await self._database.migrate()
        await self._count()

    async def positions(self) -> Mapping[tuple[str, int], int]:
        """The next offset to read by topic and partition."""
        return await self._reader.positions()

    async def apply(self, records: Sequence[Record]) -> None:
        """Writes records and their positions in one transaction; a repeat changes nothing.

        Changes go to the commands topic first. Raises `CommandNotSentError` if Kafka is away.
        """
        batch = read(records, self._topics, self._events, self._changes_topic)
        for change in batch.changes:
            await self._desk.submit(change, "topic")
        await self._writer.write(batch)
        if batch.entries:
            await self._count()

    async def stop(self) -> None:
        """Closes the store."""
        await self._database.close()

    def routes(self) -> list[BaseRoute]:
        """Pages and API."""
        return [*self._pages.routes(), *self._api.routes()]

    async def _count(self) -> None:
        counts = await self._reader.counts()
        for state in STATES:
            CASES.labels(state).set(counts.get(state, 0))
