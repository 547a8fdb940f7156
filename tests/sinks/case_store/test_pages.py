"""What people see and do on the pages, and who may do it."""

import asyncio
import re
from html import unescape

import aiohttp
import msgspec
import pytest

from schemas.anomalies import Forecast
from schemas.classification import Classification, GradingStep
from schemas.incidents import Bar, Prediction, Proposal
from schemas.outlook import Guess, Outlook
from sinks.case_store import CaseStore
from tests.sinks import examples
from tests.sinks.case_store.conftest import NOW_MS, READ_TOKEN, TOKEN, Commands, Make, serving


@pytest.fixture(autouse=True)
async def told(sqlite_store: CaseStore) -> None:
    """Both faults, the second one still open."""
    events = [*examples.cpu_fault(), *examples.network_fault()[:1]]
    deliveries = [
        examples.delivery(events[0], "asked", attempt=0),
        examples.delivery(events[0], "failed", detail="connection refused"),
        examples.delivery(events[0], "sent", attempt=2, time_ms=events[0].time_ms + 4000),
    ]
    await sqlite_store.apply([examples.record(e, i) for i, e in enumerate(events)])
    await sqlite_store.apply([examples.record(d, i) for i, d in enumerate(deliveries)])


async def text(client: aiohttp.ClientSession, path: str) -> str:
    """The page as it comes; it must be there."""
    async with client.get(path) as response:
        assert response.status == 200
        return await response.text()


async def sign_in(client: aiohttp.ClientSession, token: str = TOKEN) -> int:
    """Signs ada in; the status of the answer."""
    data = {"actor": "ada", "token": token, "next": "/cases/2"}
    async with client.post("/sign-in", data=data, allow_redirects=False) as response:
        return response.status


async def form(client: aiohttp.ClientSession, path: str, type: str) -> dict[str, str]:
    """The hidden fields of one form on a page."""
    page = await text(client, path)
    forms = re.findall(r'<form method="post" action="/cases/.*?</form>', page, re.DOTALL)
    own = next(f for f in forms if f'name="type" value="{type}"' in f)
    return {
        unescape(name): unescape(value)
        for name, value in re.findall(r'type="hidden" name="(.*?)" value="(.*?)"', own)
    }


async def post(client: aiohttp.ClientSession, data: dict[str, str], **headers: str) -> int:
    """Posts a form of case 2; the status of the answer."""
    async with client.post(
        "/cases/2/commands", data=data, headers=headers, allow_redirects=False
    ) as response:
        return response.status


async def test_the_list_shows_every_case_with_the_open_one_first(
    client: aiohttp.ClientSession,
) -> None:
    page = await text(client, "/")
    assert page.index("Calls from frontend") < page.index("ts-order-service is out of CPU")
    assert "2 cases" in page


async def test_a_case_says_why_it_was_opened_how_grave_it_is_and_who_was_told(
    client: aiohttp.ClientSession,
) -> None:
    page = unescape(await text(client, "/cases/1"))
    for part in (
        "0.97 where 0.00 to 0.06 was expected",
        "Read timed out after 5000 ms",
        "97 %",
        "0 % to 6 %",
        "requests of 1 minute",
        "impact 2 × urgency 1",
        "first to change",
        "81 %",
        "rule “everyone”",
        "2 attempts",
        "I am looking at it",
        "investigating → identified",
    ):
        assert part in page, part


