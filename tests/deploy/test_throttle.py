"""Tokens cannot be guessed one after the other."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from deploy import throttle
from deploy.throttle import Throttle


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(clock: Clock) -> Throttle:
    async def door(request: Request) -> Response:
        right = request.headers.get("authorization") == "Bearer right"
        return PlainTextResponse("in" if right else "out", 200 if right else 401)

    async def page(_: Request) -> Response:
        return PlainTextResponse("page")

    pages = Starlette(routes=[Route("/door", door, methods=["GET", "POST"]), Route("/", page)])
    return Throttle(pages, most=3, within_seconds=60, clock=clock)


def ask(
    app: Throttle, path: str, token: str = "", *, client: str = "10.0.0.1", method: str = "GET"
) -> int:
    """The status of the answer to one request."""
    said: list[Message] = []
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {token}".encode())] if token else [],
        "client": (client, 1),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        said.append(message)

    asyncio.run(app(scope, receive, send))
    return int(said[0]["status"])


def test_after_some_wrong_ones_even_the_right_one_waits(app: Throttle, clock: Clock) -> None:
    assert [ask(app, "/door", f"guess {n}") for n in range(5)] == [401, 401, 401, 429, 429]
    assert ask(app, "/door", "right") == 429
    clock.now = 59.0
    assert ask(app, "/door", "right") == 429
    clock.now = 61.0
    assert ask(app, "/door", "right") == 200


def test_forms_and_signatures_count_too(app: Throttle) -> None:
    said = [ask(app, "/door", method="POST") for _ in range(4)]
    assert said == [401, 401, 401, 429]


def test_pages_that_ask_for_nothing_stay_open_and_those_without_a_token_do_not_count(
    app: Throttle,
) -> None:
    assert [ask(app, "/door") for _ in range(9)] == [401] * 9
    for n in range(4):
        ask(app, "/door", f"guess {n}")
    assert ask(app, "/") == 200


def test_others_are_not_held_up(app: Throttle) -> None:
    for n in range(4):
        ask(app, "/door", f"guess {n}")
    assert ask(app, "/door", "right", client="10.0.0.2") == 200


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
    ],
)
def test_a_whole_network_of_one_machine_is_one_client(
    app: Throttle, one: str, other: str, same: bool
) -> None:
    for n in range(4):
        ask(app, "/door", f"guess {n}", client=one)
    assert ask(app, "/door", "right", client=other) == (429 if same else 200)


def test_what_is_remembered_is_bounded(app: Throttle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST_CLIENTS", 5)
    for n in range(20):
        ask(app, "/door", "guess", client=f"10.0.1.{n}")
    assert len(app._wrong) == 5
