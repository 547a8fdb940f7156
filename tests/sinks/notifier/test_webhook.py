"""Webhooks: what is sent, how it is signed, and what each answer means."""

from datetime import UTC, datetime
from email.utils import format_datetime

import msgspec
import pytest
from standardwebhooks import Webhook as Verifier

from sinks.notifier.channels import Link, Message, Refused, Retry
from sinks.notifier.channels.webhook import Webhook
from tests.sinks.notifier.receivers import receiver

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def message(**changes: object) -> Message:
    made = Message(
        id="0b0e7c1e-0000-5000-8000-000000000001",
        event_id="INC-1/1",
        incident_id="INC-1",
        stage="opened",
        severity="P2",
        recipient="on-call",
        audience="engineer",
        address="#ops",
        subject="[P2] cart is slow",
        text="It is slow.\n\nWhere: cart\nSince: 24 Nov 2026, 14:02 UTC",
        links=(Link("Open the case", "https://cases.example.org/incidents/INC-1"),),
        time_ms=1_764_000_000_000,
        details=msgspec.Raw(b'{"id":"INC-1"}'),
    )
    return msgspec.structs.replace(made, **changes)


async def test_the_body_is_signed_so_that_the_public_verifier_accepts_it() -> None:
    async with receiver() as hook:
        channel = Webhook(hook.url, SECRET, now_ms)
        await channel.send(message())
        await channel.close()
    headers, body = hook.requests[0]
    payload = Verifier(SECRET).verify(body, headers)
    assert payload["type"] == "incident.opened"
    assert payload["timestamp"] == "2025-11-24T16:00:00.000Z"
    assert payload["data"]["incident"] == {"id": "INC-1"}
    assert payload["data"]["links"][0]["label"] == "Open the case"
    assert headers["webhook-id"] == headers["Idempotency-Key"] == message().id


async def test_while_a_secret_is_changed_both_sign() -> None:
    other = "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXI="
    async with receiver() as hook:
        channel = Webhook(hook.url, f"{SECRET} {other}", now_ms)
        await channel.send(message())
        await channel.close()
    headers, body = hook.requests[0]
    for secret in (SECRET, other):
        Verifier(secret).verify(body, headers)


async def test_customers_messages_hold_no_incident() -> None:
    async with receiver() as hook:
        channel = Webhook(hook.url, None, now_ms)
        await channel.send(message(details=msgspec.Raw(b"null"), audience="customer"))
        await channel.close()
    headers, body = hook.requests[0]
    assert msgspec.json.decode(body)["data"]["incident"] is None
    assert "webhook-signature" not in headers


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (500, "unreachable"),
        (503, "unreachable"),
        (408, "unreachable"),
        (429, "rate_limited"),
        (401, "auth"),
        (403, "auth"),
    ],
)
async def test_answers_that_may_change_are_tried_again(status: int, failure: str) -> None:
    async with receiver() as hook:
        hook.script = [(status, {"Retry-After": "17"})]
        channel = Webhook(hook.url, None, now_ms)
        with pytest.raises(Retry) as raised:
            await channel.send(message())
        await channel.close()
    assert (raised.value.failure, raised.value.after_seconds) == (failure, 17)


@pytest.mark.parametrize("status", [301, 400, 404, 410, 422])
async def test_answers_that_stay_are_refusals(status: int) -> None:
    async with receiver() as hook:
        hook.script = [(status, {"Location": hook.url})]
        channel = Webhook(hook.url, None, now_ms)
        with pytest.raises(Refused, match=str(status)):
            await channel.send(message())
        await channel.close()
    assert len(hook.requests) == 1


async def test_retry_after_may_be_a_date() -> None:
    async with receiver() as hook:
        date = format_datetime(datetime.fromtimestamp(1_764_000_090, UTC), usegmt=True)
        hook.script = [(503, {"Retry-After": date})]
        channel = Webhook(hook.url, None, lambda: 1_764_000_000_000)
        with pytest.raises(Retry) as raised:
            await channel.send(message())
        await channel.close()
    assert raised.value.after_seconds == 90


async def test_a_receiver_that_hangs_or_is_not_there_is_unreachable() -> None:
    async with receiver() as hook:
        hook.script = ["hang"]
        channel = Webhook(hook.url, None, now_ms, timeout_seconds=0.1)
        with pytest.raises(Retry) as hung:
            await channel.send(message())
    with pytest.raises(Retry) as gone:
        await channel.send(message())
    await channel.close()
    assert {hung.value.failure, gone.value.failure} == {"unreachable"}
