"""The routes: every page is made at most once a second and then handed out as bytes."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sinks.status_page import metrics
from sinks.status_page.api import PATHS, Api
from sinks.status_page.board import Board
from sinks.status_page.feed import atom
from sinks.status_page.incident import PublicIncident
from sinks.status_page.pages import Pages, View
from sinks.status_page.tongue import preferred, tongue

FRESH_MS = 1_000
"""A rendered page may be this old before it is made anew (a change is shown at once)."""

MAX_RENDERED = 512

_NO_DOCUMENT = b'{"error":"not found; see /api/v2/summary.json"}'

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A body that is ready to be sent, plain and compressed."""

    body: bytes
    compressed: bytes
    etag: str
    media_type: str
    status: int = 200


@dataclass(slots=True)
class _Snapshot:
    board: Board
    revision: int
    rendered: dict[str, Rendered] = field(default_factory=dict)

    def once(self, key: str, make: Callable[[], str | bytes], kind: str, status: int) -> Rendered:
        """Makes the body the first time it is asked for. Bounded, since addresses are not."""
        if key in self.rendered:
            return self.rendered[key]
        made = make()
        body = made.encode() if isinstance(made, str) else made
        result = Rendered(
            body=body,
            compressed=gzip.compress(body, compresslevel=6, mtime=0),
            # Weak: the compressed and the plain body share it.
            etag=f'W/"{sha256(body).hexdigest()[:32]}"',
            media_type=kind,
            status=status,
        )
        if len(self.rendered) < MAX_RENDERED:
            self.rendered[key] = result
        return result


class Serving:
    """Serves what `load` says; `old_incident` finds an incident from before the time shown."""

    def __init__(
        self,
        pages: Pages,
        api: Api,
        load: Callable[[], Awaitable[Board]],
        old_incident: Callable[[str], Awaitable[PublicIncident | None]],
        now_ms: Callable[[], int],
    ) -> None:
        self._pages = pages
        self._api = api
        self._load = load
        self._old_incident = old_incident
        self._now_ms = now_ms
        self._snapshot: _Snapshot | None = None
        self._revision = 0
        self._loading = asyncio.Lock()

    def changed(self) -> None:
        """The next request sees the store anew."""
        self._revision += 1

    def routes(self) -> list[BaseRoute]:
        """Pages, feed and JSON."""
        return [
            Route("/", self._front, methods=["GET"]),
            Route("/history", self._history, methods=["GET"]),
            Route("/history.atom", self._feed, methods=["GET"]),
            Route("/incidents/{incident_id:str}", self._incident, methods=["GET"]),
            Route("/api/v2/{document:path}", self._json, methods=["GET", "OPTIONS"]),
            Route("/favicon.ico", _no_icon, methods=["GET"]),
        ]

    async def _current(self) -> _Snapshot:
        """The board, read at most once a second however many ask."""
        async with self._loading:
            if self._snapshot is not None and self._fresh(self._snapshot):
                return self._snapshot
            revision = self._revision
            try:
                self._snapshot = _Snapshot(await self._load(), revision)
            except SQLAlchemyError as error:
                if self._snapshot is None:
                    raise
                metrics.STALE.inc()
                log.warning("store unreadable", error=str(error), serving="the last good page")
            return self._snapshot

    def _fresh(self, snapshot: _Snapshot) -> bool:
        age_ms = self._now_ms() - snapshot.board.now_ms
        return snapshot.revision == self._revision and 0 <= age_ms < FRESH_MS

    async def _front(self, request: Request) -> Response:
        now = await self._current()
        view = _view(request)
        make = partial(self._pages.front, now.board, view)
        rendered = now.once(_key("/", view), make, "text/html", 200)
        return self._html(request, "front", rendered)

    async def _history(self, request: Request) -> Response:
        now = await self._current()
        view = _view(request)
        make = partial(self._pages.history, now.board, view)
        rendered = now.once(_key("/history", view), make, "text/html", 200)
        return self._html(request, "history", rendered)

    async def _incident(self, request: Request) -> Response:
        now = await self._current()
        incident_id = request.path_params["incident_id"]
        view = _view(request)
        known = {name: one for one in now.board.incidents for name in (one.id, *one.also)}
        try:
            found = known.get(incident_id) or await self._old_incident(incident_id)
        except SQLAlchemyError as error:
            log.warning("store unreadable", error=str(error), serving="503")
            metrics.REQUESTS.labels("incident", "503").inc()
            return Response("Try again in a moment.", 503, headers={"Retry-After": "10"})
        if found is None:
            make = partial(self._pages.missing, now.board, view)
            missing = now.once(_key("404", view), make, "text/html", 404)
            return self._html(request, "incident", missing)
        rendered = now.once(
            _key(f"/incidents/{incident_id}", view),
            partial(self._pages.incident, now.board, found, view),
            "text/html",
            200,
        )
        return self._html(request, "incident", rendered)

    async def _feed(self, request: Request) -> Response:
        now = await self._current()
        rendered = now.once(
            "/history.atom",
            lambda: atom(now.board, self._api.title, self._api.url),
            "application/atom+xml",
            200,
        )
        return _answer(request, "feed", rendered, {})

    async def _json(self, request: Request) -> Response:
        open_to_all = {"Access-Control-Allow-Origin": "*"}
        if request.method == "OPTIONS":
            metrics.REQUESTS.labels("api", "204").inc()
            allowed = {
                "Access-Control-Allow-Methods": "GET, HEAD",
                "Access-Control-Max-Age": "86400",
            }
            return Response(status_code=204, headers=open_to_all | allowed)
        now = await self._current()
        name = request.path_params["document"]
        if name not in PATHS:
            missing = now.once("api/404", lambda: _NO_DOCUMENT, "application/json", 404)
            return _answer(request, "api", missing, open_to_all)
        rendered = now.once(
            f"api/{name}",
            lambda: msgspec.json.encode(self._api.documents(now.board)[name]),
            "application/json",
            200,
        )
        return _answer(request, "api", rendered, open_to_all)

    def _html(self, request: Request, route: str, rendered: Rendered) -> Response:
        policy = {
            "Content-Security-Policy": self._pages.content_security_policy,
            "Vary": "Accept-Encoding, Accept-Language",
        }
        return _answer(request, route, rendered, policy)


def _view(request: Request) -> View:
    asked = request.query_params.get("lang")
    code = preferred(asked, request.headers.get("accept-language", ""))
    return View(tongue(code), asked == code)


def _key(address: str, view: View) -> str:
    return f"{view.tongue.code}{'!' if view.asked else ''}{address}"


async def _no_icon(_request: Request) -> Response:
    """Pages carry their icon in themselves; this spares a line in the log of every visit."""
    return Response(status_code=204, headers={"Cache-Control": "public, max-age=86400"})


def _answer(request: Request, route: str, rendered: Rendered, extra: Mapping[str, str]) -> Response:
    headers = {
        "ETag": rendered.etag,
        "Cache-Control": "public, max-age=10, stale-if-error=86400",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        **extra,
    }
    if rendered.status == 200 and _known(request, rendered.etag):
        metrics.REQUESTS.labels(route, "304").inc()
        return Response(status_code=304, headers=headers)
    metrics.REQUESTS.labels(route, str(rendered.status)).inc()
    body = rendered.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        body = rendered.compressed
    return Response(
        body, rendered.status, headers=headers, media_type=f"{rendered.media_type}; charset=utf-8"
    )


def _known(request: Request, etag: str) -> bool:
    asked = request.headers.get("if-none-match", "")
    return asked.strip() == "*" or etag in (part.strip() for part in asked.split(","))