async def test_a_case_says_what_closed_ones_teach_and_what_holds_it_back(
    client: aiohttp.ClientSession, sqlite_store: CaseStore
) -> None:
    incident = examples.cpu_incident(
        id="INC-LIKE",
        category="capacity",
        category_by="ada",
        reopened=2,
        flapping=True,
        silenced_by="backup/2026",
        silenced_until_ms=examples.CPU_START_MS,
        merged_into="INC-OTHER",
        outlook=Outlook(
            examples=34,
            category=Guess("capacity", 0.9),
            complexity=Guess("self_healing", 0.75),
            lasts_ms=720_000,
            lasts_from_ms=300_000,
            lasts_to_ms=2_400_000,
        ),
    )
    await sqlite_store.apply([examples.record(examples.event(incident, "opened"), 90)])
    page = unescape(await text(client, "/incidents/INC-LIKE"))
    for part in (
        "lasts about 12 min, four of five from 5 min to 40 min",
        "(such guesses were right in 90 %)",
        "recovery self healing",
        "learned from 34 closed incidents",
        "says ada",
        "flaps, reopened 2×",
        "by backup/2026",
        '<a href="/incidents/INC-OTHER">INC-OTHER</a>',
    ):
        assert part in page, part


async def test_a_case_is_classified_in_dimensions_each_with_its_arithmetic(
    client: aiohttp.ClientSession, sqlite_store: CaseStore
) -> None:
    count = GradingStep("failing", 400.0, "of 5,000 requests counted at cart", "2 of 3")
    incident = examples.cpu_incident(
        id="INC-SIZED",
        classification=Classification(
            technical="major", business="high", scope="instance", steps={"technical": (count,)}
        ),
    )
    await sqlite_store.apply([examples.record(examples.event(incident, "opened"), 90)])
    page = unescape(await text(client, "/incidents/INC-SIZED"))
    for part in (
        "Technical severity: <b>major</b>",
        "Business impact: <b>high</b>",
        "Scope: <b>instance</b>",
        "Recovery complexity: <b>not known</b>",
        "Expected duration: <b>not known</b>",
        "of 5,000 requests counted at cart",
    ):
        assert part in page, part
    assert "In dimensions" not in await text(client, "/cases/1")


async def test_a_case_says_what_became_of_its_forecast_and_what_feedback_changed(
    client: aiohttp.ClientSession, sqlite_store: CaseStore
) -> None:
    series = 'disk_used_ratio{service="orders"}'
    incident = examples.cpu_incident(
        id="INC-AHEAD",
        prediction=Prediction(
            status="withdrawn",
            service="orders",
            series=series,
            forecast=Forecast(1.0, 0, 0, withdrawn="it has fallen to 40 %"),
            reason="it has fallen to 40 %",
            came_true_before=9,
            withdrawn_before=3,
        ),
        false_alarm_by="ada",
        feedback=(
            Bar(
                service="orders",
                kind="error_ratio",
                measure="requests",
                shift=2.0,
                as_of_ms=0,
                reason="ada said that INC-1 was no incident",
            ),
        ),
    )
    await sqlite_store.apply([examples.record(examples.event(incident, "opened"), 90)])
    page = unescape(await text(client, "/incidents/INC-AHEAD"))
    for part in (
        "withdrawn",
        "it has fallen to 40 %",
        "of 12 forecasts before it, 9 came true",
        "says ada",
        "error ratio requests of orders opens from 2.0 higher",
        "ada said that INC-1 was no incident",
    ):
        assert part in page, part


async def test_a_case_says_what_customers_were_told_and_what_waits(
    client: aiohttp.ClientSession, sqlite_store: CaseStore
) -> None:
    told = examples.network_incident(
        id="INC-TOLD",
        category="network",
        public_message="Some carts load slowly.",
        workaround="Reload the page.",
        expected_resolution_ms=NOW_MS + 60_000,
        reason="A cable was cut.",
        solution="It was mended.",
        proposal=Proposal(kind="follow_up", text="A switch was at fault.", by="grace"),
        awaits_review=True,
    )
    opened = examples.event(told, "opened")
    promise = examples.delivery(
        opened, "scheduled", recipient="customers and support", channel="cadence", due_ms=NOW_MS
    )
    await sqlite_store.apply([examples.record(opened, 90), examples.record(promise, 91)])
    page = unescape(await text(client, "/cases/3"))
    for part in (
        "Calls lose time or are lost on the way",
        "A cable was cut.",
        "It was mended.",
        "Reload the page.",
        "Some carts load slowly.",
        "2026-09-21 14:14:20",
        "A switch was at fault.",
        "by grace; somebody else has to approve it",
        "Promised to customers and support by",
    ):
        assert part in page, part
    listed = await (await client.get("/api/v1/cases")).json()
    (found,) = [case for case in listed["cases"] if case["incident_id"] == "INC-TOLD"]
    wanted = ("category", "workaround", "reason", "solution", "expected_resolution_ms")
    assert [found[name] for name in wanted] == [
        "network",
        "Reload the page.",
        "A cable was cut.",
        "It was mended.",
        NOW_MS + 60_000,
    ]


