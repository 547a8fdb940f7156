"""The page as a sink: repeats, restarts, order, retraction, and what may not be shown."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from schemas.configuration import Catalogue, Component, Secret, Service
from sinks.status_page.components import ComponentError
from sinks.status_page.incident import PublicIncident
from sinks.status_page.store import Store, Transaction
from tests.sinks.conftest import new_database
from tests.sinks.examples import NO_EVENTS, cpu_fault, dropped, event, network_fault, record
from tests.sinks.status_page.examples import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    NOW_MS,
    Clock,
    Running,
    configuration,
    incident,
    life,
    page_of,
    quarter,
    running,
    then,
)

DOCUMENTS = ("summary.json", "components.json", "incidents.json", "incidents/unresolved.json")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "var" / "page.sqlite3"


async def everything(page: Running) -> list[str]:
    """All that can be read at once."""
    paths = ["/", "/history", "/history.atom", *(f"/api/v2/{name}" for name in DOCUMENTS)]
    return [await page.text(path) for path in paths]


async def test_an_incident_is_on_the_page_as_soon_as_its_event_is_applied(store: Path) -> None:
    async with running(configuration(store)) as page:
        assert "All Systems Operational" in await page.text()
        await page.say([event(incident(), "opened")])
        text = await page.text()
    assert "Partial System Outage" in text
    assert "Errors on Checkout" in text
    assert "Since 12:45 UTC, some customers have been seeing errors when using Checkout." in text


async def test_repeated_records_change_nothing(store: Path) -> None:
    async with running(configuration(store)) as page:
        await page.say(quarter())
        before = await everything(page)
        positions = await page.page.positions()
        await page.page.apply(page.last)
        await page.page.apply(page.last[3:9])
        assert await everything(page) == before
        assert await page.page.positions() == positions


async def test_the_same_events_at_new_offsets_change_nothing_but_the_position(store: Path) -> None:
    async with running(configuration(store)) as page:
        await page.say(quarter())
        before = await everything(page)
        await page.say(quarter())
        assert await everything(page) == before
        assert await page.page.positions() == {("tocsin.incident-events.v1", 0): page.offset}


async def test_an_older_version_never_replaces_a_newer_one(store: Path) -> None:
    first, found, watched, resolved = life(incident())
    async with running(configuration(store)) as page:
        await page.say([resolved])
        before = await everything(page)
        await page.say([first, watched, found])
        assert await everything(page) == before


async def test_a_restart_shows_the_same_page_and_goes_on_where_it_was(store: Path) -> None:
    events = quarter()
    async with running(configuration(store)) as page:
        await page.say(events[:11])
        before = await everything(page)
    async with running(configuration(store)) as page:
        assert await everything(page) == before
        assert await page.page.positions() == {("tocsin.incident-events.v1", 0): 11}
        await page.say(events[11:])
        resumed = await everything(page)
    async with running(configuration(store.with_name("at-once.sqlite3"))) as page:
        await page.say(events)
        assert await everything(page) == resumed


async def test_nothing_of_a_batch_is_kept_if_its_transaction_fails(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(configuration(store)) as page:
        before = await everything(page)
        with monkeypatch.context() as broken:
            broken.setattr("sinks.status_page.store.Transaction.save", _fills_up())
            with pytest.raises(OSError, match="disk full"):
                await page.say(quarter())
        assert await page.page.positions() == {}
        assert await everything(page) == before


def _fills_up() -> Callable[[Transaction, PublicIncident], Awaitable[None]]:
    """Saves twice, so that there is something to roll back."""
    save, left = Transaction.save, iter(range(2))

    async def saving(transaction: Transaction, incident: PublicIncident) -> None:
        if next(left, None) is None:
            raise OSError("disk full")
        await save(transaction, incident)

    return saving


async def test_an_internal_incident_is_never_shown_or_kept(store: Path) -> None:
    async with running(configuration(store)) as page:
        await page.say([event(incident(visibility="internal"), "opened")])
        assert "No open incidents" in await page.text()
        assert (await page.ask("/incidents/INC-0001")).status == 404
        assert (await page.json("incidents.json"))["incidents"] == []
    kept = await asyncio.to_thread(store.read_bytes)
    assert b"INC-0001" in kept
    assert b"checkout" not in kept


async def test_an_incident_that_turns_internal_is_taken_off_and_out_of_the_store(
    store: Path,
) -> None:
    opened = event(incident(public_message="Payments are failing, wording under review"), "opened")
    withdrawn = then(opened, "updated", MINUTE_MS, visibility="internal")
    async with running(configuration(store)) as page:
        await page.say([opened])
        assert "wording under review" in await page.text("/incidents/INC-0001")
        await page.say([withdrawn])
        for text in await everything(page):
            assert "INC-0001" not in text
            assert "wording under review" not in text
        assert (await page.ask("/incidents/INC-0001")).status == 404
        await page.say([opened])
        assert (await page.ask("/incidents/INC-0001")).status == 404
    kept = Store(f"sqlite:///{store}")
    await kept.open()
    async with kept.transaction() as transaction:
        left = await transaction.incident("INC-0001")
    await kept.close()
    assert left is not None
    assert (left.version, left.public, left.updates, left.name) == (2, False, (), "")


async def test_a_workaround_an_expected_end_and_the_reason_afterwards_are_on_the_page(
    store: Path,
) -> None:
    opened = event(incident(), "opened")
    around = then(opened, "workaround", MINUTE_MS, workaround="Pay by <telephone>.")
    expect = msgspec.structs.replace(
        then(around, "updated", MINUTE_MS, expected_resolution_ms=around.time_ms + HOUR_MS),
        changes={"expected to be over": "not known → by 14:00"},
    )
    over = then(expect, "resolved", HOUR_MS, state="resolved", public_phase="resolved")
    after = then(over, "follow_up", MINUTE_MS, reason="A disk was full.", solution="It is larger.")
    async with running(configuration(store)) as page:
        await page.say([opened, around, expect, over, after])
        text = await page.text("/incidents/INC-0001")
        [found] = (await page.json("incidents.json"))["incidents"]
    assert "What you can do in the meantime: Pay by &lt;telephone&gt;." in text
    assert "We expect the problem to be over by " in text
    assert "What happened: A disk was full." in text
    assert "What we did about it: It is larger." in text
    assert found["incident_updates"][0]["body"].startswith("What happened: A disk was full.")


async def test_an_incident_made_public_late_counts_from_its_first_anomaly(store: Path) -> None:
    hidden = event(incident(visibility="internal"), "opened")
    shown = then(hidden, "updated", 5 * MINUTE_MS, visibility="public")
    async with running(configuration(store)) as page:
        await page.say([hidden, shown])
        [found] = (await page.json("incidents.json"))["incidents"]
        uptime = await page.text()
    assert found["started_at"] == "2026-12-02T12:45:00.000Z"
    assert len(found["incident_updates"]) == 1
    assert "partial outage, 20 minutes" in uptime


async def test_an_incident_on_services_without_a_component_is_not_shown(store: Path) -> None:
    async with running(configuration(store)) as page:
        await page.say([event(incident(services=("ledger",)), "opened")])
        for text in await everything(page):
            assert "INC-0001" not in text


async def test_without_configured_components_public_services_of_the_catalogue_are_shown(
    store: Path,
) -> None:
    async with running(configuration(store, components=())) as page:
        await page.say([event(incident(services=("ledger", "checkout")), "opened")])
        components = (await page.json("components.json"))["components"]
        text = await page.text()
    assert [(one["name"], one["status"]) for one in components] == [("Ordering", "partial_outage")]
    assert "ledger" not in text


def test_services_of_the_same_public_name_are_one_component(store: Path) -> None:
    catalogue = Catalogue(
        services=(
            Service(name="gateway", public_name="Web shop"),
            Service(name="mailer", public_name="E-mail"),
            Service(name="frontend", public_name="Web shop"),
        )
    )
    settings = msgspec.structs.replace(configuration(store, ()), catalogue=catalogue)
    shop, mail = page_of(settings).components
    assert (shop.name, shop.services) == ("Web shop", frozenset({"gateway", "frontend"}))
    assert (mail.name, mail.services) == ("E-mail", frozenset({"mailer"}))


def test_two_components_of_one_name_are_a_mistake_that_says_how_to_mend_it(store: Path) -> None:
    twice = (Component(name="Shop", services=("a",)), Component(name="Shop", services=("b",)))
    with pytest.raises(ComponentError, match="'Shop' stands there twice; merge"):
        page_of(configuration(store, twice))


def test_the_password_of_its_store_is_a_secret(store: Path) -> None:
    settings = configuration(store)
    section = msgspec.structs.replace(
        settings.status_page, store="postgresql://page@db/x", store_password=Secret(env="PASSWORD")
    )
    page = page_of(msgspec.structs.replace(settings, status_page=section))
    assert page._store._database.url.password == "PASSWORD"


async def test_nothing_internal_of_a_whole_life_reaches_any_page(store: Path) -> None:
    internal = (
        "internal",
        "secret",
        "node-3",
        "7f9c",
        "10.1.2.3",
        "9.87654",
        "ledger",
        "checkout-",
        "error_ratio",
    )
    async with running(configuration(store)) as page:
        await page.say(life(incident(services=("checkout", "payment", "ledger"))))
        texts = [*await everything(page), await page.text("/incidents/INC-0001")]
    for text in texts:
        assert [word for word in internal if word in text] == []


async def test_recorded_faults_show_the_public_one_and_not_the_internal_one(store: Path) -> None:
    components = (
        Component(name="Orders", services=("ts-order-service",)),
        Component(name="Basket", services=("cartservice",)),
    )
    clock = Clock(cpu_fault()[-1].time_ms + MINUTE_MS)
    async with running(configuration(store, components), clock) as page:
        await page.say([*cpu_fault(), *network_fault()])
        found = (await page.json("incidents.json"))["incidents"]
    assert [(one["name"], one["status"]) for one in found] == [
        ("Slow responses on Orders", "resolved")
    ]


async def test_records_that_are_no_incident_events_are_passed_over(store: Path) -> None:
    opened = event(incident(), "opened")
    good = record(opened, len(NO_EVENTS) + 1)
    elsewhere = event(
        msgspec.structs.replace(opened.incident, id="INC-0009", environment="staging"), "opened"
    )
    before = dropped("status-page")
    async with running(configuration(store)) as page:
        await page.page.apply(
            [
                *(replace(good, offset=i, value=value) for i, value in enumerate(NO_EVENTS)),
                record(elsewhere, len(NO_EVENTS)),
                good,
            ]
        )
        found = (await page.json("incidents.json"))["incidents"]
        assert await page.page.positions() == {(good.topic, 0): len(NO_EVENTS) + 2}
    assert [one["id"] for one in found] == ["INC-0001"]
    assert dropped("status-page") - before == {
        "no_value": 1,
        "malformed": len(NO_EVENTS) - 1,
        "other_environment": 1,
    }


async def test_an_incident_from_before_the_history_keeps_its_address(store: Path) -> None:
    clock = Clock()
    async with running(configuration(store), clock) as page:
        await page.say(life(incident()))
        clock.now_ms = NOW_MS + 200 * DAY_MS
        assert "INC-0001" not in await page.text("/history")
        assert "Errors on Checkout" in await page.text("/incidents/INC-0001")


@pytest.mark.postgres
async def test_on_postgresql_the_page_is_the_same_as_on_sqlite(
    store: Path, postgres_url: str
) -> None:
    settings = configuration(store)
    section = msgspec.structs.replace(
        settings.status_page, store=new_database(postgres_url, "status_page")
    )
    events = quarter()
    async with running(settings) as page:
        await page.say(events)
        expected = await everything(page)
    for part in (events[:9], events[9:]):
        async with running(msgspec.structs.replace(settings, status_page=section)) as page:
            await page.say(part)
            await page.page.apply(page.last)
            shown = await everything(page)
            assert await page.page.positions() == {("tocsin.incident-events.v1", 0): page.offset}
    assert shown == expected
