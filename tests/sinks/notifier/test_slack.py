"""Slack: posts within its limits, threads, and what its answers mean."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.configuration import IncidentChannels
from sinks.notifier.channels import Link, Message, Receipt, Refused, Retry
from sinks.notifier.channels.slack import Slack, slack_client
from sinks.notifier.channels.slack_blocks import blocks, card, fallback
from sinks.notifier.channels.slack_rooms import Rooms, channel_name
from sinks.notifier.channels.thread import Thread
from tests.sinks.examples import cpu_incident
from tests.sinks.notifier.slack_look_alike import SlackLookAlike, block_problem, slack
from tests.sinks.notifier.test_webhook import message, now_ms


@pytest_asyncio.fixture
async def team() -> AsyncIterator[SlackLookAlike]:
    async with slack() as made:
        yield made


def channel(team: SlackLookAlike, token: str = "xoxb-secret", timeout_seconds: int = 5) -> Slack:
    return Slack(slack_client(token, team.url, timeout_seconds), now_ms)


def own_channels(team: SlackLookAlike, **changes: object) -> Slack:
    client = slack_client("xoxb-secret", team.url)
    settings = msgspec.structs.replace(IncidentChannels(invite=("ada@example.org",)), **changes)
    owners = {"ts-order-service": "orders team"}
    return Slack(client, now_ms, rooms=Rooms(client, settings, owners), buttons=True)


def own(**changes: object) -> Message:
    details = msgspec.Raw(msgspec.json.encode(cpu_incident()))
    return message(**{"address": "incident", "details": details, **changes})


async def send(slack_: Slack, made: Message) -> Receipt:
    """As the sender does it: what is above the message is edited once that has arrived."""
    receipt = await slack_.send(made)
    await slack_.bring_up_to_date(made, receipt)
    return receipt


async def test_later_messages_go_into_the_first_ones_thread(team: SlackLookAlike) -> None:
    first = await channel(team).send(message())
    second = await channel(team).send(message(id="2", thread=first.thread))
    ts = team.posted[0]["ts"]
    assert team.posted[1]["thread_ts"] == ts
    assert first.thread == second.thread == f"Cops:{ts}"
    assert (first.accepted, second.accepted) == (ts, team.posted[1]["ts"])
    assert team.posted[0]["client_msg_id"] == message().id
    assert team.posted[0]["metadata"]["event_payload"]["message_id"] == message().id


async def test_labels_are_bold_and_links_are_links(team: SlackLookAlike) -> None:
    await channel(team).send(message())
    header, lead, facts, links = team.posted[0]["blocks"]
    assert header["text"]["text"] == "[P2] cart is slow"
    assert lead["elements"][0]["elements"] == [{"type": "text", "text": "It is slow."}]
    assert facts["elements"][0]["elements"][0] == {
        "type": "text",
        "text": "Where: ",
        "style": {"bold": True},
    }
    assert links["elements"][0]["elements"][0]["url"].endswith("/incidents/INC-1")


async def test_telemetry_can_neither_mention_nor_link(team: SlackLookAlike) -> None:
    await channel(team).send(message(subject="<!channel> & <https://x|y>", text="<!here> *b*"))
    post = team.posted[0]
    assert post["text"] == "&lt;!channel&gt; &amp; &lt;https://x|y&gt;"
    assert post["blocks"][1]["elements"][0]["elements"] == [{"type": "text", "text": "<!here> *b*"}]


@settings(deadline=None)
@given(
    subject=st.text(min_size=1, max_size=400),
    text=st.lists(st.text(max_size=4000), max_size=80).map("\n\n".join),
    links=st.lists(st.just(Link("Case", "https://example.org")), max_size=4),
)
def test_whatever_the_text_the_blocks_are_within_the_limits(
    subject: str, text: str, links: list[Link]
) -> None:
    made = message(subject=subject, text=text, links=tuple(links))
    found = [*blocks(made, buttons=True), *card(made)]
    assert len(blocks(made, buttons=True)) <= 50
    assert [block_problem(block) for block in found] == [None] * len(found)
    assert len(fallback(made)) <= 4000


async def test_a_message_that_is_cut_says_so_and_keeps_its_buttons(team: SlackLookAlike) -> None:
    text = "\n\n".join(f"paragraph {number}" for number in range(80))
    await own_channels(team).send(own(text=text))
    *_, cut, _, buttons = team.posted[0]["blocks"]
    assert cut["elements"][0]["elements"] == [{"type": "text", "text": "…"}]
    assert buttons["type"] == "actions"
    assert len(team.posted[0]["blocks"]) == 50


async def test_a_limit_is_tried_again_after_as_long_as_slack_says(team: SlackLookAlike) -> None:
    team.script = [
        web.json_response(
            {"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "30"}
        )
    ]
    with pytest.raises(Retry) as raised:
        await channel(team).send(message())
    assert (raised.value.failure, raised.value.after_seconds) == ("rate_limited", 30)


async def test_a_refused_token_may_be_mended(team: SlackLookAlike) -> None:
    with pytest.raises(Retry) as raised:
        await channel(team, token="xoxb-other").send(message())
    assert raised.value.failure == "auth"
    assert "xoxb" not in raised.value.detail


async def test_an_unknown_channel_is_a_refusal(team: SlackLookAlike) -> None:
    with pytest.raises(Refused, match="channel_not_found"):
        await channel(team).send(message(address="ops"))


@pytest.mark.parametrize("kind", ["application/json", "text/html", "text/plain"])
async def test_a_slack_that_is_down_is_tried_again(team: SlackLookAlike, kind: str) -> None:
    team.script = [web.Response(status=503, body=b"{", content_type=kind)]
    with pytest.raises(Retry) as raised:
        await channel(team).send(message())
    assert raised.value.failure == "unreachable"


async def test_a_thread_that_was_deleted_does_not_stop_the_news(team: SlackLookAlike) -> None:
    await channel(team).send(message(thread="1.0"))
    assert "thread_ts" not in team.posted[0]


async def test_the_card_is_edited_in_place_and_says_how_it_stands(team: SlackLookAlike) -> None:
    first = await channel(team).send(own(address="#ops", text="It is slow."))
    later = own(address="#ops", id="2", thread=first.thread, subject="[P2] ada has it")
    await send(channel(team), later)
    (edited,) = team.edited
    assert edited["ts"] == team.posted[0]["ts"]
    assert edited["blocks"][0]["text"]["text"] == "[P2] ada has it"
    said = "".join(e["text"] for e in edited["blocks"][1]["elements"][0]["elements"])
    assert "Where: ts-order-service and ts-travel-service" in said
    assert "Severity: P2, major" in said


async def test_a_card_that_cannot_be_edited_does_not_stop_the_news(team: SlackLookAlike) -> None:
    await channel(team).send(message())
    gone = str(Thread("Cops", "1.0"))
    receipt = await send(channel(team), message(id="2", thread=gone, address="#ops"))
    assert receipt.accepted == team.posted[-1]["ts"]


async def test_an_incident_has_a_channel_of_its_own_with_the_right_people(
    team: SlackLookAlike,
) -> None:
    invited = {"orders team": ("kim@example.org", "gone@example.org")}
    slack_ = own_channels(team, invite_by_owner=invited)
    first = await slack_.send(own())
    (room,) = team.channels.values()
    assert room["name"] == "inc-inc-1"
    assert room["members"] == ["U1", "U2"]
    assert room["topic"] == "[P2] cart is slow"
    await send(slack_, own(id="2", thread=first.thread, subject="[P2] Resolved"))
    assert room["topic"] == "[P2] Resolved"
    assert "thread_ts" not in team.posted[1]
    assert {post["channel"] for post in team.posted} == {room["id"]}


@pytest.mark.parametrize("method", ["conversations.invite", "users.lookupByEmail"])
async def test_who_cannot_be_invited_just_now_is_invited_at_the_next_attempt(
    team: SlackLookAlike, method: str
) -> None:
    slack_ = own_channels(team, invite=("gone@example.org", "ada@example.org", "kim@example.org"))
    team.limited = [method]
    with pytest.raises(Retry) as raised:
        await slack_.send(own())
    assert (raised.value.failure, raised.value.after_seconds) == ("rate_limited", 1)
    assert team.posted == []
    await slack_.send(own())
    (room,) = team.channels.values()
    assert room["members"] == ["U1", "U2"]
    assert len(team.posted) == 1


async def test_who_has_a_service_that_is_affected_later_is_invited_then(
    team: SlackLookAlike,
) -> None:
    slack_ = own_channels(team, invite_by_owner={"orders team": ("kim@example.org",)})
    before = msgspec.Raw(msgspec.json.encode(cpu_incident(services=("other",))))
    first = await slack_.send(own(details=before))
    (room,) = team.channels.values()
    assert room["members"] == ["U1"]
    team.limited = ["conversations.invite"]
    await send(slack_, own(id="2", thread=first.thread))
    assert room["members"] == ["U1"]
    await send(slack_, own(id="3", thread=first.thread))
    assert room["members"] == ["U1", "U2"]
    asked = team.calls.count("users.lookupByEmail")
    await send(slack_, own(id="4", thread=first.thread))
    assert team.calls.count("users.lookupByEmail") == asked


async def test_a_channel_that_a_crash_left_is_found_again(team: SlackLookAlike) -> None:
    await own_channels(team).send(own())
    await own_channels(team).send(own(id="2"))
    assert len(team.channels) == 1
    assert len(team.posted) == 2


@pytest.mark.parametrize("where", ["#ops", "a thread", "incident"])
async def test_what_may_have_arrived_before_is_looked_for_and_not_posted_again(
    team: SlackLookAlike, where: str
) -> None:
    team.page = 2
    slack_ = own_channels(team)
    first = await slack_.send(own(address="#ops" if where == "a thread" else where))
    about = {"address": "#ops", "thread": first.thread} if where == "a thread" else {}
    made = own(**{"id": "2", "address": where, **about})
    before = await slack_.send(made)
    for number in range(3):
        await slack_.send(own(**{"id": f"later {number}", "address": where, **about}))
    count = len(team.posted)
    again = await slack_.send(msgspec.structs.replace(made, may_have_arrived=True))
    assert (again.thread, again.accepted) == (before.thread, before.accepted)
    assert len(team.posted) == count


async def test_what_did_not_arrive_is_posted_though_it_may_have(team: SlackLookAlike) -> None:
    for made in (message(), message(id="2", may_have_arrived=True)):
        await channel(team).send(made)
    assert [post["client_msg_id"] for post in team.posted] == [message().id, "2"]


@pytest.mark.parametrize(("code", "posts"), [("missing_scope", 1), ("ratelimited", 0)])
async def test_where_we_may_not_look_it_is_posted_and_where_slack_is_in_trouble_it_waits(
    team: SlackLookAlike, code: str, posts: int
) -> None:
    team.script = [web.json_response({"ok": False, "error": code})]
    made = message(address="C0", may_have_arrived=True)
    team.channels["C0"] = {"id": "C0", "name": "ops", "members": [], "topic": ""}
    if posts:
        await channel(team).send(made)
    else:
        with pytest.raises(Retry):
            await channel(team).send(made)
    assert len(team.posted) == posts


async def test_two_who_write_to_the_same_channel_share_it(team: SlackLookAlike) -> None:
    slack_ = own_channels(team)
    await slack_.send(own())
    await slack_.send(own(id="2", recipient="manager"))
    assert len(team.channels) == 1


@given(st.text(min_size=1, max_size=200))
def test_whatever_the_incident_is_called_slack_takes_the_name(name: str) -> None:
    made = channel_name("inc-", name)
    assert 0 < len(made) <= 80
    assert made == made.lower()
    assert not set(made) & set(" .,#")


async def test_engineers_alone_get_buttons_and_none_when_it_is_over(team: SlackLookAlike) -> None:
    slack_ = own_channels(team)
    for changes, expected in (
        ({}, True),
        ({"audience": "support"}, False),
        ({"stage": "resolved"}, False),
    ):
        await slack_.send(own(id=str(changes), **changes))
        assert (team.posted[-1]["blocks"][-1]["type"] == "actions") is expected


async def test_one_message_a_second_is_what_slack_takes_and_what_it_gets(
    team: SlackLookAlike,
) -> None:
    team.is_strict = True
    slack_ = channel(team)
    await slack_.send(message())
    with pytest.raises(Retry) as raised:
        await slack_.send(message(id="2"))
    assert (raised.value.failure, raised.value.after_seconds) == ("rate_limited", 1)
    assert slack_.messages / slack_.per_seconds <= 1
    assert slack_.concurrency == 1


@pytest.mark.parametrize(
    ("token", "thread"),
    [
        ("C1:1.2", Thread("C1", "1.2")),
        ("C1:1.2:own", Thread("C1", "1.2", True)),
        ("1.2", Thread("", "1.2")),
        (None, None),
    ],
)
def test_what_is_kept_of_a_thread_is_read_again(token: str | None, thread: Thread | None) -> None:
    assert Thread.read(token) == thread
