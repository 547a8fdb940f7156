"""The store is brought up to date with what it holds, in SQLite and PostgreSQL."""

from pathlib import Path

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from sinks.database import ENVIRONMENT, Database
from sinks.notifier import tables
from sinks.notifier.store import open_incidents, read_incident
from tests.sinks.examples import cpu_incident, network_incident


def upgrade(connection: sa.Connection, revision: str) -> None:
    configuration = Config()
    configuration.set_main_option("script_location", str(ENVIRONMENT))
    configuration.set_main_option("version_locations", str(tables.SCHEMA.migrations))
    configuration.set_main_option("path_separator", "newline")
    configuration.attributes["connection"] = connection
    configuration.attributes["version_table"] = tables.SCHEMA.version_table
    command.upgrade(configuration, revision)


async def test_migrations_lead_to_the_tables_that_the_code_knows(store_url: str) -> None:
    database = Database(tables.SCHEMA, store_url)
    await database.migrate()
    async with database.reading() as connection:

        def compare(sync: sa.Connection) -> list[object]:
            options = {
                "include_name": lambda name, kind, _: kind != "table" or name in names,
                "version_table": tables.SCHEMA.version_table,
            }
            context = MigrationContext.configure(sync, opts=options)
            return [
                each
                for each in compare_metadata(context, tables.metadata)
                if not (isinstance(each, tuple) and each[0] == "remove_table")
            ]

        names = set(tables.metadata.tables)
        assert await connection.run_sync(compare) == []
    await database.close()


async def test_incidents_of_the_version_before_are_known_to_be_open_or_not(tmp_path: Path) -> None:
    file = tmp_path / "store.sqlite3"
    engine = sa.create_engine(f"sqlite:///{file}")
    states = (
        cpu_incident(id="open", severity="P1"),
        network_incident(id="over", state="resolved"),
    )
    with engine.begin() as connection:
        upgrade(connection, "0001")
        for state in states:
            connection.execute(
                sa.text("INSERT INTO notifier_incident VALUES (:id, 1, :state)"),
                {"id": state.id, "state": msgspec.json.encode(state)},
            )
    engine.dispose()
    database = Database(tables.SCHEMA, f"sqlite:///{file}")
    await database.migrate()
    async with database.reading() as reading:
        assert [each.id for each in await open_incidents(reading)] == ["open"]
        assert await read_incident(reading, "over") == states[1]
    await database.close()
