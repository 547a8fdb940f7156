"""The JSON API: shapes, commands, and that only the token changes anything."""

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest

from schemas.incidents import Incident
from sinks.case_store import CaseStore
from tests.sinks import examples
from tests.sinks.case_store.conftest import NOW_MS, READ_TOKEN, TOKEN, Commands, Make, serving

BEARER = {"Authorization": f"Bearer {TOKEN}"}
COMMANDS = "/api/v1/incidents/inc-net-01/commands"


@pytest.fixture(autouse=True)
async def told(sqlite_store: CaseStore) -> None:
    """Both faults, the second one still open, and a delivery."""
    events = [*examples.cpu_fault(), *examples.network_fault()[:1]]
    await sqlite_store.apply([examples.record(e, i) for i, e in enumerate(events)])
    await sqlite_store.apply([examples.record(examples.delivery(events[0]), 0)])


async def get(client: aiohttp.ClientSession, path: str, status: int = 200) -> Any:
    """The answer as JSON."""
    async with client.get(path) as response:
        assert response.status == status
        return await response.json(content_type=None)


async def command(
    client: aiohttp.ClientSession, body: Any, headers: dict[str, str] = BEARER, path: str = COMMANDS
) -> tuple[int, Any]:
    """Posts a command; status and answer."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    async with client.post(path, data=data, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def test_the_list_has_what_a_script_needs(client: aiohttp.ClientSession) -> None:
    listing = await get(client, "/api/v1/cases")
    assert {key: listing[key] for key in ("total", "page", "pages", "next")} == {
        "total": 2,
        "page": 1,
        "pages": 1,
        "next": None,
    }
    assert listing["cases"][0] == {
        "number": 2,
        "url": "http://127.0.0.1:8082/cases/2",
        "incident_id": "inc-net-01",
        "title": "Calls from frontend to cartservice are delayed on the network",
        "severity": "P3",
        "state": "investigating",
        "services": ["cartservice", "frontend"],
        "opened_ms": examples.NETWORK_START_MS + 75_000,
        "updated_ms": examples.NETWORK_START_MS + 75_000,
        "resolved_ms": None,
        "acknowledged_by": None,
        "category": "other",
        "expected_resolution_ms": None,
        "workaround": None,
        "reason": None,
        "solution": None,
    }
    assert (await get(client, "/api/v1/cases?state=open"))["total"] == 1
    assert (await get(client, "/api/v1/cases?severity=P2&service=ts-order-service"))["total"] == 1


async def test_pages_lead_to_the_next_one(
    client: aiohttp.ClientSession, sqlite_store: CaseStore
) -> None:
    many = [examples.event(examples.cpu_incident(id=f"inc-{i}"), "opened") for i in range(60)]
    await sqlite_store.apply([examples.record(e, 10 + i) for i, e in enumerate(many)])
    first = await get(client, "/api/v1/cases?state=open")
    assert first["next"] == "http://127.0.0.1:8082/api/v1/cases?state=open&page=2"
    second = await get(client, "/api/v1/cases?state=open&page=2")
    numbers = [c["number"] for c in first["cases"] + second["cases"]]
    assert len(set(numbers)) == 61
    assert second["next"] is None


@pytest.mark.parametrize("name", ["1", "inc-cpu-01"])
async def test_a_case_is_found_by_number_and_by_incident(
    client: aiohttp.ClientSession, name: str
) -> None:
    case = await get(client, f"/api/v1/cases/{name}")
    assert case["number"] == 1
    assert msgspec.convert(case["incident"], Incident) == examples.cpu_fault()[-1].incident
    assert case["deliveries"][0]["recipient"] == "on-call"
    assert case["audit"][0]["action"] == "acknowledged"
    timeline = await get(client, f"/api/v1/cases/{name}/timeline")
    assert [e["type"] for e in timeline["events"]] == [
        "opened",
        "updated",
        "acknowledged",
        "resolved",
    ]
    assert timeline["events"][1]["changes"] == {"state": "investigating → identified"}
    assert timeline["deliveries"][0]["status"] == "sent"


@pytest.mark.parametrize("path", ["/api/v1/cases/9", "/api/v1/cases/none/timeline"])
async def test_a_case_that_is_not_there_is_a_problem_404(
    client: aiohttp.ClientSession, path: str
) -> None:
    problem = await get(client, path, 404)
    assert problem["title"] == "No such case"


@pytest.mark.parametrize(
    ("body", "text", "severity"),
    [
        ({"type": "acknowledge"}, "", None),
        ({"type": "note", "text": " looking "}, "looking", None),
        ({"type": "resolve", "text": "rolled back"}, "rolled back", None),
        ({"type": "set_severity", "severity": "P1", "text": "worse"}, "worse", "P1"),
        ({"type": "public_message", "text": "We are on it."}, "We are on it.", None),
    ],
)
async def test_every_command_is_published_as_asked(
    client: aiohttp.ClientSession,
    commands: Commands,
    body: dict[str, str],
    text: str,
    severity: str | None,
) -> None:
    status, answer = await command(client, {**body, "actor": "grace"})
    assert status == 202
    (sent,) = commands.sent
    assert (sent.type, sent.text, sent.severity) == (body["type"], text, severity)
    assert (sent.actor, sent.incident_id, sent.issued_ms) == ("grace", "inc-net-01", NOW_MS)
    assert answer == {
        "id": sent.id,
        "incident_id": "inc-net-01",
        "number": 2,
        "repeated": False,
    }


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer "},
        {"Authorization": TOKEN},
    ],
)
async def test_without_the_token_nothing_is_published(
    client: aiohttp.ClientSession, commands: Commands, headers: dict[str, str]
) -> None:
    status, problem = await command(client, {"type": "acknowledge", "actor": "x"}, headers)
    assert (status, problem["title"]) == (401, "Token needed")
    assert commands.sent == []


async def test_the_pages_cookie_does_not_open_the_api(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    async with client.post("/sign-in", data={"actor": "ada", "token": TOKEN}) as response:
        assert response.status == 200
    status, _ = await command(client, {"type": "acknowledge", "actor": "ada"}, {})
    assert status == 401
    assert commands.sent == []


async def test_without_a_configured_token_the_api_is_read_only(
    sqlite_url: str, make: Make, commands: Commands
) -> None:
    store = make(sqlite_url, token=None)
    await store.start()
    async with serving(store) as client:
        for headers in (BEARER, {"Authorization": "Bearer "}, {}):
            status, problem = await command(client, {"type": "note"}, headers)
            assert (status, problem["title"]) == (403, "Read-only")
    await store.stop()
    assert commands.sent == []


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "JSON"),
        (b'{"actor":"\xff"}', 400, "utf-8"),
        ({"type": "note", "actor": "a", "text": "x", "extra": 1}, 400, "extra"),
        ({"actor": "a"}, 400, "type"),
        ({"type": "explode", "actor": "a"}, 422, "acknowledge, note, resolve"),
        ({"type": "note", "actor": "a"}, 422, "text must not be empty"),
        ({"type": "note", "actor": "  ", "text": "x"}, 422, "actor must not be empty"),
        ({"type": "note", "actor": "tocsin", "text": "x"}, 422, "must be a person"),
        ({"type": "note", "actor": "a\nb", "text": "x"}, 422, "printable"),
        ({"type": "set_severity", "actor": "a"}, 422, "P1, P2, P3, P4"),
        ({"type": "set_severity", "actor": "a", "severity": "P9"}, 422, "P1, P2, P3, P4"),
        ({"type": "note", "actor": "a", "text": "x" * 5000}, 422, "at most 4000"),
        ({"type": "note", "actor": "a", "text": "x" * 70_000}, 413, "65536"),
    ],
)
async def test_a_command_that_cannot_be_taken_is_refused_with_the_reason(
    client: aiohttp.ClientSession, commands: Commands, body: Any, status: int, says: str
) -> None:
    answered, problem = await command(client, body)
    assert (answered, problem["status"]) == (status, status)
    assert says in problem["detail"]
    assert commands.sent == []


async def test_an_unknown_incident_takes_no_commands(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    path = "/api/v1/incidents/none/commands"
    status, _ = await command(client, {"type": "acknowledge", "actor": "a"}, path=path)
    assert status == 404
    assert commands.sent == []


async def test_an_idempotency_key_acts_once_and_not_for_something_else(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    headers = {**BEARER, "Idempotency-Key": "key-1"}
    body = {"type": "note", "actor": "a", "text": "once"}
    answers = await asyncio.gather(*(command(client, body, headers) for _ in range(3)))
    assert [status for status, _ in answers] == [202, 202, 202]
    assert sorted(answer["repeated"] for _, answer in answers) == [False, True, True]
    assert len(commands.sent) == 1
    status, problem = await command(client, {**body, "text": "twice"}, headers)
    assert (status, problem["title"]) == (409, "Id used before")
    other = "/api/v1/incidents/inc-cpu-01/commands"
    assert (await command(client, body, headers, other))[0] == 409
    assert len(commands.sent) == 1


async def test_a_command_that_kafka_did_not_take_can_be_sent_again(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    body = {"type": "note", "actor": "a", "text": "x", "id": "key-2"}
    commands.away = True
    status, problem = await command(client, body)
    assert (status, problem["title"]) == (503, "Command not sent")
    commands.away = False
    status, answer = await command(client, body)
    assert (status, answer["repeated"]) == (202, False)
    audit = (await get(client, "/api/v1/cases/2"))["audit"]
    assert [(a["step"], a["way"]) for a in audit] == [
        ("asked", "api"),
        ("failed", "api"),
        ("sent", "api"),
    ]


async def test_a_closed_incident_takes_no_commands(
    client: aiohttp.ClientSession, sqlite_store: CaseStore, commands: Commands
) -> None:
    closed = examples.event(examples.network_incident(version=2, state="closed"), "closed")
    await sqlite_store.apply([examples.record(closed, 20)])
    status, problem = await command(client, {"type": "note", "actor": "a", "text": "x"})
    assert (status, "is closed" in problem["detail"]) == (422, True)
    assert commands.sent == []


async def test_an_incident_is_found_in_small_letters_too(
    client: aiohttp.ClientSession, sqlite_store: CaseStore
) -> None:
    opened = examples.event(examples.cpu_incident(id="INC-7KX2M9QA"), "opened")
    await sqlite_store.apply([examples.record(opened, 20)])
    assert (await get(client, "/api/v1/cases/inc-7kx2m9qa"))["number"] == 3


@pytest.mark.parametrize("path", ["/api/v1/cases", "/api/v1/cases/1", "/api/v1/cases/1/timeline"])
async def test_with_a_token_for_reading_either_token_reads_and_no_other(
    closed_client: aiohttp.ClientSession, path: str
) -> None:
    for token, status in (("", 401), ("wrong", 401), (READ_TOKEN, 200), (TOKEN, 200)):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with closed_client.get(path, headers=headers) as response:
            assert response.status == status
            assert ("WWW-Authenticate" in response.headers) == (status == 401)
            assert ("inc-cpu-01" in await response.text()) == (status == 200)


async def test_the_token_for_reading_changes_nothing(
    closed_client: aiohttp.ClientSession, commands: Commands
) -> None:
    body = {"type": "acknowledge", "actor": "ada"}
    reading = {"Authorization": f"Bearer {READ_TOKEN}"}
    status, problem = await command(closed_client, body, reading)
    assert (status, problem["detail"]) == (403, "this token may only read; send case_store.token")
    assert commands.sent == []
    assert (await command(closed_client, body))[0] == 202


async def test_that_a_closed_incident_was_none_can_still_be_said_and_nothing_else(
    client: aiohttp.ClientSession, sqlite_store: CaseStore, commands: Commands
) -> None:
    closed = examples.cpu_incident(id="inc-old", state="closed", closed_ms=NOW_MS)
    await sqlite_store.apply([examples.record(examples.event(closed, "closed"), 90)])
    path = "/api/v1/incidents/inc-old/commands"
    looked_back = {"type": "not_an_incident", "actor": "ada", "text": "a load test", "id": "n1"}
    assert (await command(client, looked_back, path=path))[0] == 202
    status, problem = await command(
        client, {"type": "note", "actor": "ada", "text": "x"}, path=path
    )
    assert (status, problem["detail"].startswith("inc-old is closed")) == (422, True)
    assert [(sent.type, sent.incident_id) for sent in commands.sent] == [
        ("not_an_incident", "inc-old")
    ]
