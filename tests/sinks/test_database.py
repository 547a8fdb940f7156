"""The database below every sink: opened, migrated, written in turn; on SQLite and PostgreSQL."""

import asyncio
import re
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from sinks.case_store import tables as case_store
from sinks.database import Database, Schema, StoreError, upsert
from sinks.notifier import tables as notifier
from sinks.playbooks import tables as playbooks
from sinks.positions import move_positions, read_positions, take_new
from sinks.sink import Record
from sinks.status_page import store as status_page

SINKS = [case_store, notifier, playbooks, status_page]
SCHEMAS: list[Schema] = [sink.SCHEMA for sink in SINKS]
position = notifier.position


def of_each_sink(function: Any) -> Any:
    return pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.section)(function)


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.SCHEMA.section)
async def test_the_migrations_make_what_the_tables_say_and_run_twice(
    store_url: str, sink: Any
) -> None:
    def differences(connection: sa.Connection) -> list[Any]:
        options = {"version_table": sink.SCHEMA.version_table, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, sink.metadata))

    for _ in range(2):
        database = Database(sink.SCHEMA, store_url)
        await database.migrate()
        async with database.reading() as connection:
            assert await connection.run_sync(differences) == []
        await database.close()


async def test_all_sinks_may_share_one_database(store_url: str) -> None:
    databases = [Database(schema, store_url) for schema in SCHEMAS]
    for database in databases:
        await database.migrate()
    for database, sink in zip(databases, SINKS, strict=True):
        async with database.reading() as connection:
            for table in sink.metadata.sorted_tables:
                assert (await connection.execute(sa.select(table))).all() == []
        await database.close()


@of_each_sink
async def test_two_processes_may_migrate_at_once(store_url: str, schema: Schema) -> None:
    databases = [Database(schema, store_url) for _ in range(3)]
    await asyncio.gather(*(database.migrate() for database in databases))
    newest = max(file.name[:4] for file in schema.migrations.glob("[0-9]*.py"))
    for database in databases:
        async with database.reading() as connection:
            found = await connection.exec_driver_sql(f"SELECT * FROM {schema.version_table}")
            assert found.all() == [(newest,)]
        await database.close()


@of_each_sink
async def test_a_store_of_a_newer_version_is_refused_with_advice(
    store_url: str, schema: Schema
) -> None:
    database = Database(schema, store_url)
    await database.migrate()
    async with database.writing() as connection:
        newer = f"UPDATE {schema.version_table} SET version_num = '9999'"
        await connection.exec_driver_sql(newer)
    with pytest.raises(StoreError, match=rf"{schema.section}\.store: .*newer tocsin"):
        await database.migrate()
    await database.close()


@of_each_sink
@pytest.mark.parametrize("url", ["mysql://x/y", "cases.sqlite3", "sqlite://", "sqlite:///:memory:"])
def test_a_store_that_cannot_be_is_refused_with_an_example(url: str, schema: Schema) -> None:
    with pytest.raises(StoreError, match=rf"{schema.section}\.store: .*sqlite:///path/to/file"):
        Database(schema, url)


def test_the_password_comes_from_its_secret_and_the_driver_from_us() -> None:
    for kind in ("postgresql", "postgres"):
        url = Database(notifier.SCHEMA, f"{kind}://tocsin@localhost/x", "p@ss:/word").url
        assert (url.password, url.drivername) == ("p@ss:/word", "postgresql+psycopg")


@pytest.mark.parametrize(
    "url", ["postgresql://tocsin:secret@127.0.0.1:1/none", "sqlite:////proc/none/cases.sqlite3"]
)
async def test_a_store_that_cannot_be_opened_is_named_in_one_line_without_its_password(
    url: str,
) -> None:
    database = Database(case_store.SCHEMA, url)
    with pytest.raises(StoreError, match=r"case_store\.store: .* cannot be opened: ") as raised:
        await database.migrate()
    assert not re.search(r"secret|\n", str(raised.value))
    await database.close()


async def test_a_file_that_is_no_database_is_refused(sqlite_url: str) -> None:
    database = Database(case_store.SCHEMA, sqlite_url)
    path = database.url.database
    assert path is not None
    await asyncio.to_thread(_write_a_letter, path)
    with pytest.raises(StoreError, match="cannot be opened: file is not a database"):
        await database.migrate()
    await database.close()


def _write_a_letter(path: str) -> None:
    from pathlib import Path

    Path(path).parent.mkdir()
    Path(path).write_text("Dear Sir or Madam, " * 300)


async def test_writers_of_several_processes_take_turns(store_url: str) -> None:
    databases = [Database(notifier.SCHEMA, store_url) for _ in range(3)]
    await databases[0].migrate()

    async def count(database: Database) -> None:
        for _ in range(8):
            async with database.writing() as connection:
                known = (await read_positions(connection, position)).get(("t", 0), 0)
                row = {"topic": "t", "partition": 0, "next_offset": known + 1}
                await upsert(connection, position, row)

    await asyncio.gather(*(count(database) for database in databases for _ in range(2)))
    async with databases[0].reading() as connection:
        assert await read_positions(connection, position) == {("t", 0): 48}
    for database in databases:
        await database.close()


async def test_nothing_of_a_transaction_that_fails_is_kept(store_url: str) -> None:
    database = Database(notifier.SCHEMA, store_url)
    await database.migrate()
    with pytest.raises(OSError, match="disk full"):
        async with database.writing() as connection:
            await move_positions(connection, position, {("t", 0): 1})
            raise OSError("disk full")
    async with database.reading() as connection:
        assert await read_positions(connection, position) == {}
    await database.close()


async def test_records_are_new_once_and_positions_never_go_back(store_url: str) -> None:
    database = Database(notifier.SCHEMA, store_url)
    await database.migrate()

    async def take(*places: tuple[int, int]) -> list[tuple[int, int]]:
        async with database.writing() as connection:
            records = [
                Record("t", partition, offset, 0, None, None) for partition, offset in places
            ]
            new = await take_new(connection, position, records)
        return [(record.partition, record.offset) for record in new]

    assert await take((0, 5), (1, 0), (0, 5), (0, 6)) == [(0, 5), (1, 0), (0, 6)]
    assert await take((0, 4), (0, 6), (0, 9), (1, 0)) == [(0, 9)]
    async with database.writing() as connection:
        await move_positions(connection, position, {("t", 0): 3, ("t", 1): 7})
    async with database.reading() as connection:
        assert await read_positions(connection, position) == {("t", 0): 10, ("t", 1): 7}
    await database.close()
