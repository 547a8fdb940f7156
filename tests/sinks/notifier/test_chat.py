"""Commands from chat: what is understood, whose signature counts, and what comes of it."""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from slack_sdk.signature import SignatureVerifier

from schemas.configuration import Channels, Recipient, Secret, SlackChannel
from schemas.incidents import Command
from sinks.notifier.chat.parse import HELP, NotUnderstoodError, parse
from sinks.notifier.chat.teams import TeamsSecretError, line_in
from tests.sinks.examples import cpu_incident, event
from tests.sinks.notifier.conftest import NOW_MS, Bench, until
from tests.sinks.notifier.slack_look_alike import SlackLookAlike, slack
from tests.sinks.notifier.test_acknowledge import browser

SIGNING = "8f742231b10e8888abcd99yyyzzz85a5"
TEAMS_KEY = b64encode(b"0123456789abcdef0123456789abcdef").decode()
INCIDENT = "INC-7M2K9QXD"


def read(text: str, incident_id: str | None = INCIDENT) -> Command:
    return parse(text, id="x", actor="ada", issued_ms=NOW_MS, incident_id=incident_id)


@pytest.mark.parametrize(
    ("text", "kind", "rest"),
    [
        ("ack", "acknowledge", ""),
        ("ACK looking", "acknowledge", "looking"),
        ("unack", "unacknowledge", ""),
        ("note the disk is full", "note", "the disk is full"),
        ("say We are on it.", "public_message", "We are on it."),
        ("workaround Use the phone.", "workaround", "Use the phone."),
        ("resolve rolled back", "resolve", "rolled back"),
        ("approve", "approve", ""),
        ("retract", "retract", ""),
        ("no-change", "no_change", ""),
        ("no-change Still at it.", "no_change", "Still at it."),
    ],
)
def test_a_line_is_read_as_a_command(text: str, kind: str, rest: str) -> None:
    made = read(text)
    assert (made.type, made.text, made.incident_id) == (kind, rest, INCIDENT)
    verb, _, after = text.partition(" ")
    named = read(f"{verb} inc-00000001 {after}")
    assert (named.incident_id, named.text) == ("INC-00000001", rest)


@pytest.mark.parametrize("named", ["", "INC-00000001 "])
def test_how_it_ended_is_read_with_its_reason_and_its_solution(named: str) -> None:
    made = read(f"conclude {named}The disk was full. | We made room | and watch it.")
    assert (made.type, made.incident_id) == ("conclude", named.strip() or INCIDENT)
    assert (made.text, made.solution) == ("The disk was full.", "We made room | and watch it.")


@pytest.mark.parametrize("text", ["conclude", "conclude The disk was full.", "conclude | We did."])
def test_half_of_how_it_ended_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstoodError, match=r"needs a reason and a solution: conclude .*\|"):
        read(text)


def test_a_severity_and_a_time_are_read_from_the_line() -> None:
    assert read("severity p1 it spreads").severity == "P1"
    assert read("severity P1 it spreads").text == "it spreads"
    assert read("expect 45m").expected_ms == NOW_MS + 2_700_000


@pytest.mark.parametrize(
    ("text", "incident", "answer"),
    [
        ("", INCIDENT, "ack [INC-…]"),
        ("make coffee", INCIDENT, "ack [INC-…]"),
        ("ack", None, "Of which incident?"),
        ("say", INCIDENT, "needs a text"),
        ("severity high", INCIDENT, "one of P1"),
        ("expect soon", INCIDENT, "such as 45m"),
    ],
)
def test_what_is_not_understood_is_answered_with_what_would_be(
    text: str, incident: str | None, answer: str
) -> None:
    with pytest.raises(NotUnderstoodError) as raised:
        read(text, incident)
    assert answer in str(raised.value)


class Answer(msgspec.Struct):
    """What an address of the notifier answered."""

    status: int
    text: str

    def said(self) -> str:
        """The text that is shown to whoever typed a command."""
        return str(json.loads(self.text)["text"])


