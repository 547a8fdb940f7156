"""Health, readiness and metrics over HTTP."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route

from deploy.admin import Health, HttpServer, ListenError, admin_app
from schemas.configuration import Listen


@asynccontextmanager
async def served(
    health: Health,
    routes: Sequence[BaseRoute] = (),
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[aiohttp.ClientSession]:
    server = HttpServer(admin_app(health, routes, registry or CollectorRegistry()), Listen())
    await server.start()
    try:
        async with aiohttp.ClientSession(server.url) as session:
            yield session
    finally:
        await server.stop()


async def test_a_process_that_waits_is_alive_but_not_ready_and_says_why() -> None:
    health = Health(broker="not connected yet")
    async with served(health) as session:
        async with session.get("/health/live") as live, session.get("/health/ready") as ready:
            assert live.status == 200
            assert ready.status == 503
            assert (await ready.json())["reasons"] == {"broker": "not connected yet"}
        health.good("broker")
        async with session.get("/health/ready") as ready:
            assert ready.status == 200
            assert await ready.json() == {"status": "ready", "reasons": {}}


async def test_a_process_that_cannot_go_on_is_not_alive() -> None:
    health = Health()
    health.fail("the store is broken")
    async with served(health) as session:
        for path in ("/health/live", "/health/ready"):
            async with session.get(path) as answer:
                assert answer.status == 503
                assert (await answer.json())["reasons"] == {"process": "the store is broken"}


async def test_metrics_say_what_health_says() -> None:
    health = Health(broker="not connected yet")
    async with served(health, registry=REGISTRY) as session:
        async with session.get("/metrics") as answer:
            text = await answer.text()
        assert "tocsin_live 1.0" in text
        assert "tocsin_ready 0.0" in text
        health.good("broker")
        async with session.get("/metrics") as answer:
            assert "tocsin_ready 1.0" in await answer.text()


async def test_metrics_are_in_the_format_that_prometheus_reads() -> None:
    registry = CollectorRegistry()
    Counter("tocsin_things_total", "Things.", registry=registry).inc(3)
    async with served(Health(), registry=registry) as session, session.get("/metrics") as answer:
        assert "tocsin_things_total 3.0" in await answer.text()
        assert answer.headers["Content-Type"].startswith("text/plain")


async def test_own_pages_stand_beside_health_even_at_the_root() -> None:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"page {request.url.path}")

    root = Mount("/", routes=[Route("/{path:path}", page)])
    async with served(Health(), [root]) as session:
        async with session.get("/anything") as answer:
            assert await answer.text() == "page /anything"
        async with session.get("/health/live") as answer:
            assert (await answer.json())["status"] == "live"


async def test_a_port_in_use_is_named() -> None:
    first = HttpServer(admin_app(Health()), Listen())
    await first.start()
    try:
        second = HttpServer(admin_app(Health()), Listen(port=first.port))
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{first.port}.*another process"):
            await second.start()
    finally:
        await first.stop()