async def test_a_case_of_which_nobody_has_said_anything_says_that(
    client: aiohttp.ClientSession,
) -> None:
    page = unescape(await text(client, "/cases/2"))
    account = page.split("Nature, reason and solution")[1].split("</section>")[0]
    assert account.count("Nobody has stated it yet") == 2
    assert "None is known." in account
    assert "Nobody has said yet." in account


async def test_customers_are_told_from_the_page_what_to_expect_and_why_it_was(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    await sign_in(client)
    expect = await form(client, "/cases/2", "expect")
    assert await post(client, expect | {"minutes": "45", "text": ""}) == 303
    conclude = await form(client, "/cases/2", "conclude")
    said = {"text": "A cable was cut.", "solution": "It was mended."}
    assert await post(client, conclude | said) == 303
    workaround = await form(client, "/cases/2", "workaround")
    assert await post(client, workaround | {"text": "Use the telephone."}) == 303
    made = [(c.type, c.text, c.solution, c.expected_ms) for c in commands.sent]
    assert made == [
        ("expect", "", "", NOW_MS + 45 * 60_000),
        ("conclude", "A cable was cut.", "It was mended.", None),
        ("workaround", "Use the telephone.", "", None),
    ]
    for minutes in ("", "soon", "-5", "0", "9" * 12, "²"):
        again = await form(client, "/cases/2", "expect")
        assert await post(client, again | {"minutes": minutes, "text": "x"}) == 422
    assert len(commands.sent) == 3


async def test_the_timeline_puts_a_delivery_after_its_event_and_before_later_ones(
    client: aiohttp.ClientSession,
) -> None:
    page = await text(client, "/cases/1")
    line = page[page.index('class="timeline"') :]
    places = [line.index(part) for part in ("<b>opened", "connection refused", "<b>updated")]
    assert places == sorted(places)
    assert "being sent" not in line


async def test_an_incident_leads_to_its_case(client: aiohttp.ClientSession) -> None:
    async with client.get("/incidents/inc-net-01", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/cases/2")


@pytest.mark.parametrize("path", ["/cases/99", "/cases/99999999999", "/incidents/none"])
async def test_a_case_that_is_not_there_is_said_so(
    client: aiohttp.ClientSession, path: str
) -> None:
    async with client.get(path) as response:
        assert response.status == 404
        assert "There is no such case" in await response.text()


@pytest.mark.parametrize("query", ["page=x", "page=-1", "page=9&state=open", "service=%00%27"])
async def test_a_strange_query_is_answered(client: aiohttp.ClientSession, query: str) -> None:
    assert "<h1>Cases</h1>" in await text(client, f"/cases?{query}")


async def test_hostile_telemetry_stays_text(
    client: aiohttp.ClientSession, sqlite_store: CaseStore
) -> None:
    evil = "\"><script>alert('x')</script><img src=x onerror=alert(1)>{{ 7*7 }}"
    replace = msgspec.structs.replace
    base = examples.cpu_incident()
    incident = examples.cpu_incident(
        id=evil,
        title=evil,
        summary=evil,
        services=(evil,),
        causes=(replace(base.causes[0], service=evil, evidence=(evil,)),),
        signals=(
            replace(
                base.signals[0],
                **dict.fromkeys(
                    ("service", "series", "reason", "instance", "operation", "caller", "example"),
                    evil,
                ),
            ),
        ),
        grading=replace(
            base.grading, steps=(replace(base.grading.steps[0], name=evil, source=evil),)
        ),
        impact=replace(base.impact, segments=(evil,), regions=(evil,)),
        public_message=evil,
        acknowledged_by=evil,
    )
    event = examples.event(incident, "opened", actor=evil, text=evil, changes={evil: evil})
    told = examples.delivery(event, "failed", recipient=evil, channel=evil, detail=evil)
    await sqlite_store.apply([examples.record(event, 90), examples.record(told, 90)])
    await sign_in(client)

    for path in ("/cases", "/cases/3"):
        async with client.get(path) as response:
            page = await response.text()
            policy = response.headers["Content-Security-Policy"]
        assert "&lt;script&gt;" in page
        assert "<script" not in page
        assert "<img" not in page
        assert "{{ 7*7 }}" in page
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert " style=" not in page


async def test_signed_out_there_are_no_forms_and_posting_changes_nothing(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    assert 'action="/cases/2/commands"' not in await text(client, "/cases/2")
    data = {"type": "resolve", "command_id": "x", "csrf": "x"}
    assert await post(client, data) == 401
    assert commands.sent == []


async def test_without_a_configured_token_nobody_gets_in(
    sqlite_url: str, make: Make, commands: Commands
) -> None:
    store = make(sqlite_url, token=None)
    await store.start()
    async with serving(store) as client:
        assert "no token is configured" in await text(client, "/cases/2")
        assert await sign_in(client, "") == 403
        assert await post(client, {"type": "resolve", "command_id": "x"}) == 401
    await store.stop()
    assert commands.sent == []


async def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(
    client: aiohttp.ClientSession,
) -> None:
    data = {"actor": "ada", "token": TOKEN, "next": "https://evil.example/"}
    async with client.post("/sign-in", data=data, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/cases")
        cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert TOKEN not in cookie


async def test_with_https_the_cookie_is_secure(sqlite_url: str, make: Make) -> None:
    store = make(sqlite_url, public_url="https://cases.example.com")
    await store.start()
    async with serving(store) as client:
        data = {"actor": "ada", "token": TOKEN}
        async with client.post("/sign-in", data=data, allow_redirects=False) as response:
            assert "Secure" in response.headers["Set-Cookie"]
    await store.stop()


@pytest.mark.parametrize(
    "token", ["", "wrong", TOKEN + "x", TOKEN[:-1], "é\udcff".encode(errors="replace").decode()]
)
async def test_a_wrong_token_signs_nobody_in(client: aiohttp.ClientSession, token: str) -> None:
    assert await sign_in(client, token) == 401
    assert "Sign out" not in await text(client, "/cases")


async def test_a_forged_cookie_and_one_of_another_token_are_nobody(
    client: aiohttp.ClientSession, sqlite_url: str, make: Make
) -> None:
    await sign_in(client)
    cookie = next(iter(client.cookie_jar)).value
    name = next(iter(client.cookie_jar)).key
    for forged in (cookie[:-2] + "AA", "x", ""):
        client.cookie_jar.clear()
        async with client.get("/cases", headers={"Cookie": f"{name}={forged}"}) as response:
            assert "Sign out" not in await response.text()
    other = make(sqlite_url, token="another token")
    await other.start()
    async with (
        serving(other) as session,
        session.get("/cases", headers={"Cookie": f"{name}={cookie}"}) as response,
    ):
        assert "Sign out" not in await response.text()
    await other.stop()


@pytest.mark.parametrize(
    "path", ["/cases", "/cases?state=open", "/cases/2", "/cases/99", "/incidents/inc-net-01"]
)
async def test_with_a_token_for_reading_pages_ask_for_a_sign_in_and_lead_back(
    closed_client: aiohttp.ClientSession, path: str
) -> None:
    async with closed_client.get(path) as response:
        page = await response.text()
    assert response.url.path == "/sign-in"
    assert f'name="next" value="{path}"' in page
    assert "cartservice" not in page
    assert "Either token lets you read" in page


async def test_with_the_token_for_reading_one_sees_and_changes_nothing(
    closed_client: aiohttp.ClientSession, commands: Commands
) -> None:
    assert await sign_in(closed_client, "wrong") == 401
    assert await sign_in(closed_client, READ_TOKEN) == 303
    page = await text(closed_client, "/cases/2")
    assert "Calls from frontend" in page
    assert "(reading)" in page
    assert 'action="/cases/2/commands"' not in page
    csrf = re.findall(r'name="csrf" value="(.*?)"', page)[0]
    data = {"type": "resolve", "command_id": "x", "csrf": csrf}
    assert await post(closed_client, data) == 403
    assert commands.sent == []


async def test_who_reads_can_sign_in_with_the_other_token_and_change(
    closed_client: aiohttp.ClientSession, commands: Commands
) -> None:
    await sign_in(closed_client, READ_TOKEN)
    assert "case_store.token" in await text(closed_client, "/sign-in")
    await sign_in(closed_client, TOKEN)
    assert await post(closed_client, await form(closed_client, "/cases/2", "acknowledge")) == 303
    assert [command.type for command in commands.sent] == ["acknowledge"]


async def test_an_empty_token_for_reading_lets_nobody_read(sqlite_url: str, make: Make) -> None:
    async with serving(make(sqlite_url, token=None, read_token="")) as client:
        assert await sign_in(client, "") == 403
        async with client.get("/cases") as response:
            assert response.url.path == "/sign-in"
        async with client.get("/api/v1/cases", headers={"Authorization": "Bearer "}) as response:
            assert response.status == 401


async def test_an_acknowledgement_goes_to_the_commands_topic_and_into_the_audit(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    assert await sign_in(client) == 303
    data = await form(client, "/cases/2", "acknowledge")
    assert await post(client, {**data, "text": "on it"}) == 303

    (command,) = commands.sent
    assert commands.topics == [("tocsin.commands.v1", "inc-net-01")]
    assert (command.type, command.actor, command.text) == ("acknowledge", "ada", "on it")
    assert (command.incident_id, command.id) == ("inc-net-01", data["command_id"])
    page = unescape(await text(client, "/cases/2"))
    assert "ada asked: <b>acknowledge</b>" in page
    assert "this page" in page


async def test_the_log_confirms_what_was_asked_on_the_page(
    client: aiohttp.ClientSession, commands: Commands, sqlite_store: CaseStore
) -> None:
    await sign_in(client)
    data = await form(client, "/cases/2", "acknowledge")
    await post(client, data)
    done = msgspec.structs.replace(
        examples.network_fault()[2], command_id=commands.sent[0].id, actor="ada"
    )
    await sqlite_store.apply([examples.record(done, 50)])
    page = await text(client, "/cases/2")
    assert "ada asked" not in page
    assert re.search(r"took effect.*?this page", page, re.DOTALL)
    assert 'value="acknowledge"' not in page


async def test_a_double_click_acts_once(client: aiohttp.ClientSession, commands: Commands) -> None:
    await sign_in(client)
    data = {**await form(client, "/cases/2", "note"), "text": "looking"}
    assert await asyncio.gather(*(post(client, data) for _ in range(3))) == [303, 303, 303]
    assert len(commands.sent) == 1


async def test_a_form_without_its_csrf_token_or_from_elsewhere_changes_nothing(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    await sign_in(client)
    data = {**await form(client, "/cases/2", "note"), "text": "x"}
    assert await post(client, {**data, "csrf": ""}) == 403
    assert await post(client, {**data, "csrf": data["csrf"][:-1]}) == 403
    assert await post(client, data, Origin="https://evil.example") == 403
    assert await post(client, data, Origin="null") == 403
    await sign_in(client)  # a new session; the old form is not of it
    assert await post(client, data) == 403
    assert commands.sent == []


async def test_what_was_typed_is_not_lost_when_it_cannot_be_taken(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    await sign_in(client)
    data = await form(client, "/cases/2", "public_message")
    long = {**data, "text": "word " * 900}
    async with client.post("/cases/2/commands", data=long) as response:
        assert response.status == 422
        assert "word word word" in await response.text()
    commands.away = True
    async with client.post("/cases/2/commands", data={**data, "text": "We are on it"}) as response:
        page = await response.text()
        assert response.status == 503
    assert "Kafka did not take the command" in page
    assert "We are on it</textarea>" in page
    assert f'value="{data["command_id"]}"' in page

    commands.away = False
    assert await post(client, {**data, "text": "We are on it"}) == 303
    assert [c.text for c in commands.sent] == ["We are on it"]
    assert "could not be sent" in await text(client, "/cases/2")


async def test_signing_out_ends_it(client: aiohttp.ClientSession) -> None:
    await sign_in(client)
    page = await text(client, "/cases")
    token = unescape(re.findall(r'name="csrf" value="(.*?)"', page)[0])
    async with client.post("/sign-out", data={"csrf": "x"}) as response:
        assert response.status == 403
    async with client.post("/sign-out", data={"csrf": token}) as response:
        assert response.status == 200
        assert "Sign in" in await response.text()


async def test_a_replay_is_said_to_be_one(
    client: aiohttp.ClientSession, sqlite_store: CaseStore
) -> None:
    event = examples.event(examples.cpu_incident(id="inc-old"), "opened")
    record = examples.record(event, 70)
    years_later = type(record)(
        **{
            **{f: getattr(record, f) for f in record.__slots__},
            "timestamp_ms": record.timestamp_ms + 10**11,
        }
    )
    await sqlite_store.apply([years_later])
    assert "(a replay)" in await text(client, "/cases/3")
    assert "(a replay)" not in await text(client, "/cases/1")


async def test_an_update_that_says_only_its_changes_says_them_once(
    client: aiohttp.ClientSession, sqlite_store: CaseStore
) -> None:
    incident = examples.network_incident(version=2, state="monitoring")
    said = {"state": "identified → monitoring", "signals": "1 → also web latency"}
    text_of_changes = "; ".join(f"{name}: {change}" for name, change in said.items()) + "."
    update = examples.event(incident, "updated", text=text_of_changes, changes=said)
    await sqlite_store.apply([examples.record(update, 60)])
    page = unescape(await text(client, "/cases/2"))
    assert page.count("identified → monitoring") == 1
    assert page.count("also web latency") == 1


async def test_how_long_it_lasted_ends_with_the_last_anomaly(
    client: aiohttp.ClientSession,
) -> None:
    page = await text(client, "/cases/1")
    assert "<dt>Lasted</dt><dd>2 min</dd>" in page
    page = await text(client, "/cases/2")
    assert "<dt>Open for</dt><dd>75 s</dd>" in page


async def test_a_long_timeline_is_folded_and_loses_no_line(
    client: aiohttp.ClientSession, sqlite_store: CaseStore
) -> None:
    updates = [
        examples.event(examples.network_incident(version=n), "updated", text=f"line {n}.")
        for n in range(2, 202)
    ]
    await sqlite_store.apply([examples.record(e, 100 + i) for i, e in enumerate(updates)])
    page = await text(client, "/cases/2")
    lines = [int(n) for n in re.findall(r"<p>line (\d+)\.</p>", page)]
    assert lines == list(range(2, 202))
    assert "141 more lines" in page
