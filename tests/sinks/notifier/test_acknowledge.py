"""The pages behind acknowledgement links, over real HTTP."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import uvicorn
from starlette.applications import Starlette

from schemas.configuration import Configuration, Recipient
from sinks.notifier import Notifier
from tests.sinks.examples import cpu_fault, cpu_incident, event
from tests.sinks.notifier.conftest import Bench, until

WEEK_SECONDS = 7 * 86_400


@asynccontextmanager
async def browser(notifier: Notifier) -> AsyncIterator[aiohttp.ClientSession]:
    """Serves the notifier's routes and gives a client of them."""
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=notifier.routes()), port=0, log_level="error")
    )
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session
    server.should_exit = True
    await serving


async def opened(bench: Bench, configuration: Configuration | None = None) -> tuple[Notifier, str]:
    """A notifier that has told of an incident, and the path of its link."""
    notifier = await bench.start(configuration)
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: bench.kafka.deliveries("sent"))
    found = re.search(r"Acknowledge: http://127\.0\.0\.1:8081(\S+)", bench.console.getvalue())
    assert found is not None
    return notifier, found.group(1)


async def test_opening_the_link_acts_on_nothing_and_the_button_acknowledges(bench: Bench) -> None:
    notifier, path = await opened(bench)
    async with browser(notifier) as session:
        for method in ("GET", "HEAD", "GET"):
            shown = await session.request(method, path)
            assert shown.status == 200
        page = await shown.text()
        assert "Acknowledge this incident?" in page
        assert "ts-order-service is out of CPU" in page
        assert bench.kafka.commands() == []
        done = await session.post(path, data={"name": "Ada Lovelace"})
        assert "You are on it" in await done.text()
    (command,) = bench.kafka.commands()
    assert command.type == "acknowledge"
    assert (command.incident_id, command.actor) == ("inc-cpu-01", "Ada Lovelace")
    assert command.issued_ms == bench.clock()
    await until(lambda: bench.kafka.deliveries("acknowledged"))
    assert bench.kafka.deliveries("acknowledged")[0].recipient == "console"


async def test_pressing_twice_gives_the_same_command_id(bench: Bench) -> None:
    notifier, path = await opened(bench)
    async with browser(notifier) as session:
        await session.post(path, data={"name": "Ada"})
        await session.post(path)
    first, second = bench.kafka.commands()
    assert first.id == second.id
    assert second.actor == "console"


async def test_after_a_reopening_an_acknowledgement_is_a_new_command(bench: Bench) -> None:
    notifier, path = await opened(bench)
    async with browser(notifier) as session:
        await session.post(path)
        await bench.feed(notifier, event(cpu_incident(version=2, reopened=1), "reopened"))
        await session.post(path)
    first, second = bench.kafka.commands()
    assert first.id != second.id


async def test_after_it_was_given_back_an_acknowledgement_is_a_new_command(bench: Bench) -> None:
    notifier, path = await opened(bench)
    had = cpu_incident(version=2, acknowledged_by="ada", acknowledged_ms=bench.clock())
    async with browser(notifier) as session:
        await session.post(path)
        await bench.feed(notifier, event(had, "acknowledged", actor="ada"))
        await bench.feed(notifier, event(cpu_incident(version=3), "unacknowledged"))
        await session.post(path)
        await bench.feed(notifier, event(cpu_incident(version=4), "updated"))
        await session.post(path)
    first, second, repeat = bench.kafka.commands()
    assert first.id != second.id
    assert second.id == repeat.id


async def test_a_resolved_incident_says_so_and_takes_nothing(bench: Bench) -> None:
    notifier, path = await opened(bench)
    await bench.feed(notifier, cpu_fault()[3])
    async with browser(notifier) as session:
        page = await (await session.get(path)).text()
        answer = await (await session.post(path)).text()
    assert "This incident is resolved" in page
    assert "29 August 2022, 02:45 UTC" in page
    assert "This incident is resolved" in answer
    assert bench.kafka.commands() == []


