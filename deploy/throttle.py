"""Whoever offers wrong tokens or signatures again and again is not listened to for a while."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import structlog
from prometheus_client import Counter
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger(__name__)

WRONG = Counter(
    "tocsin_http_wrong_credentials_total", "Requests whose token or signature was wrong"
)
TURNED_AWAY = Counter(
    "tocsin_http_turned_away_total", "Requests not looked at, after too many with wrong ones"
)

MOST_WRONG = 20
WITHIN_SECONDS = 60.0
MOST_CLIENTS = 10_000
"""So many addresses are remembered; the one that was heard longest ago is forgotten first."""


class Throttle:
    """Answers 429 to an address that was wrong too often, wherever it might be right by chance.

    Pages that ask for nothing stay open to it. Clients are told apart by address, of IPv6 by
    network, since a machine has a whole one; behind a proxy on this machine by what it forwards.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most: int = MOST_WRONG,
        within_seconds: float = WITHIN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._most = most
        self._within_seconds = within_seconds
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI door."""
        if scope["type"] != "http" or not _offers_something(scope):
            await self._app(scope, receive, send)
            return
        client = _client(scope)
        if wait_seconds := self._left(client):
            TURNED_AWAY.inc()
            headers = {"Retry-After": str(int(wait_seconds) + 1)}
            answer = PlainTextResponse("too many wrong tokens; wait\n", 429, headers)
            await answer(scope, receive, send)
            return

        async def look(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                self._note(client)
            await send(message)

        await self._app(scope, receive, look)

    def _left(self, client: str) -> float:
        """Seconds until the client is listened to again; 0 if it is now."""
        times, now = self._wrong.get(client, ()), self._clock()
        recent = [at for at in times if now - at < self._within_seconds]
        return 0.0 if len(recent) < self._most else recent[0] + self._within_seconds - now

    def _note(self, client: str) -> None:
        WRONG.inc()
        times = self._wrong.setdefault(client, deque(maxlen=self._most))
        times.append(self._clock())
        self._wrong.move_to_end(client)
        if len(self._wrong) > MOST_CLIENTS:
            self._wrong.popitem(last=False)
        if self._left(client):
            log.warning("too many wrong tokens", client=client, within_seconds=self._within_seconds)


def _offers_something(scope: Scope) -> bool:
    named = {name for name, _ in scope["headers"]}
    return scope["method"] not in ("GET", "HEAD", "OPTIONS") or b"authorization" in named


def _client(scope: Scope) -> str:
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address)
