"""The status page as a sink: incident events in, public pages out."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog
from starlette.routing import BaseRoute

from schemas.configuration import Configuration, Secret
from schemas.incidents import IncidentEvent
from sinks.database import Database
from sinks.disclosure import for_the_public
from sinks.reading import EventReader
from sinks.sink import Record
from sinks.status_page import metrics, words
from sinks.status_page.api import Api
from sinks.status_page.board import Board, build, first_day
from sinks.status_page.components import components_of
from sinks.status_page.incident import PublicIncident, publish
from sinks.status_page.pages import Pages
from sinks.status_page.serving import Serving
from sinks.status_page.store import Store, Transaction

log = structlog.get_logger(__name__)


class StatusPage:
    """Shows customers the public incidents that touch the configured components.

    An event is known by its incident and version, so a repeat and anything older than what is
    held change nothing. An incident that turns internal is taken off the page, and what was said
    of it out of the store. Pages are made from the store alone.

    Parameters
    ----------
    configuration
        `status_page`, `environment` (events of another one are left out), `catalogue` for the
        default components and the names that people's words are not to hold, and
        `notifier.cadence`, so that the page promises what messages do.
    resolve
        Gives the content of a secret.
    now_ms
        The clock, Unix milliseconds; days are UTC.
    database
        The store, where it is not to be opened as configured.

    Raises `ComponentError` if the components cannot be told apart, and `StoreError` if
    `status_page.store` is no store that is known.
    """

    name = "status-page"

    def __init__(
        self,
        configuration: Configuration,
        *,
        resolve: Callable[[Secret], str],
        now_ms: Callable[[], int],
        database: Database | None = None,
    ) -> None:
        section = configuration.status_page
        url = section.public_url.rstrip("/")
        self.topics: tuple[str, ...] = (configuration.topics.incident_events,)
        self.components = components_of(configuration)
        self._events = EventReader(self.name, configuration.environment)
        self._history_days = section.history_days
        self._catalogue = configuration.catalogue
        self._cadence = configuration.notifier.cadence
        self._now_ms = now_ms
        password = resolve(section.store_password) if section.store_password else None
        self._store = Store(section.store, password, database)
        self._since: Mapping[str, int] = {}
        self._serving = Serving(
            pages=Pages(section.title, url, section.history_days),
            api=Api(section.title, url),
            load=self.board,
            old_incident=self._old_incident,
            now_ms=now_ms,
        )

    async def start(self) -> None:
        """Opens the store and brings its schema up to date. Raises `StoreError`."""
        await self._store.open()
        self._since = await self._store.register(
            [component.id for component in self.components], self._now_ms()
        )
        metrics.OPEN.set(len((await self.board()).open))
        if not self.components:
            log.warning(
                "no components",
                mend="name components under status_page, or give services a public_name",
            )

    async def stop(self) -> None:
        """Closes the store."""
        await self._store.close()

    async def positions(self) -> Mapping[tuple[str, int], int]:
        """The next offset to read by topic and partition."""
        return await self._store.read_positions()

    async def apply(self, records: Sequence[Record]) -> None:
        """Takes records in, with their positions, in one transaction."""
        said: list[IncidentEvent] = []
        async with self._store.transaction() as transaction:
            for record in await transaction.take_new(records):
                event = self._events.read(record)
                if event is not None and await self._take(transaction, event, record.timestamp_ms):
                    said.append(event)
        self._serving.changed()
        for event in said:
            metrics.PUBLISH_DELAY.observe(max(0, self._now_ms() - event.time_ms) / 1000)
        if said:
            metrics.OPEN.set(len((await self.board()).open))

    def routes(self) -> list[BaseRoute]:
        """Pages, feed and JSON."""
        return self._serving.routes()

    async def board(self) -> Board:
        """The page as it stands now, read from the store."""
        now_ms = self._now_ms()
        incidents = await self._store.public_incidents(first_day(self._history_days, now_ms))
        return build(self.components, self._since, incidents, self._history_days, now_ms)

    async def _take(self, transaction: Transaction, event: IncidentEvent, recorded_ms: int) -> bool:
        """Whether the event changed what the public can read."""
        if event.incident.drill:
            return False
        known = await transaction.incident(event.incident_id)
        shown = for_the_public(event.incident, self._catalogue, words.A_SYSTEM)
        event = msgspec.structs.replace(event, incident=shown)
        after = publish(known, event, self.components, self._cadence, recorded_ms)
        if after is known:
            return False
        await transaction.save(after)
        return after.updates != (known.updates if known else ())

    async def _old_incident(self, incident_id: str) -> PublicIncident | None:
        found = await self._store.public_incident(incident_id)
        shown = {component.id for component in self.components}
        return found if found is not None and found.component_ids & shown else None
