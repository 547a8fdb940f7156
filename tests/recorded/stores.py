"""The sinks over the stores of a recording; the same for who records and who reads."""

import asyncio
import gzip
import io
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from schemas.configuration import (
    CaseStore as CaseStoreSection,
)
from schemas.configuration import (
    Configuration,
    Recipient,
    Route,
)
from schemas.configuration import (
    Notifier as NotifierSection,
)
from schemas.configuration import (
    Playbooks as PlaybooksSection,
)
from schemas.configuration import (
    StatusPage as StatusPageSection,
)
from schemas.incidents import Delivery
from sinks.case_store import CaseStore
from sinks.case_store.tables import SCHEMA as CASE_STORE
from sinks.database import ENVIRONMENT, Schema
from sinks.notifier import Notifier
from sinks.notifier.tables import SCHEMA as NOTIFIER
from sinks.playbooks import PlaybookRunner
from sinks.playbooks.tables import SCHEMA as PLAYBOOKS
from sinks.sink import Record, Sink
from sinks.status_page import StatusPage
from sinks.status_page.store import SCHEMA as STATUS_PAGE
from tests.recorded.workload import CONFIGURATION, MINUTE_MS, RECORDED_MINUTES, START_MS

NOW_MS = START_MS + RECORDED_MINUTES * MINUTE_MS


class Log:
    """What sinks publish."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, bytes]] = []

    async def __call__(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self.records.append((topic, key, value))

    def deliveries(self) -> list[Delivery]:
        """The deliveries among it."""
        topic = CONFIGURATION.topics.deliveries
        return [msgspec.json.decode(v, type=Delivery) for t, _, v in self.records if t == topic]


SCHEMAS: Mapping[str, Schema] = {
    "notifier": NOTIFIER,
    "case-store": CASE_STORE,
    "status-page": STATUS_PAGE,
    "playbooks": PLAYBOOKS,
}

Address = Callable[[str], str]
"""Where the store of a sink is, by its name."""


def in_folder(folder: Path) -> Address:
    """SQLite files."""
    return lambda name: f"sqlite:///{folder}/{name}.sqlite3"


def configuration(store: Address) -> Configuration:
    """One person is told everything on the console, and one playbook is not run by anybody."""
    return msgspec.structs.replace(
        CONFIGURATION,
        notifier=NotifierSection(
            store=store("notifier"),
            recipients=(Recipient(name="ops", channel="console"),),
            routes=(Route(name="all", recipients=("ops",)),),
        ),
        case_store=CaseStoreSection(store=store("case-store")),
        status_page=StatusPageSection(store=store("status-page")),
        playbooks=PlaybooksSection(store=store("playbooks")),
    )


def sinks(store: Address, published: Log) -> dict[str, Sink]:
    """A sink each, by the name of its store."""
    c = configuration(store)

    def now_ms() -> int:
        return NOW_MS

    return {
        "notifier": Notifier(
            c,
            resolve=str,
            publish=published,
            now_ms=now_ms,
            console=io.StringIO(),
            settle_seconds=0,
        ),
        "case-store": CaseStore(c, resolve=str, publish=published, now_ms=now_ms),
        "status-page": StatusPage(c, resolve=str, now_ms=now_ms),
        "playbooks": PlaybookRunner(c, resolve=str, publish=published, now_ms=now_ms),
    }


def records(topic: str, values: Sequence[bytes], first_offset: int = 0) -> list[Record]:
    """Values as a sink is given them."""
    return [
        Record(topic, 0, first_offset + i, NOW_MS, None, value) for i, value in enumerate(values)
    ]


def asks_for_playbook(event: bytes) -> bytes:
    """The same event, of an incident for which a playbook was chosen that nobody has any more."""
    document = msgspec.json.decode(event)
    document["incident"]["playbook"] = "restart"
    return msgspec.json.encode(document)


async def fill(folder: Path, events: Sequence[bytes]) -> list[bytes]:
    """Fills the stores with events and what came of telling them; the deliveries."""
    published = Log()
    each = sinks(in_folder(folder), published)
    for sink in each.values():
        await sink.start()
        told = [asks_for_playbook(e) for e in events] if sink.name == "playbooks" else events
        await sink.apply(records(CONFIGURATION.topics.incident_events, told))
    for _ in range(200):
        if any(d.status == "sent" for d in published.deliveries()):
            break
        await asyncio.sleep(0.02)
    deliveries = [msgspec.json.encode(d) for d in published.deliveries()]
    await each["case-store"].apply(records(CONFIGURATION.topics.deliveries, deliveries))
    for sink in each.values():
        await sink.stop()
    return deliveries


def laid_out(release: Path, folder: Path) -> Address:
    """The stores of a release as SQLite files, where it recorded them."""
    for file in release.glob("*.sql.gz"):
        with sqlite3.connect(folder / f"{file.name[:-7]}.sqlite3") as store:
            store.executescript(gzip.decompress(file.read_bytes()).decode())
    return in_folder(folder)


def moved(files: Address, databases: Address) -> Address:
    """The same stores on PostgreSQL, with the schema that the release had.

    Migrations that are there are not changed, so those up to the recorded one make its schema.
    """
    for name, schema in SCHEMAS.items():
        source = sa.create_engine(files(name))
        target = sa.create_engine(databases(name).replace("postgresql:", "postgresql+psycopg:"))
        with source.connect() as old, target.begin() as new:
            version = old.scalar(sa.text(f"SELECT version_num FROM {schema.version_table}"))
            upgrade(new, schema, str(version))
            there = sa.MetaData()
            there.reflect(new)
            for table in there.sorted_tables:
                if table.name != schema.version_table:
                    _copy(old, new, table)
        source.dispose()
        target.dispose()
    return databases


def _copy(old: sa.Connection, new: sa.Connection, table: sa.Table) -> None:
    truths = [c.name for c in table.columns if isinstance(c.type, sa.Boolean)]
    rows = [
        {**row, **{name: bool(row[name]) for name in truths if row[name] is not None}}
        for row in old.execute(sa.text(f'SELECT * FROM "{table.name}"')).mappings()
    ]
    if rows:
        new.execute(table.insert(), rows)
    for column in table.columns:
        counter = new.scalar(
            sa.select(sa.func.pg_get_serial_sequence(f'"{table.name}"', column.name))
        )
        if counter is not None and rows:
            new.execute(sa.select(sa.func.setval(counter, max(row[column.name] for row in rows))))


def upgrade(connection: sa.Connection, schema: Schema, revision: str) -> None:
    """Runs the migrations up to one."""
    configuration = Config()
    configuration.set_main_option("script_location", str(ENVIRONMENT))
    configuration.set_main_option("version_locations", str(schema.migrations))
    configuration.set_main_option("path_separator", "newline")
    configuration.attributes["connection"] = connection
    configuration.attributes["version_table"] = schema.version_table
    command.upgrade(configuration, revision)


def held(url: str) -> list[str]:
    """All rows of a store, a line each."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = sa.MetaData()
        found.reflect(connection)
        lines = [
            f"{table.name} {tuple(row)}"
            for table in found.sorted_tables
            for row in connection.execute(table.select())
        ]
    engine.dispose()
    return sorted(lines)


def dumped(file: Path) -> str:
    """A store as SQL, which says more to a reader of a change than pages of bytes."""
    with sqlite3.connect(file) as store:
        return "\n".join(store.iterdump())
