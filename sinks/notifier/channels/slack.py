"""Messages to Slack by bot token, one thread an incident."""

from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.models.blocks import HeaderBlock
from slack_sdk.web.async_client import AsyncWebClient

from schemas.incidents import FailureClass
from sinks.notifier.channels.channel import (
    Line,
    Message,
    Receipt,
    Refused,
    Retry,
    paragraphs,
    retry_after_seconds,
)

MAX_BLOCKS = 50
MAX_HEADER = 150
MAX_BLOCK_TEXT = 3000
MAX_FALLBACK = 4000

_AUTH = frozenset(
    (
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "missing_scope",
        "no_permission",
        "team_access_not_granted",
        "access_denied",
    )
)
_TRANSIENT = frozenset(
    ("internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org")
)


class Slack:
    """Posts with `chat.postMessage`; the first message's `ts` is the thread of the rest.

    Text goes as rich text, Slack's structured form, in which nothing is markup: what telemetry
    holds can neither mention a channel nor make a link. `client_msg_id` and the metadata hold
    the message's id, the same at every attempt.
    """

    messages = 1.0
    per_seconds = 1.0
    concurrency = 2

    def __init__(
        self, token: str, base_url: str, now_ms: Callable[[], int], timeout_seconds: int = 10
    ) -> None:
        self._now_ms = now_ms
        self._client = AsyncWebClient(
            token=token, base_url=base_url, timeout=timeout_seconds, retry_handlers=[]
        )

    async def send(self, message: Message) -> Receipt:
        """Posts the message, in the thread if there still is one.

        Raises Retry for limits, trouble and tokens, Refused for what Slack will never take.
        """
        try:
            response = await self._client.chat_postMessage(
                channel=message.address,
                text=fallback(message),
                blocks=blocks(message),
                thread_ts=message.thread,
                unfurl_links=False,
                unfurl_media=False,
                client_msg_id=message.id,
                metadata={
                    "event_type": "tocsin_message",
                    "event_payload": {"message_id": message.id, "event_id": message.event_id},
                },
            )
        except SlackApiError as error:
            if message.thread and _error_code(error.response) == "thread_not_found":
                return await self.send(msgspec.structs.replace(message, thread=None))
            raise outcome(error, self._now_ms()) from error
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Retry("unreachable", f"{type(error).__name__} from Slack") from error
        return Receipt(thread=message.thread or response.get("ts"))

    async def close(self) -> None:
        """The client opens a connection for each request; nothing stays open."""


def outcome(error: SlackApiError, now_ms: int) -> Retry | Refused:
    """What Slack's answer means for the message."""
    response: Any = error.response
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    headers = {
        str(k).lower(): str(v) for k, v in (getattr(response, "headers", None) or {}).items()
    }
    code = _error_code(response)
    after = retry_after_seconds(headers.get("retry-after"), now_ms)
    failure: FailureClass = "unreachable"
    if status == 429 or code in ("ratelimited", "rate_limited"):
        failure = "rate_limited"
    elif code in _AUTH:
        failure = "auth"
    elif code and status < 500 and code not in _TRANSIENT:
        return Refused(f"Slack answered {code}")
    return Retry(failure, f"Slack answered {code or status}", after)


def _error_code(response: Any) -> str:
    data = getattr(response, "data", None)
    return str(data.get("error", "")) if isinstance(data, dict) else ""


def fallback(message: Message) -> str:
    """What notifications show; here `&`, `<` and `>` are markup and are escaped."""
    text = message.subject.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text[:MAX_FALLBACK]


def blocks(message: Message) -> list[dict[str, Any]]:
    """The message as a header, rich text and links, within Slack's limits."""
    header = HeaderBlock(text=_cut(message.subject, MAX_HEADER)).to_dict()
    body = [_rich_text(_section(lines)) for lines in paragraphs(message.text)]
    links = [
        {"type": "link", "url": link.url, "text": link.label, "style": {"bold": True}}
        for link in message.links
    ]
    parted: list[dict[str, Any]] = []
    for link in links:
        parted += [{"type": "text", "text": "   "}, link] if parted else [link]
    tail = [_rich_text(parted)] if parted else []
    return [header, *body[: MAX_BLOCKS - 2], *tail]


def _rich_text(elements: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "rich_text",
        "elements": [{"type": "rich_text_section", "elements": elements}],
    }


def _section(lines: list[Line]) -> list[dict[str, Any]]:
    elements: list[dict[str, Any]] = []
    room = MAX_BLOCK_TEXT
    for number, line in enumerate(lines):
        label = f"{line.label}: " if line.label else "• " if line.item else ""
        text = _cut(line.text + ("\n" if number < len(lines) - 1 else ""), room - len(label))
        if not text:
            break
        if label:
            elements.append({"type": "text", "text": label, "style": {"bold": True}})
        elements.append({"type": "text", "text": text})
        room -= len(label) + len(text)
    return elements


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…" if limit > 0 else ""
