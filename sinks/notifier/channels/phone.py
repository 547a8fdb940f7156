"""Text messages and calls, through the webhook of whichever provider one has.

The body is JSON: `{"to", "text", "kind": "sms" or "voice", "message_id", "language"}`. An answer
with an `id` is taken as the provider's own id of the message.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from sinks.notifier.channels.channel import Message, Receipt
from sinks.notifier.channels.http import Http
from sinks.notifier.channels.sms_parts import fitting, is_gsm
from sinks.outgoing import Outgoing
from sinks.signing import Signed

MAX_LINK = 200
"""A longer link would leave no room for words."""
MAX_SPEECH = 700
"""About a minute when read out."""

Kind = Literal["sms", "voice"]


class PhoneBody(msgspec.Struct, frozen=True):
    """What the provider is asked."""

    to: str
    text: str
    kind: Kind
    message_id: str
    language: str


class Phone:
    """Posts to a provider; `token` goes as bearer, `secret` signs."""

    messages = 1.0
    per_seconds = 1.0
    concurrency = 2

    def __init__(
        self,
        kind: Kind,
        url: str,
        *,
        secret: str | None,
        token: str | None,
        now_ms: Callable[[], int],
        timeout_seconds: float = 10,
        outgoing: Outgoing | None = None,
    ) -> None:
        self._kind: Kind = kind
        self._url = url
        self._signed = Signed(secret, now_ms)
        self._bearer = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = Http(f"the {kind} provider", now_ms, timeout_seconds, outgoing)

    async def send(self, message: Message) -> Receipt:
        """Posts the message. 2xx is taken, 401, 403, 408, 429 and 5xx may be later."""
        text = sms(message) if self._kind == "sms" else speech(message)
        made = PhoneBody(message.address, text, self._kind, message.id, message.language)
        body = msgspec.json.encode(made)
        headers = {**self._bearer, **self._signed.headers(message.id, body)}
        answer = await self._http.post(self._url, body, headers)
        return Receipt(accepted=_id_in(answer))

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()


def sms(message: Message) -> str:
    """The subject and the first link: what one needs to act, however small the screen."""
    link = f"\n{message.links[0].url}" if message.links else ""
    return fitting(message.subject, link if len(link) <= MAX_LINK and is_gsm(link) else "")


def speech(message: Message) -> str:
    """The subject and the first paragraph, to be read out; no addresses."""
    paragraph = message.text.strip().partition("\n\n")[0].replace("\n", ". ")
    return _cut(f"{message.subject}. {paragraph}", MAX_SPEECH)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _id_in(answer: bytes) -> str | None:
    try:
        return str(msgspec.json.decode(answer)["id"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