class Chat:
    """A notifier with a Slack workspace, and a client that calls its addresses."""

    def __init__(self, bench: Bench, team: SlackLookAlike, session: aiohttp.ClientSession) -> None:
        self.bench = bench
        self.team = team
        self._session = session

    async def post(self, path: str, body: str, headers: dict[str, str] | None = None) -> Answer:
        async with self._session.post(path, data=body.encode(), headers=headers) as answer:
            return Answer(answer.status, await answer.text())

    async def slack(
        self, path: str, body: str, *, secret: str = SIGNING, age_seconds: int = 0
    ) -> Answer:
        stamp = str(self.bench.clock() // 1000 - age_seconds)
        signature = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
        headers = {
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": str(signature),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return await self.post(path, body, headers)

    async def command(self, text: str, **changes: Any) -> str:
        form = {"text": text, "user_name": "ada", "trigger_id": "T1", "channel_id": "C9"}
        answer = await self.slack("/slack/commands", urlencode({**form, **changes}))
        return answer.said()

    async def teams(
        self,
        text: str,
        key: bytes = b"0123456789abcdef0123456789abcdef",
        at: str | None = None,
    ) -> Answer:
        said = {"id": "1", "text": text, "from": {"name": "Ada"}}
        body = json.dumps(said | ({} if at is None else {"timestamp": at}))
        signature = b64encode(hmac.new(key, body.encode(), hashlib.sha256).digest()).decode()
        return await self.post("/teams/commands", body, {"Authorization": f"HMAC {signature}"})

    def commands(self) -> list[Command]:
        return self.bench.kafka.commands()


@pytest_asyncio.fixture
async def chat(bench: Bench) -> AsyncIterator[Chat]:
    bench.secrets |= {"SIGNING": SIGNING, "TEAMS": TEAMS_KEY}
    async with slack() as team:
        channels = Channels(
            slack=SlackChannel(
                token=Secret(env="SLACK"), base_url=team.url, signing_secret=Secret(env="SIGNING")
            ),
            teams_secret=Secret(env="TEAMS"),
        )
        room = Recipient(name="room", channel="slack", address="incident")
        notifier = await bench.start(bench.configuration(channels=channels, recipients=(room,)))
        await bench.feed(notifier, event(cpu_incident(id=INCIDENT), "opened"))
        await until(lambda: bench.kafka.deliveries("sent"))
        async with browser(notifier) as session:
            yield Chat(bench, team, session)


async def test_a_slash_command_becomes_a_command(chat: Chat) -> None:
    assert await chat.command(f"ack {INCIDENT} on it") == f"acknowledge: {INCIDENT}, by ada."
    (made,) = chat.commands()
    assert (made.type, made.actor, made.text) == ("acknowledge", "ada", "on it")
    assert made.id == "slack/T1"


async def test_in_the_incidents_own_channel_its_name_need_not_be_said(chat: Chat) -> None:
    (room,) = chat.team.channels
    await chat.command("note it is the disk", channel_id=room)
    assert chat.commands()[0].incident_id == INCIDENT


async def test_what_cannot_be_done_is_answered_and_not_published(chat: Chat) -> None:
    assert await chat.command("help") == HELP
    assert await chat.command("ack INC-00000000") == "There is no incident INC-00000000 here."
    assert chat.commands() == []


async def test_who_cannot_reach_kafka_is_told_so(chat: Chat) -> None:
    chat.bench.kafka.down = True
    assert "did not work" in await chat.command(f"ack {INCIDENT}")
    chat.bench.kafka.down = False


async def test_a_button_acknowledges_in_the_name_of_who_pressed_it(chat: Chat) -> None:
    (button, _) = chat.team.posted[0]["blocks"][-1]["elements"]
    payload = {
        "trigger_id": "T2",
        "user": {"id": "U1", "username": "ada"},
        "actions": [{"action_id": button["action_id"], "value": button["value"]}],
    }
    answer = await chat.slack("/slack/actions", urlencode({"payload": json.dumps(payload)}))
    assert answer.status == 200
    (made,) = chat.commands()
    assert (made.type, made.actor, made.incident_id) == ("acknowledge", "ada", INCIDENT)
    notifier = chat.bench._running[0]
    notifier.wake()
    await until(lambda: chat.bench.kafka.deliveries("acknowledged"))
    (step,) = chat.bench.kafka.deliveries("acknowledged")
    assert (step.recipient, step.detail) == ("room", "by ada")


async def test_what_is_said_in_the_channel_is_copied_to_the_timeline_once(chat: Chat) -> None:
    (room,) = chat.team.channels
    said = {"type": "message", "channel": room, "ts": "1.5", "user": "U1", "text": "a &amp; b"}
    for _ in range(2):  # Slack delivers at least once
        await chat.slack("/slack/events", json.dumps({"type": "event_callback", "event": said}))
    first, second = chat.commands()
    assert (first.type, first.actor, first.text) == ("note", "ada", "a & b")
    assert first.id == second.id  # which the incident's log recognises as a repeat


@pytest.mark.parametrize(
    "changes",
    [{"bot_id": "B1"}, {"subtype": "message_changed"}, {"channel": "C-other"}, {"text": " "}],
)
async def test_what_no_person_said_about_an_incident_is_not_copied(
    chat: Chat, changes: dict[str, str]
) -> None:
    (room,) = chat.team.channels
    said = {"type": "message", "channel": room, "ts": "1.5", "user": "U1", "text": "hi"}
    await chat.slack("/slack/events", json.dumps({"event": said | changes}))
    assert chat.commands() == []


async def test_slack_is_answered_when_it_asks_whether_the_address_is_ours(chat: Chat) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "abc"})
    assert (await chat.slack("/slack/events", body)).text == "abc"


