"""Teams by a bot: threads, edited cards and incidents' own channels, within Teams' limits."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.configuration import IncidentChannels
from sinks.notifier.channels import Message, Refused, Retry
from sinks.notifier.channels.teams_bot import TeamsBot
from sinks.notifier.channels.teams_cards import MAX_BYTES, fitting
from sinks.notifier.channels.teams_rooms import TeamsRooms, channel_name
from sinks.notifier.channels.teams_service import services
from tests.sinks.examples import cpu_incident
from tests.sinks.notifier import teams_look_alike
from tests.sinks.notifier.teams_look_alike import PASSWORD, TeamsBotLookAlike, teams_bot
from tests.sinks.notifier.test_webhook import message, now_ms

GENERAL = "19:general@thread.tacv2"


@pytest_asyncio.fixture
async def team() -> AsyncIterator[TeamsBotLookAlike]:
    async with teams_bot() as made:
        yield made


class Bot:
    """Bots on one team; each is closed after it has sent."""

    def __init__(self, team: TeamsBotLookAlike, password: str = PASSWORD, **rooms: Any) -> None:
        chosen = {"invite": ("ada@example.org",), **rooms}
        section = teams_look_alike.settings(team, incident_channels=IncidentChannels(**chosen))
        graph, connector = services(section, password, now_ms)
        owners = {"ts-order-service": "orders team"}
        self.channel = TeamsBot(section, graph, connector, TeamsRooms(graph, section, owners))

    async def send(self, made: Message) -> Any:
        try:
            receipt = await self.channel.send(made)
            await self.channel.bring_up_to_date(made, receipt)
            return receipt
        finally:
            await self.channel.close()


def posted(**changes: object) -> Message:
    details = msgspec.Raw(msgspec.json.encode(cpu_incident()))
    return message(**{"address": GENERAL, "details": details, **changes})


def own(**changes: object) -> Message:
    return posted(**{"address": "incident", **changes})


def card_of(post: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = post["attachments"][0]["content"]
    return made


async def test_later_messages_are_replies_and_the_card_above_them_is_edited(
    team: TeamsBotLookAlike,
) -> None:
    first = await Bot(team).send(posted())
    root = first.accepted
    assert first.thread == f"{GENERAL}:{root}"
    second = await Bot(team).send(
        posted(id="2", thread=first.thread, subject="[P2] Resolved", stage="resolved")
    )
    assert second.thread == first.thread
    thread = f"{GENERAL};messageid={root}"
    assert list(team.posts) == [f"{thread}/{root}", f"{thread}/{second.accepted}"]
    assert team.edits == [f"{thread}/{root}"]
    edited = card_of(team.posts[f"{thread}/{root}"])
    assert edited["body"][0]["text"] == r"\[P2\] Resolved"
    facts = {fact["title"] for fact in edited["body"][1]["facts"]}
    assert {"Where:", "Severity:", "Since:"} <= facts


async def test_an_incident_has_a_channel_of_its_own_with_the_right_people(
    team: TeamsBotLookAlike,
) -> None:
    invited = {"orders team": ("kim@example.org", "gone@example.org")}
    bot = Bot(team, invite_by_owner=invited)
    first = await bot.send(own())
    (room,) = team.channels.values()
    assert (room["displayName"], room["membershipType"]) == ("inc-inc-1", "standard")
    assert team.team == ["u-1", "u-2"]
    assert room["description"] == "[P2] cart is slow"
    (card,) = map(card_of, team.posts.values())
    assert card["body"][-1]["text"] == "<at>Ada Lovelace</at> <at>Kim b</at>"
    assert [e["mentioned"]["id"] for e in card["msteams"]["entities"]] == ["u-1", "u-2"]
    assert first.thread == f"{room['id']}:{first.accepted}:own"
    await Bot(team).send(own(id="2", thread=first.thread, subject="[P2] Resolved"))
    assert room["description"] == "[P2] Resolved"
    assert "entities" not in card_of(list(team.posts.values())[1])["msteams"]


@pytest.mark.parametrize(
    ("status", "failure"), [(429, "rate_limited"), (503, "unreachable"), (412, "unreachable")]
)
async def test_who_cannot_be_invited_just_now_is_invited_at_the_next_attempt(
    team: TeamsBotLookAlike, status: int, failure: str
) -> None:
    bot = Bot(team, invite=("ada@example.org", "kim@example.org"))
    team.away = {"members": status}
    with pytest.raises(Retry) as raised:
        await bot.send(own())
    assert (raised.value.failure, raised.value.after_seconds) == (failure, 7)
    assert not team.posts
    await Bot(team, invite=("ada@example.org", "kim@example.org")).send(own())
    assert team.team == ["u-1", "u-2"]
    assert len(team.channels) == len(team.posts) == 1


async def test_who_has_a_service_that_is_affected_later_is_invited_then(
    team: TeamsBotLookAlike,
) -> None:
    owners = {"orders team": ("kim@example.org",)}
    before = msgspec.Raw(msgspec.json.encode(cpu_incident(services=("other",))))
    first = await Bot(team, invite_by_owner=owners).send(own(details=before))
    assert team.team == ["u-1"]
    await Bot(team, invite_by_owner=owners).send(own(id="2", thread=first.thread))
    assert team.team == ["u-1", "u-2"]


async def test_a_private_channel_has_an_owner_and_its_members_one_by_one(
    team: TeamsBotLookAlike,
) -> None:
    await Bot(team, private=True, invite=("ada@example.org", "kim@example.org")).send(own())
    (room,) = team.channels.values()
    assert room["members"] == ["u-1", "u-2"]
    with pytest.raises(Refused, match="needs an owner"):
        await Bot(team, private=True, invite=()).send(own(incident_id="INC-2"))


async def test_a_channel_that_a_crash_left_is_found_again(team: TeamsBotLookAlike) -> None:
    await Bot(team).send(own())
    await Bot(team).send(own(id="2", recipient="manager"))
    assert len(team.channels) == 1
    assert len({post.partition(";")[0] for post in team.posts}) == 1


async def test_where_the_name_of_a_deleted_channel_is_still_taken_the_next_one_is(
    team: TeamsBotLookAlike,
) -> None:
    team.deleted = {"inc-inc-1"}
    await Bot(team).send(own())
    assert [c["displayName"] for c in team.channels.values()] == ["inc-inc-1-2"]
    team.deleted = {"inc-inc-2", "inc-inc-2-2", "inc-inc-2-3"}
    with pytest.raises(Refused, match="still taken"):
        await Bot(team).send(own(incident_id="INC-2"))


async def test_a_team_that_is_full_is_of_the_class_that_takes_the_next_way_at_once(
    team: TeamsBotLookAlike,
) -> None:
    team.room = 0
    with pytest.raises(Retry) as raised:
        await Bot(team).send(own())
    assert raised.value.failure == "auth"  # 403: no use in waiting, and it may be mended


async def test_a_thread_that_is_gone_is_begun_anew(team: TeamsBotLookAlike) -> None:
    receipt = await Bot(team).send(posted(thread=f"{GENERAL}:1"))
    assert receipt.thread == f"{GENERAL}:{receipt.accepted}"


async def test_a_channel_that_was_deleted_is_made_anew(team: TeamsBotLookAlike) -> None:
    bot = Bot(team)
    first = await bot.channel.send(own())
    team.channels.clear()
    team.posts.clear()
    team.deleted = {"inc-inc-1"}
    again = await bot.send(own(id="2", thread=first.thread))
    (room,) = team.channels.values()
    assert room["displayName"] == "inc-inc-1-2"
    assert again.thread.startswith(room["id"])


async def test_engineers_alone_get_buttons_and_none_when_it_is_over(
    team: TeamsBotLookAlike,
) -> None:
    for number, (changes, expected) in enumerate(
        (
            ({}, ["tocsin_acknowledge", "tocsin_resolve"]),
            ({"audience": "support"}, []),
            ({"stage": "resolved"}, []),
        )
    ):
        await Bot(team).send(posted(id=str(number), **changes))
        card = card_of(list(team.posts.values())[-1])
        pressed = [a["verb"] for a in card["actions"] if a["type"] == "Action.Execute"]
        assert pressed == expected


async def test_customers_cards_hold_nothing_but_their_text(team: TeamsBotLookAlike) -> None:
    first = await Bot(team).send(posted(audience="customer", details=msgspec.Raw(b"null")))
    await Bot(team).send(
        posted(audience="customer", details=msgspec.Raw(b"null"), thread=first.thread, id="2")
    )
    assert "ts-order-service" not in json.dumps(team.posts)


@pytest.mark.parametrize("where", ["graph_script", "script"])
async def test_retry_after_is_obeyed(team: TeamsBotLookAlike, where: str) -> None:
    getattr(team, where).append(web.Response(status=429, headers={"Retry-After": "17"}))
    with pytest.raises(Retry) as raised:
        await Bot(team).send(own())
    assert (raised.value.failure, raised.value.after_seconds) == ("rate_limited", 17)
    assert team.posts == {}


@pytest.mark.parametrize(
    ("status", "failure"), [(412, "unreachable"), (502, "unreachable"), (403, "auth")]
)
async def test_what_passes_is_tried_again(
    team: TeamsBotLookAlike, status: int, failure: str
) -> None:
    team.script = [web.Response(status=status)]
    with pytest.raises(Retry) as raised:
        await Bot(team).send(posted())
    assert raised.value.failure == failure


async def test_the_pace_is_one_that_teams_bears(team: TeamsBotLookAlike) -> None:
    """Each message is a reply and an edit; 60 requests in 30 seconds are borne in a thread."""
    requests_per_message = 2
    assert TeamsBot.messages * requests_per_message / TeamsBot.per_seconds <= 60 / 30
    assert TeamsBot.concurrency == 1
    team.is_strict = True
    first = await Bot(team).send(posted())
    for number in range(3):
        await Bot(team).send(posted(id=str(number), thread=first.thread))
    assert len(team.edits) == 3


async def test_a_card_that_cannot_be_edited_does_not_stop_the_news(
    team: TeamsBotLookAlike,
) -> None:
    first = await Bot(team).send(own())
    team.graph_script = [web.Response(status=500)]
    receipt = await Bot(team).send(own(id="2", thread=first.thread))
    assert receipt.accepted != first.accepted


async def test_a_token_that_is_turned_away_is_fetched_anew(team: TeamsBotLookAlike) -> None:
    bot = Bot(team)
    await bot.channel.send(posted())
    team.tokens = ["of another life"] * len(team.tokens)
    await bot.send(posted(id="2"))
    assert len(team.posts) == 2


async def test_a_wrong_password_may_be_mended_and_is_not_told(team: TeamsBotLookAlike) -> None:
    with pytest.raises(Retry, match="invalid_client") as raised:
        await Bot(team, password="not-it-at-all").send(posted())
    assert raised.value.failure == "auth"
    assert "not-it-at-all" not in str(raised.value)


@given(st.text(max_size=120), st.text(max_size=120))
def test_whatever_the_incident_is_called_teams_takes_the_name(prefix: str, name: str) -> None:
    made = channel_name(prefix, name)
    assert 0 < len(made) <= 50
    assert not set(made) & teams_look_alike.FORBIDDEN
    assert made[0] not in "_." and made[-1] not in "_. " and ".." not in made


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=4000), max_size=60).map("\n\n".join), st.text(max_size=9000))
def test_whatever_the_text_a_post_keeps_its_limit(text: str, subject: str) -> None:
    made = fitting(message(subject=subject), text, lambda card: {"activity": card}, buttons=True)
    assert len(made) <= MAX_BYTES
