"""Microsoft Teams' way to us: an outgoing webhook, which is called when it is mentioned.

Its requests carry `Authorization: HMAC <base64>`, the SHA-256 of the body under the token that
Teams gave when the webhook was made.
See https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-outgoing-webhook.
"""

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from html import unescape
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sinks.notifier.chat.desk import ChatDesk
from sinks.notifier.clean import clean

MAX_BODY = 65_536
MAX_NAME = 80


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
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return PlainTextResponse("too long\n", 413)
        if not self._is_signed(request.headers.get("authorization", ""), body):
            return PlainTextResponse("not signed by Teams\n", 401)
        said = _said(body)
        answer = await self._desk.obey(
            line_in(str(said.get("text", ""))),
            id=f"teams/{said.get('id', '')}",
            actor=clean((said.get("from") or {}).get("name", ""))[:MAX_NAME] or "someone on Teams",
        )
        return JSONResponse({"type": "message", "text": answer.replace("\n", "<br>")})

    def _is_signed(self, header: str, body: bytes) -> bool:
        scheme, _, given = header.partition(" ")
        made = b64encode(hmac.new(self._key, body, hashlib.sha256).digest())
        return scheme == "HMAC" and hmac.compare_digest(given.strip().encode(), made)


def line_in(text: str) -> str:
    """What was typed, without the mention and the markup around it."""
    bare = re.sub(r"<at>.*?</at>", " ", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", bare))).strip()


def _said(body: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return said if isinstance(said, dict) else {}
