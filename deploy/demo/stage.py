"""Where the demo takes place: a broker, addresses, a folder, and the recording as a feed."""

import secrets
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import orjson

from deploy.brokers.mock import MockBroker
from deploy.configuration import load
from deploy.demo import CONFIG
from deploy.demo.children import Children, free_ports
from deploy.demo.feed import HEARTBEAT_MS, Feed
from deploy.topics import partitions_of
from schemas.configuration import Configuration
from streams.files import read_events

RAW_PARTITIONS = 4
TAIL_SECONDS = 60
"""How long heartbeats go on after the recording's end, in event time: the last windows close."""
START_SECONDS = 300
"""Longest that anything may take to be ready; a laptop that does much else is slow."""


@dataclass(frozen=True)
class Stage:
    """Where this run of the demo takes place."""

    configuration: Configuration
    environment: dict[str, str]
    folder: Path

    def write_environment(self) -> Path:
        """Writes what commands from another terminal need, for a shell to read."""
        file = self.folder / "demo.env"
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in self.environment.items()]
        file.write_text("".join(lines), encoding="utf-8")
        return file


class Stopped(Exception):  # noqa: N818 - not an error: somebody pressed Ctrl-C
    """The demo was asked to end."""


@contextmanager
def prepare(folder: Path) -> Iterator[Stage]:
    """The embedded broker with all topics, and the configuration that fits it."""
    notifier, case_store, status_page, worker = free_ports(4)
    environment = {
        "TOCSIN_DEMO_SECRET": secrets.token_urlsafe(32),
        "TOCSIN_WORKER_DATA_DIR": str(folder / "worker"),
        "TOCSIN_WORKER_ADMIN": _listen(worker),
        **_sink("NOTIFIER", notifier, folder / "notifier.sqlite3"),
        **_sink("CASE_STORE", case_store, folder / "cases.sqlite3"),
        **_sink("STATUS_PAGE", status_page, folder / "status-page.sqlite3"),
    }
    configuration = load(CONFIG, environment)
    raw = {source.topic: RAW_PARTITIONS for source in configuration.sources}
    with MockBroker(raw | partitions_of(configuration, raw)) as broker:
        environment["TOCSIN_KAFKA_BOOTSTRAP_SERVERS"] = broker.bootstrap_servers
        yield Stage(load(CONFIG, environment), environment, folder)


def _sink(name: str, port: int, store: Path) -> dict[str, str]:
    return {
        f"TOCSIN_{name}_LISTEN": _listen(port),
        f"TOCSIN_{name}_PUBLIC_URL": f"http://127.0.0.1:{port}",
        f"TOCSIN_{name}_STORE": f"sqlite:///{store}",
    }


def _listen(port: int) -> str:
    return f"{{host: 127.0.0.1, port: {port}}}"


def feed_of(configuration: Configuration, recording: Path, speed: float) -> Feed:
    """The recording, shifted by whole minutes so that it and its tail end now."""
    files = sorted(recording.glob("*.jsonl.gz"))
    if not files:
        raise RuntimeError(f"{recording} holds no *.jsonl.gz; name a folder with a recording")
    last_ms = 0
    for line in read_events(files):
        last_ms = orjson.loads(line)["time"]
    shift_ms = int(time.time() * 1000) - last_ms - TAIL_SECONDS * 1000 - HEARTBEAT_MS
    return Feed(
        lines=read_events(files),
        topic=configuration.sources[0].topic,
        partitions=RAW_PARTITIONS,
        shift_ms=shift_ms // 60_000 * 60_000,
        tail_ms=TAIL_SECONDS * 1000,
        speed=speed,
        group=configuration.worker.consumer_group,
    )


def wait_until_ready(
    configuration: Configuration, children: Children, stop: threading.Event
) -> None:
    """Waits for every process to say that it is ready."""
    addresses = {
        "the worker": configuration.worker.admin,
        "the notifier": configuration.notifier.listen,
        "the case store": configuration.case_store.listen,
        "the status page": configuration.status_page.listen,
    }
    deadline = time.monotonic() + START_SECONDS
    for part, address in addresses.items():
        while not is_ready(f"http://{address.host}:{address.port}/health/ready"):
            children.check()
            if stop.wait(0.2):
                raise Stopped
            if time.monotonic() > deadline:
                raise TimeoutError(f"{part} was not ready within {START_SECONDS} s")


def is_ready(url: str) -> bool:
    """Whether a process says that it is ready; one that does not answer is not."""
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
