"""Whatever a stranger asks of any process, nothing changes: not on Kafka, not in a store."""

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from deploy.admin import Health, HttpServer, admin_app
from schemas import configuration as c
from sinks.case_store import CaseStore
from sinks.notifier import Notifier
from sinks.playbooks import PlaybookRunner
from sinks.sink import Record, Sink
from sinks.status_page import StatusPage
from tests.sinks.examples import cpu_incident, event

INCIDENT = "INC-7M2K9QXD"
NOW_MS = 1_790_000_000_000
TOKEN = "a token of thirty two characters"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
COMMAND = {"type": "resolve", "actor": "mallory", "text": "gone"}
REPORT = {"actor": "mallory", "service": "cart", "text": "it is broken"}
ALERT = {"status": "firing", "labels": {"service": "cart", "alertname": "Down"}}
PRESSED = {"actions": [{"action_id": "tocsin_resolve", "value": INCIDENT}], "trigger_id": "1"}
FORM = {**COMMAND, "service": "cart", "token": "", "version": 1, "payload": json.dumps(PRESSED)}
BODIES: tuple[tuple[str, bytes], ...] = (
    ("application/json", json.dumps(COMMAND).encode()),
    ("application/json", json.dumps(REPORT).encode()),
    ("application/json", json.dumps({"alerts": [ALERT]}).encode()),
    ("application/json", json.dumps([None]).encode()),
    ("application/x-www-form-urlencoded", urlencode(FORM).encode()),
    ("text/plain", b""),
)
"""What would change something if it came with the right token, and what means nothing."""
WITH_TOKEN: dict[str, Any] = {
    f"/api/v1/incidents/{INCIDENT}/commands": COMMAND,
    "/api/v1/reports": REPORT,
    "/api/v1/alerts": {"alerts": [ALERT]},
}
FORGED: tuple[Mapping[str, str], ...] = (
    {},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer wrong"},
    {"Authorization": "HMAC d3Jvbmc=", "X-Slack-Signature": "v0=0"},
    {"Cookie": "session=wrong; tocsin=wrong", "Origin": "https://evil.example.org"},
)


class World:
    """The processes' pages on one address each, what they published, and what they store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.published: list[tuple[str, bytes]] = []

    async def publish(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        await asyncio.sleep(0)
        self.published.append((topic, value))

    def stored(self) -> dict[str, list[str]]:
        """All that is in the stores."""
        found: dict[str, list[str]] = {}
        for file in sorted(self.folder.glob("*.sqlite3")):
            with sqlite3.connect(file) as store:
                found[file.name] = list(store.iterdump())
        return found


def configuration(folder: Path, *, token: bool = True) -> c.Configuration:
    secret = c.Secret(env="TOKEN") if token else None
    slack = c.SlackChannel(token=c.Secret(env="TOKEN"), signing_secret=c.Secret(env="TOKEN"))
    bot = c.TeamsBot(
        tenant="t", app_id="a", team="g", password=c.Secret(env="TOKEN"),
        keys_url="http://127.0.0.1:9/keys",
    )  # fmt: skip
    return c.Configuration(
        catalogue=c.Catalogue(services=(c.Service(name="cart", public_name="Cart"),)),
        notifier=c.Notifier(
            store=f"sqlite:///{folder}/notifier.sqlite3",
            channels=c.Channels(slack=slack, teams_bot=bot, teams_secret=c.Secret(env="BASE64")),
        ),
        case_store=c.CaseStore(store=f"sqlite:///{folder}/cases.sqlite3", token=secret),
        status_page=c.StatusPage(store=f"sqlite:///{folder}/page.sqlite3"),
        playbooks=c.Playbooks(store=f"sqlite:///{folder}/playbooks.sqlite3"),
    )


def sinks(world: World, settings: c.Configuration) -> list[Sink]:
    values = {"TOKEN": TOKEN, "BASE64": "d3Jvbmc="}
    given: dict[str, Any] = {
        "resolve": lambda secret: values[secret.env or ""],
        "now_ms": lambda: NOW_MS,
    }
    return [
        Notifier(settings, publish=world.publish, **given),
        CaseStore(settings, publish=world.publish, **given),
        StatusPage(settings, **given),
        PlaybookRunner(settings, publish=world.publish, **given),
    ]


@asynccontextmanager
async def serving(routes: Sequence[BaseRoute]) -> AsyncIterator[aiohttp.ClientSession]:
    app = admin_app(Health(), routes)
    server = HttpServer(Starlette(routes=app.routes), c.Listen(port=0))
    await server.start()
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(server.url, cookie_jar=jar) as session:
        yield session
    await server.stop()


def path_of(route: Route) -> str:
    """The route's path for something that there is, with tokens that nobody gave out."""
    values = {"number": "1", "incident_id": INCIDENT, "name": "1", "document": "summary.json"}
    return re.sub(r"{(\w+)(:\w+)?}", lambda m: values.get(m[1], "forged"), route.path)


