"""What the JSON API answers with, and what it reads, whatever it is asked."""

from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sinks.case_store.access import Access
from sinks.case_store.commands import (
    CommandNotSentError,
    CommandRefusedError,
    KeyReusedError,
)

LARGEST_BODY = 65_536


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error after RFC 9457."""

    title: str
    status: int
    detail: str


class TooLargeError(Exception):
    """A body beyond what any command needs."""


class NotACommandError(Exception):
    """A body that is no JSON of a command."""


PROBLEMS: dict[type[Exception], tuple[int, str]] = {
    TooLargeError: (413, "Too large"),
    NotACommandError: (400, "Not a command"),
    KeyReusedError: (409, "Id used before"),
    CommandRefusedError: (422, "Command refused"),
    CommandNotSentError: (503, "Command not sent"),
}


async def body(request: Request) -> bytes:
    """The body, up to 64 KiB. Raises `TooLargeError`, before reading more than that."""
    content = bytearray()
    try:
        async for part in request.stream():
            content += part
            if len(content) > LARGEST_BODY:
                raise TooLargeError(f"a command is at most {LARGEST_BODY} bytes")
    except ClientDisconnect:
        return b""
    return bytes(content)


def json_of(content: Any, status: int = 200) -> Response:
    """The content as JSON that nobody keeps."""
    return Response(
        msgspec.json.encode(content),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


def problem(status: int, title: str, detail: str) -> Response:
    """An error after RFC 9457."""
    response = json_of(Problem(title=title, status=status, detail=detail), status)
    response.headers["Content-Type"] = "application/problem+json"
    return response


def token_needed() -> Response:
    """That a bearer token is needed."""
    response = problem(401, "Token needed", "send Authorization: Bearer <token>")
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def refusal(access: Access, request: Request) -> Response | None:
    """Why the sender may change nothing; None if they may."""
    if not access.writable:
        return problem(
            403, "Read-only", "no token is configured; set case_store.token to allow commands"
        )
    right = access.right_of_bearer(request)
    if right is None:
        return token_needed()
    if right != "change":
        return problem(403, "Read-only", "this token may only read; send case_store.token")
    return None
