"""The processes: configuration in, a running part out."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import structlog

from deploy.admin import Health, HttpServer, admin_app
from deploy.configuration import load
from deploy.configuration.references import secrets_in
from deploy.credentials import KafkaSettings, SecretError, kafka_settings, resolve
from deploy.host import (
    BUILD,
    MisconfiguredError,
    run_process,
    run_sink_process,
    stop_on_signals,
)
from deploy.logs import configure
from deploy.topics import TopicsError, create_missing
from schemas import configuration as c
from schemas.configuration import Configuration, Secret
from sinks.outgoing import Outgoing
from sinks.redaction import redact_text
from sinks.sink import Publish, Sink

if TYPE_CHECKING:
    from streams.shell.worker import Worker

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
"""How often the worker's own view of its health is taken over."""

Resolve = Callable[[Secret], str]


def worker(config: Path | None) -> int:
    """Runs the worker until SIGTERM or SIGINT; returns the exit code."""
    return _run("worker", config, _worker)


def notifier(config: Path | None) -> int:
    """Runs the notifier until SIGTERM or SIGINT; returns the exit code."""
    return _run("notifier", config, _notifier)


def case_store(config: Path | None) -> int:
    """Runs the case store until SIGTERM or SIGINT; returns the exit code."""
    return _run("case-store", config, _case_store)


def status_page(config: Path | None) -> int:
    """Runs the status page until SIGTERM or SIGINT; returns the exit code."""
    return _run("status-page", config, _status_page)


def playbooks(config: Path | None) -> int:
    """Runs the playbooks' runner until SIGTERM or SIGINT; returns the exit code."""
    return _run("playbooks", config, _playbooks)


def _run(
    name: str, config: Path | None, part: Callable[[Configuration, KafkaSettings], int]
) -> int:
    """What all parts begin with. A wrong configuration ends in one line, and in exit code 2."""
    configuration = load(config)
    configure(configuration.logging, name)
    try:
        settings = kafka_settings(configuration.kafka, Outgoing.of(configuration.outgoing))
        return part(configuration, settings)
    except (SecretError, MisconfiguredError) as error:
        print(redact_text(f"tocsin {name}: {error}"), file=sys.stderr)
        return 2


def _now_ms() -> int:
    return int(time.time() * 1000)


def _resolver(configuration: Configuration) -> Resolve:
    """Reads a secret and names it, in an error, as the configuration does."""
    names = {secret: path for path, secret in secrets_in(configuration)}
    return lambda secret: resolve(secret, names.get(secret, "secret"))


def _notifier(configuration: Configuration, settings: KafkaSettings) -> int:
    from sinks.notifier import Notifier

    return _host(configuration, settings, configuration.notifier, Notifier)


def _case_store(configuration: Configuration, settings: KafkaSettings) -> int:
    from sinks.case_store import CaseStore

    return _host(configuration, settings, configuration.case_store, CaseStore)


def _status_page(configuration: Configuration, settings: KafkaSettings) -> int:
    from sinks.status_page import StatusPage

    def silent(configuration: Configuration, *, publish: Publish, **given: Any) -> Sink:
        del publish  # it says nothing to Kafka
        return StatusPage(configuration, **given)

    return _host(configuration, settings, configuration.status_page, silent, publishes=False)


def _playbooks(configuration: Configuration, settings: KafkaSettings) -> int:
    from sinks.playbooks import PlaybookRunner

    return _host(configuration, settings, configuration.playbooks, PlaybookRunner)


def _host(
    configuration: Configuration,
    settings: KafkaSettings,
    section: c.Notifier | c.CaseStore | c.StatusPage | c.Playbooks,
    make: Callable[..., Sink],
    *,
    publishes: bool = True,
) -> int:
    """Hosts the sink that `make` makes, as its section of the configuration says."""
    resolve_one = _resolver(configuration)
    return run_sink_process(
        lambda publish: make(configuration, resolve=resolve_one, publish=publish, now_ms=_now_ms),
        settings,
        section.consumer_group,
        section.listen,
        admin=section.admin,
        publishes=publishes,
    )


SINKS: Mapping[str, str] = {
    "notifier": "sinks.notifier:Notifier",
    "case store": "sinks.case_store:CaseStore",
    "status page": "sinks.status_page:StatusPage",
    "playbooks": "sinks.playbooks:PlaybookRunner",
}


def made_for_check(configuration: Configuration, sink: str) -> None:
    """Makes a sink as its process would, and leaves it: it reaches for nothing before it starts.

    Raises `SecretError`, and `ValueError` with what the process would end with.
    """
    given: dict[str, Any] = {"resolve": _resolver(configuration), "now_ms": _now_ms}
    if not sink.endswith(":StatusPage"):

        async def publish(*_: object, **__: object) -> None:
            raise AssertionError("nothing is started")

        given["publish"] = publish
    resolve_name(sink)(configuration, **given)


def _worker(configuration: Configuration, settings: KafkaSettings) -> int:
    # Not above: the sinks would carry the worker's metrics, all 0, and the memory of Faust.
    from streams.shell.connection import WorkerError
    from streams.shell.worker import Worker

    part = Worker(configuration, settings.aiokafka)

    async def body() -> None:
        BUILD.labels(metadata.version("tocsin"), "worker").set(1)
        health = Health(worker="starting")
        server = HttpServer(admin_app(health), configuration.worker.admin)
        await server.start()
        topics = [source.topic for source in configuration.sources]
        log.info("serving", url=server.url, raw_topics=topics)
        looking = asyncio.create_task(_look(part, health), name="health")
        stop = asyncio.Event()
        try:
            with stop_on_signals(stop):
                if configuration.kafka.create_topics:
                    await asyncio.to_thread(create_missing, configuration, settings)
                await part.run(stop)
        except (TopicsError, WorkerError) as error:
            health.fail(str(error))
            raise
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
            await server.stop()

    return run_process(body, (TopicsError, WorkerError))


async def _look(part: "Worker", health: Health) -> None:
    """Takes over how the worker is."""
    while True:
        if not part.live():
            health.fail("; ".join(part.stalls()))
        elif part.ready():
            health.good("worker")
        else:
            health.waiting("worker", "partitions are being assigned and their state restored")
        await asyncio.sleep(LOOK_SECONDS)