async def test_an_incident_that_somebody_has_says_who(bench: Bench) -> None:
    notifier, path = await opened(bench)
    await bench.feed(notifier, cpu_fault()[2])
    async with browser(notifier) as session:
        page = await (await session.post(path)).text()
    assert "ada is already on it" in page
    assert bench.kafka.commands() == []


@pytest.mark.parametrize(
    ("code", "zone", "asked", "pressed", "moment"),
    [
        ("de", "Europe/Berlin", "Diese Störung übernehmen?", "Sie haben übernommen", "04:35 MESZ"),
        ("fr", "Europe/Paris", "Prendre en charge cet incident", "pris l’incident", "04:35 CEST"),
    ],
)
async def test_the_pages_speak_the_language_of_who_got_the_link_and_their_time(
    bench: Bench, code: str, zone: str, asked: str, pressed: str, moment: str
) -> None:
    ada = Recipient(name="console", channel="console", language=code, time_zone=zone)
    notifier = await bench.start(bench.configuration(recipients=(ada,)))
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: bench.kafka.deliveries("sent"))
    found = re.search(r"8081(/acknowledge/\S+)", bench.console.getvalue())
    assert found is not None
    async with browser(notifier) as session:
        page = await (await session.get(found.group(1))).text()
        done = await (await session.post(found.group(1), data={"name": "Ada"})).text()
    assert f'lang="{code}"' in page
    assert asked in page
    assert moment in page
    assert "is out of CPU" not in page
    assert pressed in done


async def test_a_broken_link_speaks_the_language_of_the_browser(bench: Bench) -> None:
    notifier, path = await opened(bench)
    async with browser(notifier) as session:
        for header, says in (
            ("fr-CH, en;q=0.8", "Ce lien ne fonctionne pas"),
            ("xx, de;q=0.9", "Dieser Link funktioniert nicht"),
            ("xx", "This link does not work"),
        ):
            answer = await session.get(path[:-2] + "xx", headers={"Accept-Language": header})
            assert says in await answer.text()


async def test_an_old_link_is_too_old_and_a_changed_one_does_not_work(bench: Bench) -> None:
    notifier, path = await opened(bench)
    async with browser(notifier) as session:
        changed = await session.post(path[:-2] + "xx")
        assert changed.status == 404
        assert "This link does not work" in await changed.text()
        bench.clock.advance(WEEK_SECONDS + 2)
        old = await session.post(path)
        assert old.status == 410
        assert "This link is too old" in await old.text()
    assert bench.kafka.commands() == []


async def test_without_kafka_the_person_is_told_that_it_did_not_work(bench: Bench) -> None:
    notifier, path = await opened(bench)
    bench.kafka.down = True
    async with browser(notifier) as session:
        answer = await session.post(path)
        assert answer.status == 503
        assert "Not acknowledged" in await answer.text()
        bench.kafka.down = False
        again = await session.post(path)
        assert again.status == 200
    assert len(bench.kafka.commands()) == 1


async def test_links_work_over_a_restart_without_a_configured_key(bench: Bench) -> None:
    _, path = await opened(bench)
    await bench.crash()
    again = await bench.start()
    async with browser(again) as session:
        assert (await session.get(path)).status == 200


async def test_pages_are_safe_against_what_telemetry_says_and_load_nothing(bench: Bench) -> None:
    notifier = await bench.start()
    evil = "</title><script>alert(1)</script>"
    await bench.feed(notifier, event(cpu_incident(title=evil), "opened"))
    await until(lambda: bench.kafka.deliveries("sent"))
    found = re.search(r"8081(/acknowledge/\S+)", bench.console.getvalue())
    assert found is not None
    async with browser(notifier) as session:
        answer = await session.get(found.group(1))
        page = await answer.text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("audience", ["manager", "support", "customer"])
async def test_only_engineers_get_links_that_acknowledge(bench: Bench, audience: str) -> None:
    recipient = Recipient(name="desk", channel="console", audience=audience)  # type: ignore[arg-type]
    notifier = await bench.start(bench.configuration(recipients=(recipient,)))
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: bench.kafka.deliveries("sent"))
    assert "/acknowledge/" not in bench.console.getvalue()
