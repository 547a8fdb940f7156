"""Microsoft Teams' way to us: an outgoing webhook, which is called when it is mentioned.

Its requests carry `Authorization: HMAC <base64>`, the SHA-256 of the body under the token that
Teams gave when the webhook was made. The time that the body says is signed with it, so a request
that was overheard is worth nothing later.
See https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-outgoing-webhook.
"""

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from html import unescape

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sinks.notifier.chat.body import body_of, name_in, object_in
from sinks.notifier.chat.desk import ChatDesk

PATIENCE_MS = 300_000
"""How far clocks may differ, and a request be under way; as with Slack."""


class TeamsSecretError(ValueError):
    """The token is not one that Teams gives."""


class TeamsDoor:
    """The address of an outgoing webhook. Raises TeamsSecretError for a token that is none."""

    def __init__(self, token: str, desk: ChatDesk) -> None:
        try:
            self._key = b64decode(token, validate=True)
        except binascii.Error as error:
            raise TeamsSecretError(
                "notifier.channels.teams_secret: is not base64; copy the token that Teams showed "
                "when the outgoing webhook was made"
            ) from error
        self._desk = desk

    def routes(self) -> list[BaseRoute]:
        """Under `/teams/`."""
        return [Route("/teams/commands", self._command, methods=["POST"])]

    async def _command(self, request: Request) -> Response:
        body = await body_of(request)
        if body is None:
            return PlainTextResponse("too long\n", 413)
        if not self._is_signed(request.headers.get("authorization", ""), body):
            return PlainTextResponse("not signed by Teams\n", 401)
        said = object_in(body)
        if self._is_old(said.get("timestamp")):
            return PlainTextResponse("signed too long ago\n", 401)
        teller = said.get("from")
        answer = await self._desk.obey(
            line_in(str(said.get("text", ""))),
            id=f"teams/{said.get('id', '')}",
            actor=name_in(teller.get("name") if isinstance(teller, dict) else None, "Teams"),
        )
        return JSONResponse({"type": "message", "text": answer.replace("\n", "<br>")})

    def _is_signed(self, header: str, body: bytes) -> bool:
        scheme, _, given = header.partition(" ")
        made = b64encode(hmac.new(self._key, body, hashlib.sha256).digest())
        return scheme == "HMAC" and hmac.compare_digest(given.strip().encode(), made)

    def _is_old(self, timestamp: object) -> bool:
        """Whether it was said longer ago than clocks differ; without a time it cannot be told."""
        if timestamp is None:
            return False
        try:
            said = datetime.fromisoformat(str(timestamp))
            said_ms = said.replace(tzinfo=said.tzinfo or UTC).timestamp() * 1000
        except (ValueError, OverflowError):
            return True
        return abs(self._desk.now_ms() - said_ms) > PATIENCE_MS


def line_in(text: str) -> str:
    """What was typed, without the mention and the markup around it."""
    bare = re.sub(r"<at>.*?</at>", " ", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", bare))).strip()