@pytest.mark.parametrize("path", ["/slack/commands", "/slack/actions", "/slack/events"])
async def test_what_slack_has_not_signed_is_turned_away(chat: Chat, path: str) -> None:
    body = urlencode({"text": f"resolve {INCIDENT}", "user_name": "mallory"})
    assert (await chat.slack(path, body, secret="wrong")).status == 401
    assert (await chat.slack(path, body, age_seconds=301)).status == 401
    assert (await chat.post(path, body)).status == 401
    assert chat.commands() == []


@pytest.mark.parametrize("path", ["/slack/commands", "/slack/actions", "/slack/events"])
@pytest.mark.parametrize(
    ("body", "stamp", "signature"),
    [
        (b"\xff", None, "v0=00"),
        (b"text=help", "9" * 400, "v0=00"),
        (b"text=help", "9" * 5000, "v0=00"),
        (b"text=help", None, "v0=\u00e9"),
    ],
)
async def test_what_slack_never_sends_is_turned_away_without_a_stir(
    chat: Chat, path: str, body: bytes, stamp: str | None, signature: str
) -> None:
    now = str(chat.bench.clock() // 1000)
    headers = {"X-Slack-Request-Timestamp": stamp or now, "X-Slack-Signature": signature}
    async with chat._session.post(path, data=body, headers=headers) as answer:
        assert answer.status == 401
    assert chat.commands() == []


@pytest.mark.parametrize(
    "payload",
    [
        {"actions": {"0": {}}},
        {"actions": [1]},
        {"actions": [{"action_id": ["tocsin_acknowledge"], "value": INCIDENT}]},
        {"actions": [{"action_id": "tocsin_acknowledge", "value": [INCIDENT]}], "user": "ada"},
        [1],
    ],
)
async def test_a_button_of_another_shape_does_nothing(chat: Chat, payload: object) -> None:
    answer = await chat.slack("/slack/actions", urlencode({"payload": json.dumps(payload)}))
    assert answer.status == 200
    assert chat.commands() == []


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"event": "message"}),
        json.dumps({"event": {"type": "message", "user": ["U1"], "text": 5, "thread_ts": [1]}}),
        json.dumps({"event": {"type": "message", "user": "U1", "text": "a", "channel": {}}}),
        "[" * 60_000,
    ],
)
async def test_an_event_of_another_shape_does_nothing(chat: Chat, body: str) -> None:
    assert (await chat.slack("/slack/events", body)).status == 200
    assert chat.commands() == []


async def test_a_mention_in_teams_becomes_a_command(chat: Chat) -> None:
    answer = await chat.teams(f"<at>tocsin</at>&nbsp;ack {INCIDENT} on it")
    assert answer.said() == f"acknowledge: {INCIDENT}, by Ada."
    assert chat.commands()[0].actor == "Ada"


async def test_what_teams_has_not_signed_is_turned_away(chat: Chat) -> None:
    assert (await chat.teams(f"ack {INCIDENT}", key=b"wrong")).status == 401
    assert chat.commands() == []


def test_a_teams_line_is_bare_of_markup() -> None:
    assert line_in("<p><at>tocsin</at> note a &lt; b</p>") == "note a < b"


async def test_a_teams_token_that_is_none_is_a_mistake_at_the_start(bench: Bench) -> None:
    bench.secrets["TEAMS"] = "not base64!"
    channels = Channels(teams_secret=Secret(env="TEAMS"))
    with pytest.raises(TeamsSecretError, match="teams_secret"):
        bench.make(bench.configuration(channels=channels))


async def test_an_acknowledgement_in_chat_says_who_has_it_to_the_next_one(chat: Chat) -> None:
    await chat.command(f"ack {INCIDENT}")
    incident = cpu_incident(id=INCIDENT, version=2, acknowledged_by="ada", acknowledged_ms=NOW_MS)
    notifier = chat.bench._running[0]
    await chat.bench.feed(notifier, event(incident, "acknowledged"))
    assert await chat.command("ack", channel_id=next(iter(chat.team.channels))) == (
        f"ada has {INCIDENT} already."
    )


@pytest.mark.parametrize(
    ("late_seconds", "status"), [(0, 200), (299, 200), (-299, 200), (301, 401), (-301, 401)]
)
async def test_a_request_of_teams_that_was_overheard_is_worth_nothing_later(
    chat: Chat, late_seconds: int, status: int
) -> None:
    at = datetime.fromtimestamp(chat.bench.clock() / 1000 - late_seconds, UTC)
    written = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    answer = await chat.teams(f"<at>tocsin</at> note {INCIDENT} seen", at=written)
    assert answer.status == status
    assert len(chat.commands()) == (1 if status == 200 else 0)


@pytest.mark.parametrize("at", ["yesterday", "", "99999999-01-01T00:00:00Z"])
async def test_a_time_that_is_none_is_not_believed(chat: Chat, at: str) -> None:
    assert (await chat.teams(f"note {INCIDENT} seen", at=at)).status == 401
    assert chat.commands() == []
