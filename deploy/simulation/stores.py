"""Sinks' databases in memory: real SQLite and real SQL, without files, threads and waiting."""

import asyncio
import itertools
import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, NullPool, PoolProxiedConnection, StaticPool, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from deploy.simulation.process import Process, current
from sinks.database import Database, Schema

_BUSY_SECONDS = 0.001
_names = itertools.count()


class Store:
    """One database, which outlives the processes that write it.

    Parameters
    ----------
    schema
        Whose tables it has.
    delay
        Seconds that a transaction waits for its disk, asked at each.
    """

    def __init__(self, schema: Schema, delay: Callable[[], float]) -> None:
        self.is_full = False
        self.delay = delay
        self._name = f"file:/tocsin-simulation-{next(_names)}?vfs=memdb"
        self._keeps_it = self._connect()
        _template(schema).backup(self._keeps_it)
        self._idle: dict[Process, list[sqlite3.Connection]] = {}
        self._taken: dict[Process, set[sqlite3.Connection]] = {}
        self._in_use: dict[Process, WeakSet[PoolProxiedConnection]] = {}

    def open(self, process: Process) -> None:
        """The process is the one that uses it from now on."""
        process.store = self
        self._idle[process], self._taken[process] = [], set()
        self._in_use[process] = WeakSet()
        process.on_death.append(lambda: self._let_go(process))

    def take(self, process: Process) -> sqlite3.Connection:
        """A connection for the process."""
        if process.is_dead:
            raise asyncio.CancelledError
        idle = self._idle[process]
        raw = idle.pop() if idle else self._connect()
        self._taken[process].add(raw)
        return raw

    def give_back(self, process: Process, raw: sqlite3.Connection) -> None:
        """The process does without it."""
        if not process.is_dead:
            self._taken[process].discard(raw)
            self._idle[process].append(raw)

    def lend(self, process: Process, connection: PoolProxiedConnection) -> None:
        """SQLAlchemy's pool has handed this out to the process."""
        if not process.is_dead:
            self._in_use[process].add(connection)

    def _let_go(self, process: Process) -> None:
        """What was not committed never was."""
        for raw in (*self._taken.pop(process), *self._idle.pop(process)):
            raw.close()
        for connection in list(self._in_use.pop(process)):
            connection.detach()  # nobody else would tell the pool that it does not come back

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds now."""
        return self._keeps_it.execute(query).fetchall()

    def close(self) -> None:
        """It is gone."""
        self._keeps_it.close()

    def _connect(self) -> sqlite3.Connection:
        raw = sqlite3.connect(self._name, uri=True, isolation_level=None, timeout=0)
        raw.execute("PRAGMA foreign_keys = ON")
        return raw


class MemoryDatabase(Database):
    """A sink's database on a `Store`. One engine serves all, so that SQL is compiled once."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema, "sqlite:///simulated")

    def _open(self, *, foreign_keys: bool) -> AsyncEngine:
        return _engine()

    async def migrate(self) -> None:
        """A `Store` is born with the newest schema."""
        await current().step()


@cache
def _engine() -> AsyncEngine:
    engine = create_async_engine(
        "sqlite+aiosqlite:///simulated", async_creator=_creator, poolclass=NullPool
    )

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    @event.listens_for(engine.sync_engine, "checkout")
    def _lent(_driver: object, _record: object, connection: PoolProxiedConnection) -> None:
        process = current()
        process.store.lend(process, connection)

    return engine


@cache
def _template(schema: Schema) -> sqlite3.Connection:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    database = MemoryDatabase(schema)
    with engine.begin() as connection:
        database._upgrade(connection)
    raw: sqlite3.Connection = engine.raw_connection().driver_connection  # type: ignore[assignment]
    return raw


async def _creator(*_: Any, **__: Any) -> "_Driver":
    process = current()
    return _Driver(process, process.store)


class _Driver:
    """What SQLAlchemy needs of an aiosqlite connection; it answers at once."""

    def __init__(self, process: Process, store: Store) -> None:
        self._process = process
        self._store = store
        self._connection = store.take(process)

    def cursor(self) -> "_Cursor":
        return _Cursor(self._process, self._store, self._connection.cursor())

    async def create_function(self, *given: Any, **more: Any) -> None:
        self._connection.create_function(*given, **more)

    async def commit(self) -> None:
        if self._process.is_dead or not self._connection.in_transaction:
            return
        await self._process.step()
        await _patiently(self._connection.commit)
        await self._process.step()

    async def rollback(self) -> None:
        if not self._process.is_dead:
            self._connection.rollback()

    async def close(self) -> None:
        if not self._process.is_dead:
            self._connection.rollback()
            self._store.give_back(self._process, self._connection)

    def stop(self) -> None:
        """Nothing to stop."""


class _Cursor:
    """What SQLAlchemy needs of an aiosqlite cursor."""

    def __init__(self, process: Process, store: Store, raw: sqlite3.Cursor) -> None:
        self._process = process
        self._store = store
        self._raw = raw
        self.arraysize = 1

    async def __aenter__(self) -> "_Cursor":
        return self

    @property
    def description(self) -> Any:
        return self._raw.description

    @property
    def rowcount(self) -> int:
        return self._raw.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._raw.lastrowid

    async def execute(self, operation: str, parameters: Any = ()) -> "_Cursor":
        if operation.startswith("BEGIN"):
            await self._begin(operation)
        else:
            self._raw.execute(operation, parameters)
        return self

    async def _begin(self, operation: str) -> None:
        await self._process.step()
        seconds = self._store.delay()
        if seconds:
            await asyncio.sleep(seconds)
            await self._process.step()
        if self._store.is_full and operation == "BEGIN IMMEDIATE":
            raise sqlite3.OperationalError("database or disk is full")
        await _patiently(lambda: self._raw.execute(operation))

    async def executemany(self, operation: str, parameters: Any) -> "_Cursor":
        self._raw.executemany(operation, parameters)
        return self

    async def fetchall(self) -> list[Any]:
        return self._raw.fetchall()

    async def close(self) -> None:
        if not self._process.is_dead:
            self._raw.close()


async def _patiently(action: Callable[[], object]) -> None:
    """SQLite sleeps while another connection writes; here the clock goes on instead."""
    while True:
        try:
            action()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            await asyncio.sleep(_BUSY_SECONDS)
        else:
            return
