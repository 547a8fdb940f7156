"""Headers, caching and overload, hostile text, and the feed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from prometheus_client import REGISTRY
from sqlalchemy.exc import OperationalError

from sinks.status_page.store import Store
from tests.sinks.examples import event
from tests.sinks.status_page.examples import (
    MINUTE_MS,
    NOW_MS,
    Clock,
    Running,
    configuration,
    incident,
    life,
    quarter,
    running,
    then,
)

ATOM = "{http://www.w3.org/2005/Atom}"
PATHS = ("/", "/history", "/incidents/INC-0006", "/history.atom", "/api/v2/summary.json")
HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> ]]> &amp; {{ 7*7 }}\n"
    "second line \x00\x1b[31m\u202egnp.exe🔥"
)


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(configuration(tmp_path / "page.sqlite3")) as started:
        await started.say(quarter())
        yield started


@pytest.mark.parametrize("path", PATHS)
async def test_an_unchanged_page_is_not_sent_twice(page: Running, path: str) -> None:
    first = await page.ask(path)
    assert "max-age=10" in first.headers["Cache-Control"]
    page.clock.now_ms += 3_000
    again = await page.ask(path, If_None_Match=first.headers["ETag"])
    assert (again.status, again.text) == (304, "")
    await page.say([then(quarter()[-1], "public_message", MINUTE_MS, public_message="More soon")])
    changed = await page.ask(path, If_None_Match=first.headers["ETag"])
    assert changed.status == 200


async def test_pages_forbid_scripts_and_everything_from_elsewhere(page: Running) -> None:
    for path in PATHS[:3]:
        answer = await page.ask(path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "<script" not in answer.text
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_any_site_may_read_the_json(page: Running) -> None:
    answer = await page.ask("/api/v2/status.json", Origin="https://elsewhere.example")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    before = await page.ask("/api/v2/status.json", "OPTIONS", Origin="https://elsewhere.example")
    assert before.status == 204
    assert "GET" in before.headers["Access-Control-Allow-Methods"]


async def test_head_is_answered_without_a_body(page: Running) -> None:
    answer = await page.ask("/", "HEAD")
    assert (answer.status, answer.text) == (200, "")
    assert int(answer.headers["Content-Length"]) > 1000


async def test_pages_are_compressed_for_those_who_ask(page: Running) -> None:
    small = await page.ask("/", "HEAD", Accept_Encoding="gzip")
    large = await page.ask("/", "HEAD", Accept_Encoding="identity")
    assert small.headers["Content-Encoding"] == "gzip"
    assert int(small.headers["Content-Length"]) * 4 < int(large.headers["Content-Length"])
    assert await page.text() == (await page.ask("/", Accept_Encoding="identity")).text


async def test_however_many_ask_the_store_is_read_once_a_second(
    page: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    read = Store.public_incidents

    async def counting(self: Store, since_ms: int) -> object:
        nonlocal reads
        reads += 1
        return await read(self, since_ms)

    monkeypatch.setattr(Store, "public_incidents", counting)
    page.clock.now_ms += 5_000
    await asyncio.gather(*(page.text(path) for path in PATHS * 20))
    assert reads == 1
    page.clock.now_ms += 999
    await page.text()
    assert reads == 1
    page.clock.now_ms += 1
    await page.text()
    assert reads == 2


async def test_the_last_good_page_stays_up_while_the_store_cannot_be_read(
    page: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await page.text()

    async def broken(self: Store, since_ms: int) -> object:
        raise OperationalError("select", {}, OSError("disk gone"))

    with monkeypatch.context() as now:
        now.setattr(Store, "public_incidents", broken)
        now.setattr(Store, "public_incident", broken)
        page.clock.now_ms += 60_000
        assert await page.text() == before
        assert (await page.ask("/incidents/INC-0999")).status == 503
    assert "Partial System Outage" in await page.text()


async def test_hostile_text_is_shown_as_text_everywhere(page: Running) -> None:
    opened = event(incident(7, public_message=HOSTILE), "opened")
    await page.say([opened])
    for path in ("/", "/history", "/incidents/INC-0007"):
        text = await page.text(path)
        assert "<script" not in text
        assert "<img" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "{{ 7*7 }}" in text
        assert not set("\x00\x1b\u202e") & set(text)
        assert "🔥" in text
    body = (await page.json("incidents/unresolved.json"))["incidents"][0]["incident_updates"][0]
    assert body["body"].startswith("<script>alert(1)</script>")
    feed = ElementTree.fromstring(await page.text("/history.atom"))
    content = feed.findtext(f"{ATOM}entry/{ATOM}content")
    assert content is not None
    assert "&lt;script&gt;" in content
    assert "<script" not in content


@pytest.mark.parametrize(
    "path",
    ["/incidents/%3Cscript%3E", "/incidents/..%2F..%2Fetc%2Fpasswd", "/incidents/" + "a" * 5000],
)
async def test_an_address_that_leads_nowhere_is_not_found(page: Running, path: str) -> None:
    answer = await page.ask(path)
    assert answer.status == 404
    assert "passwd" not in answer.text
    assert "<script" not in answer.text


async def test_the_feed_is_valid_atom_with_stable_ids(page: Running) -> None:
    answer = await page.ask("/history.atom")
    assert answer.headers["Content-Type"].startswith("application/atom+xml")
    feed = ElementTree.fromstring(answer.text)
    assert feed.tag == f"{ATOM}feed"
    for required in ("id", "title", "updated"):
        assert feed.findtext(ATOM + required)
    assert feed.findtext(f"{ATOM}author/{ATOM}name") == "Harbour Shop"
    links = {one.get("rel"): one.get("href") for one in feed.findall(f"{ATOM}link")}
    assert links["self"] == "https://status.harbour.example/history.atom"
    entries = feed.findall(f"{ATOM}entry")
    ids = [one.findtext(f"{ATOM}id") for one in entries]
    assert ids[0] == "tag:status.harbour.example,2026-12-02:incidents/INC-0006"
    assert len(set(ids)) == 6
    assert feed.findtext(f"{ATOM}updated") == entries[0].findtext(f"{ATOM}updated")

    await page.say([then(quarter()[-1], "public_message", MINUTE_MS, public_message="More soon")])
    later = ElementTree.fromstring(await page.text("/history.atom"))
    entry = later.find(f"{ATOM}entry")
    assert entry is not None
    assert entry.findtext(f"{ATOM}id") == ids[0]
    assert (entry.findtext(f"{ATOM}updated") or "") > (entries[0].findtext(f"{ATOM}updated") or "")
    assert "More soon" in (entry.findtext(f"{ATOM}content") or "")


async def test_an_empty_feed_is_valid_and_does_not_follow_the_wall_clock(tmp_path: Path) -> None:
    async with running(configuration(tmp_path / "page.sqlite3")) as page:
        feed = ElementTree.fromstring(await page.text("/history.atom"))
    assert feed.findtext(f"{ATOM}updated") == "2026-12-02T13:05:00+00:00"


async def test_a_page_behind_a_path_links_within_that_path(tmp_path: Path) -> None:
    settings = configuration(tmp_path / "page.sqlite3")
    section = msgspec.structs.replace(
        settings.status_page, public_url="https://harbour.example/status/"
    )
    settings = msgspec.structs.replace(settings, status_page=section)
    async with running(settings) as page:
        await page.say(life(incident())[:1])
        text = await page.text()
        [one] = (await page.json("incidents.json"))["incidents"]
    assert 'href="/status/incidents/INC-0001"' in text
    assert 'href="/history"' not in text
    assert one["shortlink"] == "https://harbour.example/status/incidents/INC-0001"


async def test_requests_open_incidents_and_delay_are_measured(tmp_path: Path) -> None:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"tocsin_status_page_{name}", labels) or 0.0

    found = value("requests_total", route="front", status="200")
    missed = value("requests_total", route="incident", status="404")
    delays = value("publish_delay_seconds_count")
    seconds = value("publish_delay_seconds_sum")
    clock = Clock(NOW_MS - 19 * MINUTE_MS + 2_500)
    async with running(configuration(tmp_path / "page.sqlite3"), clock) as page:
        await page.say(life(incident())[:1])
        await page.text()
        await page.ask("/incidents/INC-0404")
        assert value("open_incidents") == 1
    assert value("requests_total", route="front", status="200") == found + 1
    assert value("requests_total", route="incident", status="404") == missed + 1
    assert value("publish_delay_seconds_count") == delays + 1
    assert value("publish_delay_seconds_sum") == pytest.approx(seconds + 2.5)


async def test_a_promise_that_was_not_kept_is_shown_as_late_and_not_moved(tmp_path: Path) -> None:
    async with running(configuration(tmp_path / "page.sqlite3")) as page:
        opened = life(incident(severity="P1", started_ms=NOW_MS - MINUTE_MS))[0]
        await page.say([opened])
        kept = await page.text()
        assert "Next update by" in kept
        promised = kept.split('Next update by <time datetime="')[1][:16]
        page.clock.now_ms += 60 * MINUTE_MS
        for path in ("/", f"/incidents/{opened.incident_id}"):
            late = await page.text(path)
            assert "Update was due by" in late
            assert f'<time datetime="{promised}' in late.split("Update was due by")[1]
            assert "late" in late
        page.clock.now_ms += 24 * 60 * MINUTE_MS
        assert f'<time datetime="{promised}' in (await page.text()).split("Update was due by")[1]
        await page.say([then(opened, "no_change", 61 * MINUTE_MS)])
        page.clock.now_ms = opened.time_ms + 62 * MINUTE_MS
        assert "Update was due by" not in await page.text()
