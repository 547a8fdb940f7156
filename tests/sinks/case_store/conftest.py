"""A case store on SQLite and, where marked, on PostgreSQL; served over HTTP as the host does."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette

from schemas import configuration as c
from schemas.incidents import Command
from sinks.case_store import CaseStore

TOKEN = "a token of thirty two characters"
READ_TOKEN = "a token for those who only look"
NOW_MS = 1_790_000_000_000
CATALOGUE = c.Catalogue(
    services=(
        c.Service(name="cart", public_name="Shopping cart", public_names={"de": "Warenkorb"}),
        c.Service(name="orders", public_name="Orders"),
    )
)


@dataclass
class Commands:
    """Kafka, as far as the case store knows it: takes records, or refuses as if it were away."""

    sent: list[Command] = field(default_factory=list)
    topics: list[tuple[str, str]] = field(default_factory=list)
    away: bool = False

    async def __call__(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise ConnectionError("the broker is away")
        self.topics.append((topic, key))
        self.sent.append(msgspec.json.decode(value, type=Command))


Make = Callable[..., CaseStore]


@pytest.fixture
def commands() -> Commands:
    """What was published."""
    return Commands()


@pytest.fixture
def make(commands: Commands) -> Make:
    """Makes a case store over a URL."""

    def _make(
        url: str, token: str | None = TOKEN, read_token: str | None = None, **settings: object
    ) -> CaseStore:
        section = c.CaseStore(
            store=url,
            token=c.Secret(env="TOKEN") if token else None,
            read_token=c.Secret(env="READ_TOKEN") if read_token is not None else None,
        )
        section = msgspec.structs.replace(section, **settings)
        values = {"TOKEN": token or "", "READ_TOKEN": read_token or ""}
        return CaseStore(
            c.Configuration(case_store=section, catalogue=CATALOGUE),
            resolve=lambda secret: values[secret.env or ""],
            publish=commands,
            now_ms=lambda: NOW_MS,
        )

    return _make


@pytest.fixture
async def store(store_url: str, make: Make) -> AsyncIterator[CaseStore]:
    """A started case store of each kind."""
    store = make(store_url)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
async def sqlite_store(sqlite_url: str, make: Make) -> AsyncIterator[CaseStore]:
    """A started case store on SQLite, for what does not depend on the database."""
    store = make(sqlite_url)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
async def client(sqlite_store: CaseStore) -> AsyncIterator[aiohttp.ClientSession]:
    """Someone in front of the pages and the API."""
    async with serving(sqlite_store) as session:
        yield session


@pytest.fixture
async def closed_client(
    sqlite_store: CaseStore, sqlite_url: str, make: Make
) -> AsyncIterator[aiohttp.ClientSession]:
    """Someone in front of the same cases, where reading needs a token."""
    async with serving(make(sqlite_url, read_token=READ_TOKEN)) as session:
        yield session


@contextlib.asynccontextmanager
async def serving(store: CaseStore) -> AsyncIterator[aiohttp.ClientSession]:
    """Serves the store's routes on a free port and gives a browser-like client for it."""
    config = uvicorn.Config(Starlette(routes=store.routes()), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # a request may come before the server has started; it waits
        port = listening.getsockname()[1]
        task = asyncio.create_task(server.serve(sockets=[listening]))
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", cookie_jar=jar) as session:
            yield session
        server.should_exit = True
        await task
