"""Hosts a sink as a process: Kafka in and out, health and metrics over HTTP, signals, shutdown."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from importlib import metadata
from typing import Any

import structlog
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from prometheus_client import Gauge
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.admin import Health, HttpServer, ListenError, admin_app
from deploy.consume import AheadOfTopicError, SinkConsumer
from deploy.credentials import KafkaSettings, SecretError
from deploy.publisher import Publisher
from deploy.throttle import Throttle
from schemas.configuration import Listen
from schemas.reading import NewerMessageError
from sinks.drivers import StoreError
from sinks.sink import Publish, Sink

log = structlog.get_logger(__name__)

BUILD = Gauge(
    "tocsin_build_info", "Always 1; the version and part are labels.", ["version", "part"]
)

FORBIDDEN = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
"""What Kafka says to a user who lacks a right."""

_FINISH_SECONDS = 1.5
"""What the batch under way, and then the sink, may take once the end was asked for."""


class MisconfiguredError(Exception):
    """A part cannot be made as it is configured, and starting it again would not help."""


class Gate:
    """Answers 503 for the sink's own pages while its store is not open; health always answers."""

    def __init__(self, app: ASGIApp, health: Health) -> None:
        self._app = app
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI door."""
        admin = scope.get("path", "").startswith(("/health/", "/metrics"))
        if admin or "store" not in self._health.reasons:
            await self._app(scope, receive, send)
        else:
            starting = PlainTextResponse("starting\n", 503, headers={"Retry-After": "2"})
            await starting(scope, receive, send)


class SinkHost:
    """Runs one sink until told to stop.

    Parameters
    ----------
    sink
        What is hosted; its `publish` should be `publisher`.
    publisher
        Started and stopped with the host.
    settings, consumer_group
        How to reach Kafka, and the sink's own consumer group.
    listen
        Where the sink's own routes are served.
    admin
        Where health and metrics are served; beside the routes if it is None.
    publishes
        Whether the sink writes to Kafka; without, it needs no right to.
    """

    def __init__(
        self,
        sink: Sink,
        publisher: Publisher,
        settings: KafkaSettings,
        consumer_group: str,
        listen: Listen,
        *,
        admin: Listen | None = None,
        publishes: bool = True,
    ) -> None:
        self._publishes = publishes
        self.health = Health(store="not opened yet")
        self._sink = sink
        self._publisher = publisher
        self._consumer = SinkConsumer(sink, settings, consumer_group, self.health)
        beside = admin_app(self.health, sink.routes()) if admin is None else None
        pages = beside or Starlette(routes=sink.routes())
        self._server = HttpServer(Gate(Throttle(pages), self.health), listen)
        self._admin = HttpServer(admin_app(self.health), admin) if admin else self._server

    @property
    def url(self) -> str:
        """Where it serves its routes; with the port that was taken once `run` has begun."""
        return self._server.url

    @property
    def admin_url(self) -> str:
        """Where it serves health and metrics, likewise."""
        return self._admin.url

    async def run(self, stop: asyncio.Event) -> None:
        """Returns within 5 s after `stop` is set. Raises what the sink or Kafka raised for good."""
        BUILD.labels(metadata.version("tocsin"), self._sink.name).set(1)
        for server in self._servers():
            await server.start()
        log.info("serving", sink=self._sink.name, url=self.url, admin_url=self.admin_url)
        try:
            await self._sink.start()
            self.health.good("store")
            await self._work(stop)
        except Exception as error:
            self.health.fail(f"{type(error).__name__}: {error}")
            raise
        finally:
            self.health.waiting("process", "stopping")
            await self._end()

    async def _work(self, stop: asyncio.Event) -> None:
        """Consumes and publishes until `stop`, or until one of them fails."""
        connecting = asyncio.create_task(self._connect(), name="publisher")
        consuming = asyncio.create_task(self._consumer.run(stop), name="consumer")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        waiting: set[asyncio.Task[object]] = {connecting, consuming, stopping}
        try:
            while not stop.is_set():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            await asyncio.wait({consuming}, timeout=_FINISH_SECONDS)
            if consuming.done():
                consuming.result()
        finally:
            for task in (connecting, consuming, stopping):
                task.cancel()
            await asyncio.gather(connecting, consuming, stopping, return_exceptions=True)

    async def _connect(self) -> None:
        if self._publishes:
            await self._publisher.start()

    async def _end(self) -> None:
        try:
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._sink.stop()
        except TimeoutError:
            log.warning("the sink did not finish in time", sink=self._sink.name)
        finally:
            servers = [server.stop() for server in self._servers()]
            await asyncio.gather(self._publisher.stop(), *servers)

    def _servers(self) -> list[HttpServer]:
        return list(dict.fromkeys((self._admin, self._server)))


def run_sink_process(
    make_sink: Callable[[Publish], Sink],
    settings: KafkaSettings,
    consumer_group: str,
    listen: Listen,
    *,
    admin: Listen | None = None,
    publishes: bool = True,
) -> int:
    """Hosts a sink as this process until SIGTERM or SIGINT; the exit code, 1 after a failure.

    Raises `MisconfiguredError` if the sink cannot be made.
    """

    async def body() -> None:
        stop, publisher = asyncio.Event(), Publisher(settings)
        try:
            sink = make_sink(publisher)
        except (SecretError, ValueError) as error:  # nothing is reached for yet
            raise MisconfiguredError(str(error)) from error
        host = SinkHost(
            sink, publisher, settings, consumer_group, listen, admin=admin, publishes=publishes
        )
        with stop_on_signals(stop):
            await host.run(stop)

    return run_process(body, (StoreError, NewerMessageError, AheadOfTopicError))


def run_process(
    body: Callable[[], Coroutine[Any, Any, None]], foreseen: tuple[type[Exception], ...] = ()
) -> int:
    """Runs `body` on a fast event loop; logs what it raises. Returns the exit code.

    The `foreseen` say what, where and how to mend, and are logged without a traceback, which is
    for what nobody thought of. Raises `MisconfiguredError` as it is.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(body())
    except KeyboardInterrupt:
        return 130
    except MisconfiguredError:
        raise
    except Exception as error:
        if isinstance(error, FORBIDDEN):
            mend = "`tocsin topics --acls` says which rights each part needs"
            log.error("the process ends", error=f"Kafka forbids it: {error}; {mend}")
        elif isinstance(error, (ListenError, *foreseen)):
            log.error("the process ends", error=str(error))
        else:
            log.exception("the process ends", error=f"{type(error).__name__}: {error}")
        return 1
    return 0


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """The first SIGTERM or SIGINT sets `stop`; a second SIGINT interrupts at once."""
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)

    def asked(name: str) -> None:
        log.info("stopping", signal=name)
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for each in caught:
        loop.add_signal_handler(each, asked, each.name)
    try:
        yield
    finally:
        for each in caught:
            loop.remove_signal_handler(each)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415  (not made for Windows)

    return uvloop.new_event_loop
