"""What doors of chat do with a request before they believe it."""

from typing import Any

import msgspec
from starlette.requests import Request

from sinks.notifier.clean import clean

MAX_BODY = 65_536
MAX_NAME = 80


async def body_of(request: Request, longest: int = MAX_BODY) -> bytes | None:
    """The request's body; None if it is longer than chats send."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > longest:
            return None
    return body


def object_in(body: bytes) -> dict[str, Any]:
    """The body as a JSON object, empty if it is none."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return an_object(said)


def an_object(value: object) -> dict[str, Any]:
    """What should be a JSON object, empty if it is none."""
    return value if isinstance(value, dict) else {}


def name_in(said: object, chat: str) -> str:
    """Somebody's name on one line; never tocsin's own, by which it would not be taken for a
    person's."""
    name = clean(str(said or ""))[:MAX_NAME]
    return name if name and name != "tocsin" else f"someone on {chat}"
