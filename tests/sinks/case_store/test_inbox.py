"""Reports, changes and other systems' alerts come in by HTTP and go to the commands topic."""

from typing import Any

import aiohttp
import msgspec
import pytest

from schemas.incidents import Command
from tests.sinks.case_store.conftest import NOW_MS, READ_TOKEN, TOKEN, Commands

ALERT = {
    "status": "firing",
    "labels": {"alertname": "HighErrorRate", "service": "cart", "severity": "critical"},
    "annotations": {"summary": "5xx above 5 %"},
    "startsAt": "2026-11-24T14:02:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "ce1b42a3ba1c3b9b",
}
WEBHOOK = {"version": "4", "receiver": "tocsin", "groupKey": "{}", "status": "firing"}


async def post(
    client: aiohttp.ClientSession, kind: str, body: Any, token: str | None = TOKEN, key: str = ""
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if key:
        headers["Idempotency-Key"] = key
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    async with client.post(f"/api/v1/{kind}", data=data, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def test_what_was_missed_goes_to_the_commands_topic(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    missed = {"actor": "ada", "service": "cart", "from_ms": NOW_MS - 60_000, "to_ms": NOW_MS}
    assert (await post(client, "missed", missed, key="m1"))[0] == 202
    assert commands.sent == [
        Command(
            id="m1",
            type="missed",
            incident_id="",
            actor="ada",
            issued_ms=NOW_MS,
            text="trouble without an incident",
            service="cart",
            from_ms=NOW_MS - 60_000,
            to_ms=NOW_MS,
        )
    ]
    status, problem = await post(client, "missed", {**missed, "to_ms": NOW_MS + 1}, key="m2")
    assert (status, problem["detail"]) == (
        422,
        "from_ms must be before to_ms, and both in the past",
    )


async def test_a_report_goes_to_the_commands_topic_once(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    report = {"actor": "support", "text": "customers cannot pay", "service": "cart"}
    taken = {"ids": ["k1"], "repeated": 0, "ignored": 0, "refused": []}
    assert await post(client, "reports", report, key="k1") == (202, taken)
    status, answer = await post(client, "reports", report, key="k1")
    assert (status, answer["repeated"]) == (202, 1)
    assert commands.sent == [
        Command(
            id="k1",
            type="report",
            incident_id="",
            actor="support",
            issued_ms=NOW_MS,
            text="customers cannot pay",
            service="cart",
        )
    ]


@pytest.mark.parametrize(
    ("service", "status"), [("cart", 202), ("Shopping Cart", 202), ("crat", 422), ("", 422)]
)
async def test_a_report_of_a_service_that_the_catalogue_lacks_is_refused_with_names_that_do(
    client: aiohttp.ClientSession, commands: Commands, service: str, status: int
) -> None:
    report = {"actor": "support", "text": "customers cannot pay", "service": service}
    taken, answer = await post(client, "reports", report)
    assert taken == status
    assert [c.service for c in commands.sent] == ([service] if status == 202 else [])
    if service == "crat":
        assert "the catalogue has no service 'crat'; it has" in answer["detail"]
        assert "cart" in answer["detail"]


async def test_an_alert_is_about_the_label_or_the_words_that_name_a_service(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    scraped = {"alertname": "Down", "job": "node-exporter"}
    alerts = [
        ALERT | {"labels": scraped | {"service": "10.0.0.7", "app": "cart"}, "fingerprint": "a"},
        ALERT | {"labels": scraped, "annotations": {"summary": "cart is down"}, "fingerprint": "b"},
        ALERT | {"labels": scraped, "annotations": {}, "fingerprint": "c"},
    ]
    status, answer = await post(client, "alerts", WEBHOOK | {"alerts": alerts})
    assert status == 202
    assert [c.service for c in commands.sent] == ["cart", None]
    (refused,) = answer["refused"]
    assert refused.startswith("Down: the catalogue has no service 'node-exporter'")


async def test_a_change_says_what_was_changed_and_when(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    change = {"actor": "ci", "text": "deploy 1.4.2", "services": ["cart", "web"], "id": "c1"}
    assert (await post(client, "changes", change))[0] == 202
    assert (await post(client, "changes", change | {"at_ms": 5, "id": "c2"}))[0] == 202
    made = [(c.type, c.services, c.text, c.from_ms) for c in commands.sent]
    assert made == [
        ("change", ("cart", "web"), "deploy 1.4.2", NOW_MS),
        ("change", ("cart", "web"), "deploy 1.4.2", 5),
    ]


async def test_alertmanager_can_send_its_webhook_and_a_repeat_counts_once(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    over = ALERT | {"status": "resolved", "fingerprint": "other"}
    nameless = ALERT | {"labels": {"alertname": "Watchdog"}, "annotations": {}, "fingerprint": "n"}
    body = WEBHOOK | {"alerts": [ALERT, over, nameless]}
    status, answer = await post(client, "alerts", body)
    assert (status, answer["ignored"], answer["repeated"]) == (202, 1, 0)
    (refused,) = answer["refused"]
    assert refused.startswith("Watchdog: a report needs a `service`")
    assert "service_name" in refused
    assert (await post(client, "alerts", body))[1]["repeated"] == 1
    assert [(c.service, c.text, c.actor) for c in commands.sent] == [
        ("cart", "HighErrorRate: 5xx above 5 %", "alertmanager"),
    ]
    assert commands.sent[0].id == "alert-ce1b42a3ba1c3b9b-2026-11-24T14:02:00Z"


@pytest.mark.parametrize("kind", ["reports", "changes", "alerts"])
async def test_nothing_comes_in_without_the_token_that_changes_things(
    client: aiohttp.ClientSession, commands: Commands, kind: str
) -> None:
    for token in (None, "wrong", READ_TOKEN):
        assert (await post(client, kind, {}, token))[0] in (401, 403)
    assert commands.sent == []


@pytest.mark.parametrize(
    ("kind", "body", "status", "says"),
    [
        ("reports", b"{", 400, "truncated"),
        ("reports", {"actor": "ada", "text": " "}, 422, "text must not be empty"),
        ("reports", {"actor": "", "text": "slow"}, 422, "actor must not be empty"),
        ("reports", {"actor": "ada", "text": "all is slow"}, 422, "such as cart, orders"),
        ("alerts", {"alerts": [{"status": "firing", "labels": {}}]}, 422, "service_name"),
        ("changes", {"actor": "ci", "text": "deploy", "services": []}, 422, "at least one service"),
        ("changes", {"actor": "ci", "text": "deploy"}, 400, "services"),
        ("alerts", {"alerts": "all"}, 400, "alerts"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_the_reason(
    client: aiohttp.ClientSession,
    commands: Commands,
    kind: str,
    body: Any,
    status: int,
    says: str,
) -> None:
    found, answer = await post(client, kind, body)
    assert found == status
    assert says in answer["detail"]
    assert commands.sent == []


async def test_what_kafka_does_not_take_can_be_sent_again(
    client: aiohttp.ClientSession, commands: Commands
) -> None:
    report = {"actor": "support", "text": "der Warenkorb ist leer", "id": "k1"}
    commands.away = True
    assert (await post(client, "reports", report))[0] == 503
    commands.away = False
    assert (await post(client, "reports", report))[0] == 202
    assert [c.id for c in commands.sent] == ["k1"]
