"""PagerDuty, Opsgenie, Teams and telephones, against look-alikes that enforce their limits."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier

from deploy.configuration.references import channel_names
from schemas.configuration import (
    Channels,
    EmailChannel,
    OpsgenieChannel,
    PagerDutyChannel,
    PhoneChannel,
    Recipient,
    Secret,
    SlackChannel,
    TeamsChannel,
    WebhookChannel,
)
from schemas.incidents import Severity
from sinks.notifier.channels import Link, Message, Refused, Retry, open_channels
from sinks.notifier.channels.channel import Channel
from sinks.notifier.channels.opsgenie import Opsgenie
from sinks.notifier.channels.pagerduty import PagerDuty, event_of
from sinks.notifier.channels.phone import Phone, sms
from sinks.notifier.channels.sms_parts import fitting, is_gsm
from sinks.notifier.channels.teams import Teams, request_of
from sinks.notifier.messages import Stage
from tests.sinks.examples import cpu_fault, cpu_incident, event
from tests.sinks.notifier.conftest import Bench
from tests.sinks.notifier.services import (
    LookAlike,
    OpsgenieLookAlike,
    PagerDutyLookAlike,
    ProviderLookAlike,
    TeamsLookAlike,
    running,
)
from tests.sinks.notifier.test_webhook import SECRET, message, now_ms

replace = msgspec.structs.replace
long = message(subject="s" * 200, text="\n\n".join(["long " * 200] * 40))


@pytest_asyncio.fixture
async def pagerduty() -> AsyncIterator[PagerDutyLookAlike]:
    made = PagerDutyLookAlike()
    async with running(made):
        yield made


@pytest_asyncio.fixture
async def opsgenie() -> AsyncIterator[OpsgenieLookAlike]:
    made = OpsgenieLookAlike()
    async with running(made):
        yield made


@pytest_asyncio.fixture
async def teams() -> AsyncIterator[TeamsLookAlike]:
    made = TeamsLookAlike()
    async with running(made):
        yield made


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[ProviderLookAlike]:
    made = ProviderLookAlike()
    async with running(made):
        yield made


async def send(channel: Channel, *messages: Message) -> list[str | None]:
    try:
        return [(await channel.send(each)).accepted for each in messages]
    finally:
        await channel.close()


def duty(service: LookAlike, key: str = "R0KEY") -> PagerDuty:
    return PagerDuty(key, service.url, now_ms)


async def test_pagerduty_has_one_alert_an_incident_from_trigger_to_resolve(
    pagerduty: PagerDutyLookAlike,
) -> None:
    steps: list[tuple[Stage, str]] = [
        ("opened", "triggered"),
        ("acknowledged", "acknowledged"),
        ("updated", "acknowledged"),
        ("resolved", "resolved"),
        ("final", "resolved"),
    ]
    for stage, state in steps:
        assert await send(duty(pagerduty), message(stage=stage)) == ["INC-1"]
        assert pagerduty.alerts == {"INC-1": state}


async def follow(channel: Channel, *messages: Message) -> None:
    """Sends them as the outbox does: each with what the one before it kept as the thread."""
    thread = None
    for each in messages:
        thread = (await channel.send(replace(each, thread=thread))).thread or thread
    await channel.close()


GIVEN_BACK: tuple[Message, ...] = (
    message(),
    message(stage="acknowledged"),
    message(stage="updated"),
    message(stage="unacknowledged"),
    message(kind="page"),
    message(kind="page"),
)
NOT_TOLD: tuple[Message, ...] = (*GIVEN_BACK[:3], *GIVEN_BACK[4:])
"""That it was given back was overtaken by what came after it."""


@pytest.mark.parametrize("steps", [GIVEN_BACK, NOT_TOLD])
async def test_pagerduty_pages_again_once_nobody_has_it_any_more(
    pagerduty: PagerDutyLookAlike, steps: tuple[Message, ...]
) -> None:
    await follow(duty(pagerduty), *steps)
    assert pagerduty.alerts == {"INC-1": "triggered"}
    assert pagerduty.paged == ["INC-1"] * 2


@pytest.mark.parametrize("steps", [GIVEN_BACK, NOT_TOLD])
async def test_opsgenie_pages_again_once_nobody_has_it_any_more(
    opsgenie: OpsgenieLookAlike, steps: tuple[Message, ...]
) -> None:
    await follow(Opsgenie("G0KEY", opsgenie.url, now_ms), *steps)
    assert opsgenie.alerts["INC-1"]["status"] == "open"
    assert opsgenie.paged == ["INC-1"] * 2


async def test_an_acknowledgement_that_lapses_rings_the_pager_again(
    pagerduty: PagerDutyLookAlike, bench: Bench
) -> None:
    bench.secrets["DUTY"] = "R0KEY"
    made = PagerDutyChannel(routing_key=Secret(env="DUTY"), base_url=pagerduty.url)
    recipient = Recipient(name="ops", channel="pagerduty:ops")
    told = bench.configuration(channels=Channels(pagerduty={"ops": made}), recipients=(recipient,))
    notifier = await bench.start(told)
    had = cpu_incident(version=2, acknowledged_by="ada", acknowledged_ms=bench.clock())
    for each in (
        event(cpu_incident(), "opened"),
        event(had, "acknowledged", actor="ada"),
        event(cpu_incident(version=3), "unacknowledged"),
    ):
        await bench.feed(notifier, each)
        await bench.settle(notifier)
    assert pagerduty.alerts == {"inc-cpu-01": "triggered"}
    assert pagerduty.paged == ["inc-cpu-01"] * 2


async def test_what_somebody_has_pages_nobody_by_its_updates(
    pagerduty: PagerDutyLookAlike, opsgenie: OpsgenieLookAlike
) -> None:
    stages: tuple[Stage, ...] = ("opened", "acknowledged", "updated", "severity_changed")
    told = [message(stage=stage) for stage in stages]
    for channel in (duty(pagerduty), Opsgenie("G0KEY", opsgenie.url, now_ms)):
        await follow(channel, *told, message(kind="reminder"))
    assert pagerduty.alerts == {"INC-1": "acknowledged"}
    assert pagerduty.paged == opsgenie.paged == ["INC-1"]


async def test_a_follow_up_does_not_open_an_alert_that_was_resolved(
    pagerduty: PagerDutyLookAlike,
) -> None:
    over = msgspec.Raw(b'{"state":"resolved"}')
    await send(
        duty(pagerduty),
        message(),
        message(stage="resolved"),
        message(stage="follow_up", details=over),
    )
    assert pagerduty.alerts == {"INC-1": "resolved"}


async def test_pagerduty_takes_even_the_longest_message(pagerduty: PagerDutyLookAlike) -> None:
    await send(duty(pagerduty), long)
    assert len(pagerduty.taken[0]["payload"]["custom_details"]["text"]) == 8000


def test_each_severity_has_its_word_at_pagerduty() -> None:
    severities: tuple[Severity, ...] = ("P1", "P2", "P3", "P4")
    words = [event_of(message(severity=s), "k").payload for s in severities]
    assert [word.severity for word in words if word] == ["critical", "error", "warning", "info"]


async def test_a_wrong_key_is_refused_by_pagerduty(pagerduty: PagerDutyLookAlike) -> None:
    with pytest.raises(Refused, match="400"):
        await send(duty(pagerduty, "other"), message())


async def test_opsgenie_has_one_alert_an_incident_with_its_updates_as_notes(
    opsgenie: OpsgenieLookAlike,
) -> None:
    channel = Opsgenie("G0KEY", opsgenie.url, now_ms)
    stages: tuple[Stage, ...] = ("opened", "updated", "acknowledged", "resolved")
    accepted = await send(channel, *(message(stage=stage) for stage in stages))
    assert accepted == ["r-1"] * 4
    assert opsgenie.alerts["INC-1"]["status"] == "closed"
    assert len(opsgenie.alerts["INC-1"]["notes"]) == 1


async def test_opsgenie_takes_even_the_longest_message(opsgenie: OpsgenieLookAlike) -> None:
    await send(Opsgenie("G0KEY", opsgenie.url, now_ms), long)
    assert len(opsgenie.taken) == 1


async def test_a_wrong_key_may_be_mended_at_opsgenie(opsgenie: OpsgenieLookAlike) -> None:
    with pytest.raises(Retry) as raised:
        await send(Opsgenie("other", opsgenie.url, now_ms), message())
    assert raised.value.failure == "auth"
    assert "other" not in raised.value.detail


async def test_a_teams_card_has_the_facts_and_the_links(teams: TeamsLookAlike) -> None:
    await send(Teams(teams.url, now_ms), message())
    card = teams.taken[0]
    assert card["body"][0]["text"] == r"\[P2\] cart is slow"
    assert card["body"][2]["facts"][0] == {"title": "Where:", "value": "cart"}
    assert card["actions"][0]["url"].endswith("/incidents/INC-1")


async def test_telemetry_is_no_markdown_on_a_teams_card(teams: TeamsLookAlike) -> None:
    said = "[click](https://x) **now**"
    await send(Teams(teams.url, now_ms), message(subject=said, text=said))
    head, body = teams.taken[0]["body"]
    assert head["text"] == body["text"] == r"\[click\]\(https://x\) \*\*now\*\*"


@settings(deadline=None, max_examples=30)
@given(
    text=st.lists(st.text(max_size=4000), max_size=60).map("\n\n".join),
    links=st.lists(st.just(Link("Case", "https://example.org")), max_size=9),
)
def test_whatever_the_text_a_card_keeps_its_limit(text: str, links: list[Link]) -> None:
    body = request_of(message(text=text, links=tuple(links)))
    assert len(body) <= 28_000
    card: dict[str, Any] = msgspec.json.decode(body)["attachments"][0]["content"]
    assert all(TeamsLookAlike.is_known(part) for part in card["body"])
    assert len(card["actions"]) <= 5


async def test_a_card_that_is_cut_says_so(teams: TeamsLookAlike) -> None:
    await send(Teams(teams.url, now_ms), long)
    assert teams.taken[0]["body"][-1]["text"] == "…"


@pytest.mark.parametrize("kind", ["sms", "voice"])
async def test_a_provider_is_asked_with_a_signature_and_says_its_own_id(
    provider: ProviderLookAlike, kind: Any
) -> None:
    channel = Phone(kind, provider.url, secret=SECRET, token="t0ken", now_ms=now_ms)
    accepted = await send(channel, message(address="+4930123456"))
    assert accepted == ["SM1"]
    asked = provider.taken[0]
    assert asked["to"] == "+4930123456"
    assert asked["text"].startswith("[P2] cart is slow")
    Verifier(SECRET).verify(provider.bodies[0], provider.headers[0])


async def test_a_message_that_is_tried_again_carries_the_same_key(
    provider: ProviderLookAlike,
) -> None:
    channel = Phone("sms", provider.url, secret=None, token="t0ken", now_ms=now_ms)
    await send(channel, message(), message())
    assert len(provider.taken) == 2
    assert len(provider.delivered) == 1


def test_a_text_message_has_its_link_whole_or_not_at_all() -> None:
    made = sms(long)
    assert len(made) <= 459
    assert made.endswith("\nhttps://cases.example.org/incidents/INC-1")
    endless = Link("Acknowledge", f"https://example.org/{'x' * 400}")
    assert "https://" not in sms(replace(long, links=(endless,)))


@given(st.text(max_size=600), st.sampled_from(["", "\nhttps://cases.example.org/incidents/INC-1"]))
def test_whatever_is_said_a_text_message_has_three_parts_at_most(text: str, end: str) -> None:
    made = fitting(text, end)
    if is_gsm(made):
        assert len(made) + sum(char in "^{}\\[~]|€\f" for char in made) <= 459
    else:
        assert len(made.encode("utf-16-le")) // 2 <= 201
    assert made.endswith(end)


def test_only_what_needs_it_shortens_a_text_message() -> None:
    assert fitting("Zahlungen « gestört » – seit 14:02 Uhr…") == (
        'Zahlungen " gestört " - seit 14:02 Uhr...'
    )
    assert len(fitting("ä" * 500)) == 459
    assert len(fitting("ж" * 500)) == 201


async def test_all_obey_retry_after(
    pagerduty: PagerDutyLookAlike,
    opsgenie: OpsgenieLookAlike,
    teams: TeamsLookAlike,
    provider: ProviderLookAlike,
) -> None:
    channels: list[tuple[LookAlike, Channel]] = [
        (pagerduty, duty(pagerduty)),
        (opsgenie, Opsgenie("G0KEY", opsgenie.url, now_ms)),
        (teams, Teams(teams.url, now_ms)),
        (provider, Phone("sms", provider.url, secret=None, token="t0ken", now_ms=now_ms)),
    ]
    for service, channel in channels:
        service.script = [web.Response(status=429, headers={"Retry-After": "12"})]
        with pytest.raises(Retry) as raised:
            await send(channel, message())
        assert (raised.value.failure, raised.value.after_seconds) == ("rate_limited", 12)


async def test_none_follows_a_redirect(teams: TeamsLookAlike) -> None:
    teams.script = [web.Response(status=302, headers={"Location": f"{teams.url}/elsewhere"})]
    with pytest.raises(Refused, match="302"):
        await send(Teams(teams.url, now_ms), message())
    assert teams.taken == []


def test_a_secret_address_that_is_none_is_a_mistake_that_does_not_tell_it() -> None:
    channels = Channels(teams={"ops": TeamsChannel(url=Secret(env="X"))})
    with pytest.raises(ValueError, match=r"notifier\.channels\.teams\.ops\.url") as raised:
        open_channels(channels, lambda _: "s3cret", now_ms)
    assert "s3cret" not in str(raised.value)


def test_every_configured_channel_is_opened_by_its_name() -> None:
    secret = Secret(env="X")
    phone = PhoneChannel(url="https://sms.example.org", secret=secret, token=secret)
    channels = Channels(
        email=EmailChannel(host="localhost", sender="a@example.org"),
        slack=SlackChannel(token=secret),
        teams={"ops": TeamsChannel(url=secret)},
        webhooks={"desk": WebhookChannel(url="https://example.org", secret=secret)},
        sms={"one": phone},
        voice={"one": phone},
        pagerduty={"shop": PagerDutyChannel(routing_key=secret)},
        opsgenie={"shop": OpsgenieChannel(api_key=secret)},
        apprise={"ntfy": secret},
    )
    values = iter(["xoxb", SECRET, "https://t", SECRET, "t", SECRET, "t", "key", "key", "ntfy://x"])
    found = open_channels(channels, lambda _: next(values), now_ms)
    assert set(found) == set(channel_names(channels))


async def test_what_a_receiver_answers_is_kept_as_one_printable_line(
    pagerduty: PagerDutyLookAlike, bench: Bench
) -> None:
    rude = {"dedup_key": "a\x00b\n\u202ec" + "d" * 1000}
    pagerduty.script = [web.json_response(rude, status=202)]
    bench.secrets["DUTY"] = "R0KEY"
    duty = PagerDutyChannel(routing_key=Secret(env="DUTY"), base_url=pagerduty.url)
    notifier = await bench.start(
        bench.configuration(
            channels=Channels(pagerduty={"ops": duty}),
            recipients=(Recipient(name="ops", channel="pagerduty:ops"),),
        )
    )
    await bench.feed(notifier, cpu_fault()[0])
    await bench.settle(notifier)
    (accepted,) = bench.kafka.deliveries("accepted")
    assert accepted.detail.isprintable()
    assert len(accepted.detail) <= 400
    for error in (Refused("a\x00b\nc"), Retry("unreachable", "a\x00b\nc")):
        assert (error.detail, str(error)) == ("a b c", "a b c")
