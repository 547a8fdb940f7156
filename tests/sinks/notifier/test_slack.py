"""Slack: posts within its limits, threads, and what its answers mean."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.notifier.channels import Link, Refused, Retry
from sinks.notifier.channels.slack import Slack, blocks, fallback
from tests.sinks.notifier.receivers import SlackLookAlike, block_problem, slack
from tests.sinks.notifier.test_webhook import message, now_ms


@pytest_asyncio.fixture
async def team() -> AsyncIterator[SlackLookAlike]:
    async with slack() as made:
        yield made


def channel(team: SlackLookAlike, token: str = "xoxb-secret", timeout_seconds: int = 5) -> Slack:
    return Slack(token, team.url, now_ms, timeout_seconds)


async def test_later_messages_go_into_the_first_ones_thread(team: SlackLookAlike) -> None:
    first = await channel(team).send(message())
    second = await channel(team).send(message(id="2", thread=first.thread))
    assert team.posted[1]["thread_ts"] == team.posted[0]["ts"] == second.thread
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
    found = blocks(made)
    assert len(found) <= 50
    assert [block_problem(block) for block in found] == [None] * len(found)
    assert len(fallback(made)) <= 4000


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
