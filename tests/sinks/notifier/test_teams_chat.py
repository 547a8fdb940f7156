"""Teams' bot service calls us: whose token counts, and what comes of what people say and press."""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest_asyncio
from joserfc.jwk import RSAKey

from schemas.configuration import Channels, Recipient
from schemas.incidents import Command
from sinks.notifier.chat.parse import HELP
from tests.sinks.examples import cpu_incident, event
from tests.sinks.notifier.conftest import NOW_MS, Bench, until
from tests.sinks.notifier.teams_look_alike import (
    APP,
    OTHER_KEY,
    PASSWORD,
    TENANT,
    TeamsBotLookAlike,
    settings,
    teams_bot,
)
from tests.sinks.notifier.test_acknowledge import browser
from tests.sinks.notifier.test_chat import Answer

INCIDENT = "INC-7M2K9QXD"
MENTION = {"type": "mention", "text": "<at>tocsin</at>", "mentioned": {"id": f"28:{APP}"}}


class Chat:
    """A notifier with a bot in a team, and the service that calls it."""

    def __init__(
        self, bench: Bench, team: TeamsBotLookAlike, session: aiohttp.ClientSession
    ) -> None:
        self.bench = bench
        self.team = team
        self._session = session

    @property
    def thread(self) -> str:
        """The conversation of the incident's first message."""
        return next(iter(self.team.posts)).partition("/")[0]

    async def post(self, activity: dict[str, Any], token: str | None = None) -> Answer:
        bearer = token or self.team.token(now_s=self.bench.clock() // 1000)
        headers = {"Authorization": f"Bearer {bearer}"}
        body = json.dumps(activity)
        async with self._session.post("/teams/messages", data=body, headers=headers) as answer:
            return Answer(answer.status, await answer.text())

    async def say(self, text: str, **changes: Any) -> str | None:
        """Mentions the bot; what it answers in the thread."""
        before = len(self.team.posts)
        said = {"text": f"<at>tocsin</at> {text}", "entities": [MENTION]}
        conversation = {"id": self.thread}
        activity = self.team.activity(**{"conversation": conversation, **said, **changes})
        assert (await self.post(activity)).status == 200
        answers = list(self.team.posts.values())[before:]
        return str(answers[0]["text"]) if answers else None

    def commands(self) -> list[Command]:
        return self.bench.kafka.commands()


@pytest_asyncio.fixture
async def chat(bench: Bench) -> AsyncIterator[Chat]:
    bench.secrets["BOT"] = PASSWORD
    async with teams_bot() as team:
        channels = Channels(teams_bot=settings(team))
        room = Recipient(name="room", channel="teams", address="incident")
        notifier = await bench.start(bench.configuration(channels=channels, recipients=(room,)))
        await bench.feed(notifier, event(cpu_incident(id=INCIDENT), "opened"))
        await until(lambda: bench.kafka.deliveries("sent"))
        async with browser(notifier) as session:
            yield Chat(bench, team, session)


async def test_a_mention_in_the_incidents_thread_becomes_a_command_and_is_answered(
    chat: Chat,
) -> None:
    assert await chat.say("ack on it") == f"acknowledge: {INCIDENT}, by Ada Lovelace."
    (made,) = chat.commands()
    assert (made.type, made.actor, made.text) == ("acknowledge", "Ada Lovelace", "on it")
    assert (made.id, made.incident_id) == ("teams/1764000009999", INCIDENT)
    chat.bench._running[0].wake()
    await until(lambda: chat.bench.kafka.deliveries("acknowledged"))
    (step,) = chat.bench.kafka.deliveries("acknowledged")
    assert (step.recipient, step.channel) == ("room", "teams")


async def test_a_new_post_in_the_incidents_own_channel_is_about_it_too(chat: Chat) -> None:
    channel = chat.thread.partition(";")[0]
    await chat.post(chat.team.activity(text="hi", conversation={"id": f"{channel};messageid=7"}))
    assert chat.commands()[0].incident_id == INCIDENT


async def test_elsewhere_the_incident_must_be_named(chat: Chat) -> None:
    elsewhere = {"id": "19:other@thread.tacv2;messageid=1"}
    await chat.say(f"note {INCIDENT} it is the disk", conversation=elsewhere)
    (made,) = chat.commands()
    assert (made.type, made.text) == ("note", "it is the disk")
    await chat.post(chat.team.activity(text="lunch?", conversation=elsewhere))
    assert len(chat.commands()) == 1


async def test_what_is_no_command_is_answered_with_what_would_be(chat: Chat) -> None:
    assert await chat.say("make coffee") == HELP
    assert chat.commands() == []


async def test_a_button_acknowledges_in_the_name_of_who_pressed_it(chat: Chat) -> None:
    card = next(iter(chat.team.posts.values()))["attachments"][0]["content"]
    button = next(a for a in card["actions"] if a["type"] == "Action.Execute")
    pressed = chat.team.activity(
        type="invoke",
        name="adaptiveCard/action",
        value={"action": {"verb": button["verb"], "data": button["data"]}},
    )
    answer = json.loads((await chat.post(pressed)).text)
    assert answer == {
        "statusCode": 200,
        "type": "application/vnd.microsoft.activity.message",
        "value": f"acknowledge: {INCIDENT}, by Ada Lovelace.",
    }
    assert chat.commands()[0].type == "acknowledge"


async def test_a_button_that_there_is_not_does_nothing(chat: Chat) -> None:
    wrong = {"verb": "tocsin_resolve", "data": 3}
    odd = {"verb": ["tocsin_resolve"], "data": {"incident": INCIDENT}}
    for value in (None, {"action": {"verb": "rm"}}, {"action": wrong}, {"action": odd}):
        pressed = chat.team.activity(type="invoke", name="adaptiveCard/action", value=value)
        assert json.loads((await chat.post(pressed)).text)["statusCode"] == 400
    assert chat.commands() == []


async def test_what_is_said_in_the_thread_is_copied_to_the_timeline_once(chat: Chat) -> None:
    said = chat.team.activity(text="<p>a &lt; b</p>", conversation={"id": chat.thread})
    for _ in range(2):  # the service delivers at least once
        await chat.post(said)
    first, second = chat.commands()
    assert (first.type, first.actor, first.text) == ("note", "Ada Lovelace", "a < b")
    assert first.id == second.id  # which the incident's log recognises as a repeat


FORGED: tuple[dict[str, Any], ...] = (
    {"iss": "https://evil.example.org"},
    {"aud": "another bot"},
    {"exp": NOW_MS // 1000 - 301},
    {"nbf": NOW_MS // 1000 + 301},
    {"serviceurl": "https://evil.example.org"},
    {"serviceurl": None},
)


async def test_a_token_of_anybody_else_or_for_anything_else_is_turned_away(chat: Chat) -> None:
    said = chat.team.activity(text="hi", conversation={"id": chat.thread})
    for claims in FORGED:
        token = chat.team.token(now_s=NOW_MS // 1000, **claims)
        assert (await chat.post(said, token)).status == 401, claims
    assert chat.commands() == []


async def test_what_is_no_token_is_turned_away(chat: Chat) -> None:
    said = chat.team.activity(text="hi", conversation={"id": chat.thread})
    for token in (" ", "x", "e30.e30.", "eyJhbGciOiJub25lIn0.e30.", "é.é.é"):
        assert (await chat.post(said, token)).status == 401, token


async def test_what_nests_without_end_is_turned_away(chat: Chat) -> None:
    deep = "[" * 30_000
    named = f"Bearer {urlsafe_b64encode(deep.encode()).decode()}.x.x"
    for token in ("Bearer x", named):
        headers = {"Authorization": token}
        async with chat._session.post("/teams/messages", data=deep, headers=headers) as answer:
            assert answer.status == 401


async def test_a_token_of_another_key_with_the_same_name_is_turned_away(chat: Chat) -> None:
    token = chat.team.token(OTHER_KEY, now_s=NOW_MS // 1000)
    assert (await chat.post(chat.team.activity(text="hi"), token)).status == 401


async def test_a_key_that_is_not_endorsed_for_teams_is_turned_away(chat: Chat) -> None:
    chat.team.endorsements = ["skype"]
    assert (await chat.post(chat.team.activity(text="hi"))).status == 401


async def test_another_tenant_is_turned_away(chat: Chat) -> None:
    said = chat.team.activity(channelData={"tenant": {"id": f"{TENANT}-evil"}})
    assert (await chat.post(said)).status == 403


async def test_strangers_cannot_make_us_ask_for_keys_without_end(chat: Chat) -> None:
    await chat.post(chat.team.activity())
    unknown = RSAKey.import_key(OTHER_KEY.as_dict(private=True) | {"kid": "k-9"})
    for number in range(5):
        token = chat.team.token(unknown, now_s=NOW_MS // 1000, kid=f"k-{number + 2}")
        assert (await chat.post(chat.team.activity(), token)).status == 401
    assert chat.team.keys_asked == 1


async def test_new_keys_are_taken_over(chat: Chat) -> None:
    await chat.post(chat.team.activity())
    chat.team.key = OTHER_KEY
    chat.bench.clock.advance(25 * 3600)
    assert (await chat.post(chat.team.activity())).status == 200


async def test_answers_go_where_the_configuration_says_and_nowhere_else(chat: Chat) -> None:
    """The address in a request is signed for, yet it is not followed."""
    asked = asyncio.Event()

    async def taken(*_: Any) -> None:
        asked.set()

    server = await asyncio.start_server(taken, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    said = chat.team.activity(
        text="<at>tocsin</at> help",
        entities=[MENTION],
        serviceUrl=url,
        conversation={"id": chat.thread},
    )
    token = chat.team.token(now_s=NOW_MS // 1000, serviceurl=url)
    before = len(chat.team.posts)
    assert (await chat.post(said, token)).status == 200
    server.close()
    assert len(chat.team.posts) == before + 1
    assert not asked.is_set()


MALFORMED: tuple[dict[str, Any], ...] = (
        {"from": None}, {"from": []}, {"conversation": None}, {"conversation": "x"},
        {"entities": "x"}, {"entities": [None, {"type": "mention"}]}, {"type": "typing"},
        {"text": None}, {"type": None}, {"id": None},
)  # fmt: skip


async def test_what_is_malformed_is_taken_in_peace(chat: Chat) -> None:
    for changes in MALFORMED:
        assert (await chat.post(chat.team.activity(**changes))).status == 200, changes
