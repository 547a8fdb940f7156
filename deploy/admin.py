"""What every process serves over HTTP: health, readiness, metrics, and its own pages."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence

import uvicorn
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Gauge,
    generate_latest,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from schemas.configuration import Listen
from sinks.redaction import redact_text

BACKLOG = 2048


LIVE = Gauge("tocsin_live", "1 while /health/live says so, 0 when the process cannot go on")
READY = Gauge("tocsin_ready", "1 while /health/ready says so, 0 while the process waits")


class ListenError(Exception):
    """The address to serve on cannot be had."""


class Health:
    """Why a process is not ready, by name of the part; ready when nothing is named.

    Not ready is not dead: a process that waits for its broker is alive and must not be killed.
    It is dead only once `fail` was called, shortly before it ends. Reasons are kept without
    secrets, since anybody may ask for them.
    """

    def __init__(self, **waiting_for: str) -> None:
        self._reasons: dict[str, str] = dict(waiting_for)
        self._failure: str | None = None

    @property
    def ready(self) -> bool:
        """Whether nothing stands in the way of work."""
        return self._failure is None and not self._reasons

    @property
    def live(self) -> bool:
        """Whether the process can still go on."""
        return self._failure is None

    @property
    def reasons(self) -> dict[str, str]:
        """What the process waits for, by part; with the failure under `process`."""
        return self._reasons | ({"process": self._failure} if self._failure else {})

    def waiting(self, part: str, reason: str) -> None:
        """`part` stands in the way, for this reason."""
        self._reasons[part] = redact_text(reason)

    def good(self, part: str) -> None:
        """`part` is in order."""
        self._reasons.pop(part, None)

    def fail(self, reason: str) -> None:
        """The process cannot go on and should be replaced."""
        self._failure = redact_text(reason)


def admin_app(
    health: Health, routes: Sequence[BaseRoute] = (), registry: CollectorRegistry = REGISTRY
) -> Starlette:
    """`/health/live`, `/health/ready` (200 or 503, JSON with the reasons), `/metrics`, `routes`."""

    async def live(_request: Request) -> Response:
        return _verdict("live" if health.live else "failed", health.live, health)

    async def ready(_request: Request) -> Response:
        return _verdict("ready" if health.ready else "not ready", health.ready, health)

    async def metrics(_request: Request) -> Response:
        LIVE.set(health.live)
        READY.set(health.ready)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
            *routes,
        ]
    )


def _verdict(status: str, good: bool, health: Health) -> Response:
    body = {"status": status, "reasons": health.reasons}
    return JSONResponse(body, 200 if good else 503, headers={"Cache-Control": "no-store"})


class _Server(uvicorn.Server):
    """Says when it serves, and leaves signals to the process that embeds it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves an ASGI app from the running event loop.

    Parameters
    ----------
    listen
        Host and port; port 0 takes a free one, see `url`.
    grace_seconds
        How long open requests may take once it stops.
    """

    def __init__(self, app: ASGIApp, listen: Listen, *, grace_seconds: int = 1) -> None:
        self._listen = listen
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=grace_seconds,
            )
        )
        self._task: asyncio.Task[None] | None = None
        self.port = listen.port

    @property
    def url(self) -> str:
        """The base address, with the port that was taken."""
        host = f"[{self._listen.host}]" if ":" in self._listen.host else self._listen.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Returns once requests are answered. Raises `ListenError`."""
        listening = _bind(self._listen)
        self.port = listening.getsockname()[1]
        self._task = asyncio.create_task(
            self._server.serve(sockets=[listening]), name=f"http:{self.port}"
        )
        await self._server.serving.wait()

    async def stop(self) -> None:
        """Ends it; open requests get `grace_seconds`."""
        if self._task is None:
            return
        self._server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None


def _bind(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off: 40 ms less a kept-alive request.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((listen.host, listen.port))
        listening.listen(BACKLOG)
        return listening
    except OSError as error:
        listening.close()
        raise ListenError(
            f"cannot listen on {listen.host}:{listen.port} ({error.strerror}): "
            f"is another process using it? Choose another host or port in the configuration"
        ) from error
