"""Looks in Slack whether a message is there already.

Slack promises applications no key by which it would know a repeat (`client_msg_id` is its own
programs'), but shows them the metadata of what they have posted: our id is in it. So a message
that may have arrived before is looked for, instead of being posted again.
"""

from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from sinks.notifier.channels.channel import Message
from sinks.notifier.channels.slack_rooms import find_channel
from sinks.notifier.channels.thread import Thread

PAGE = 200
MAX_PAGES = 5
EARLIER_SECONDS = 300
"""So long before the event that a message is about, nothing was said of it; clocks may differ."""
_BLIND = frozenset(
    ("missing_scope", "no_permission", "not_in_channel", "channel_not_found", "thread_not_found")
)
"""Answers by which we shall never see: the message is posted, if need be once more."""

log = structlog.get_logger("tocsin.notifier")


async def posted_before(
    client: AsyncWebClient, message: Message, channel: str, thread_ts: str | None
) -> Thread | None:
    """Where the message stands already; None if it does not, or if we may not look.

    `channel` is an id or the `#name` of a public channel. Raises SlackApiError for trouble that
    passes.
    """
    try:
        if channel.startswith("#"):
            found = await find_channel(client, channel[1:], "public_channel")
            if found is None:
                return None
            channel = found
        return await _look(client, message, channel, thread_ts)
    except SlackApiError as error:
        code = str(error.response.get("error"))
        if code not in _BLIND:
            raise
        log.warning("not looked for before it is sent again", message_id=message.id, error=code)
        return None


async def _look(
    client: AsyncWebClient, message: Message, channel: str, thread_ts: str | None
) -> Thread | None:
    where: dict[str, Any] = {
        "channel": channel,
        "oldest": str(message.time_ms / 1000 - EARLIER_SECONDS),
        "include_all_metadata": True,
        "limit": PAGE,
    }
    cursor = ""
    for _ in range(MAX_PAGES):
        if thread_ts is None:
            page = await client.conversations_history(**where, cursor=cursor)
        else:
            page = await client.conversations_replies(**where, ts=thread_ts, cursor=cursor)
        for post in page.get("messages") or ():
            if _id_in(post) == message.id:
                return Thread(channel, str(post["ts"]))
        cursor = str((page.get("response_metadata") or {}).get("next_cursor", ""))
        if not cursor:
            return None
    return None


def _id_in(post: dict[str, Any]) -> str:
    payload = (post.get("metadata") or {}).get("event_payload") or {}
    return str(payload.get("message_id", ""))