async def ask_all(session: aiohttp.ClientSession, routes: Sequence[BaseRoute]) -> dict[str, int]:
    """Every method on every route, with every forged header; how often each was asked."""
    asked: dict[str, int] = {}
    for route in routes:
        if isinstance(route, Mount):
            assert isinstance(route.app, StaticFiles)  # files that ship, to be read alone
            continue
        assert isinstance(route, Route), f"{route} is of a kind that this walk does not know"
        for method in METHODS:
            for kind, body in BODIES if method == "POST" else BODIES[:1]:
                for forged in FORGED:
                    headers = {"Content-Type": kind, **forged}
                    async with session.request(
                        method, path_of(route), data=body, headers=headers, allow_redirects=False
                    ) as answer:
                        await answer.read()
                        assert answer.status != 500, (method, route.path, body, forged)
                        asked[route.path] = asked.get(route.path, 0) + 1
    return asked


async def filled(made: Sequence[Sink]) -> None:
    """An open incident in every store."""
    opened = event(cpu_incident(id=INCIDENT), "opened")
    for sink in made:
        await sink.start()
        record = Record(
            topic="tocsin.incident-events.v1",
            partition=0,
            offset=0,
            timestamp_ms=NOW_MS,
            key=INCIDENT.encode(),
            value=msgspec.json.encode(opened),
        )
        await sink.apply([record])
    await asyncio.sleep(0.2)  # the console's message is sent, and its delivery published


@pytest.mark.parametrize("token", [True, False])
async def test_no_stranger_changes_anything(tmp_path: Path, token: bool) -> None:
    world = World(tmp_path / "stores")
    world.folder.mkdir()
    made = sinks(world, configuration(world.folder, token=token))
    await filled(made)
    published, stored = list(world.published), world.stored()
    changing = set()
    for sink in made:
        routes = sink.routes()
        async with serving(routes) as session:
            asked = await ask_all(session, [*routes, *admin_app(Health()).routes])
        changing |= {r.path for r in routes if isinstance(r, Route) and "POST" in (r.methods or ())}
        assert set(asked) >= {route.path for route in routes if isinstance(route, Route)}
    assert len(changing) > 10  # the walk has met the doors that change something
    assert world.published == published
    assert world.stored() == stored
    for sink in made:
        await sink.stop()


async def test_who_has_the_token_may_so_that_the_walk_above_means_something(
    tmp_path: Path,
) -> None:
    world = World(tmp_path / "stores")
    world.folder.mkdir()
    made = sinks(world, configuration(world.folder))
    await filled(made)
    before = len(world.published)
    case_store = made[1]
    async with serving(case_store.routes()) as session:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        for path, body in WITH_TOKEN.items():
            async with session.post(path, json=body, headers=headers) as answer:
                assert answer.status in (200, 202), await answer.text()
    assert len(world.published) == before + len(WITH_TOKEN)
    for sink in made:
        await sink.stop()


OFFERED = 64
"""Mebibytes."""


async def offer(session: aiohttp.ClientSession, path: str, **headers: str) -> tuple[int, int]:
    """Offers an endless body; the answer's status (0 if cut off) and the bytes that were taken."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(OFFERED * 16):
            yield b"x" * 65_536
            taken += 65_536

    try:
        async with session.post(path, data=endless(), headers=headers) as answer:
            return answer.status, taken
    except aiohttp.ClientError:  # answered before all was sent, and closed
        return 0, taken


@pytest.mark.parametrize("authorization", ["", f"Bearer {TOKEN}"])
async def test_no_door_takes_an_endless_body(tmp_path: Path, authorization: str) -> None:
    world = World(tmp_path / "stores")
    world.folder.mkdir()
    made = sinks(world, configuration(world.folder))
    await filled(made)
    published, met = list(world.published), 0
    for sink in made:
        async with serving(sink.routes()) as session:
            for route in sink.routes():
                if isinstance(route, Route) and "POST" in (route.methods or ()):
                    headers = {"Authorization": authorization} if authorization else {}
                    status, taken = await offer(session, path_of(route), **headers)
                    # What is on its way fills the sockets' buffers, which no door can help.
                    assert taken < OFFERED * 2**20 / 4, (route.path, status, taken)
                    assert status < 500, route.path
                    met += 1
    assert met > 10
    assert world.published == published
    for sink in made:
        await sink.stop()
