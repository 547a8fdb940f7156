"""All of tocsin as processes of their own on an embedded broker, for tests over the whole."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
import orjson
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from deploy.demo import CONFIG, RECORDING
from deploy.demo.children import Children
from deploy.demo.feed import Feed, Feeder
from deploy.demo.stage import Stage, feed_of, is_ready, prepare, wait_until_ready
from deploy.demo.watch import Watcher
from schemas.incidents import Delivery, IncidentEvent

AT_ONCE = 1e6
"""A speed at which only the worker sets the pace."""

LAGS = ("tocsin_consumer_lag_records", "tocsin_sink_lag_records")

QUIET_SECONDS = 4.0
"""Longer than sinks take to look at their lag again."""

Json = dict[str, Any]


class System:
    """A running tocsin with the demo's configuration. `seen` is what its topics hold."""

    def __init__(self, stage: Stage, children: Children, watcher: Watcher) -> None:
        self.configuration = stage.configuration
        self.environment = stage.environment
        self.children = children
        self.seen = watcher.seen
        self._watcher = watcher
        self.stop = threading.Event()
        self.fed: list[Feed] = []

    @property
    def addresses(self) -> dict[str, str]:
        """The base address of every part."""
        c = self.configuration
        listens = {
            "worker": c.worker.admin,
            "notifier": c.notifier.listen,
            "case-store": c.case_store.listen,
            "status-page": c.status_page.listen,
        }
        return {part: f"http://{listen.host}:{listen.port}" for part, listen in listens.items()}

    @property
    def events(self) -> list[IncidentEvent]:
        """The incidents' log, incident by incident."""
        return sorted(self.seen.events.values(), key=lambda e: (e.incident_id, e.version))

    @property
    def sent(self) -> list[Delivery]:
        """The deliveries that arrived."""
        return [d for d in self.seen.deliveries.values() if d.status == "sent"]

    def feed(
        self,
        *,
        until_ms: int | None = None,
        shift_ms: int | None = None,
        speed: float = AT_ONCE,
    ) -> Feed:
        """The shipped recording, up to a recorded time, moved by `shift_ms` (to now if None)."""
        feed = feed_of(self.configuration, RECORDING, speed)
        lines: Iterable[bytes] = feed.lines
        if until_ms is not None:
            lines = (line for line in feed.lines if orjson.loads(line)["time"] < until_ms)
        return Feed(
            lines=lines,
            topic=feed.topic,
            partitions=feed.partitions,
            shift_ms=feed.shift_ms if shift_ms is None else shift_ms,
            tail_ms=feed.tail_ms,
            speed=feed.speed,
            group=feed.group,
        )

    def replay(self, feed: Feed, meanwhile: Callable[["System"], None] = lambda _: None) -> None:
        """Sends a feed and waits until everything that follows from it is done."""
        self.fed.append(feed)
        feeder = Feeder(feed, self.configuration.kafka.bootstrap_servers, self.stop)
        feeder.start()

        def is_over() -> bool:
            meanwhile(self)
            assert feeder.failure is None
            return feeder.finished and self._has_read_to(feeder.clock_ms)

        self.wait_until(is_over, 150)
        self.settle()

    def _has_read_to(self, time_ms: int) -> bool:
        windows = self.configuration.windows
        open_ms = (windows.allowed_lateness_seconds + windows.window_seconds) * 1000
        return self.seen.reached(self.configuration.topics.observation_shards) >= time_ms - open_ms

    def settle(self) -> None:
        """Waits until nothing new comes, every message is sent and everybody has read all."""
        self.seen.last_news = time.monotonic()
        self.wait_until(self._is_settled, 60)

    def _is_settled(self) -> bool:
        if not all(is_ready(f"{url}/health/ready") for url in self.addresses.values()):
            self.seen.last_news = time.monotonic()
        return (
            time.monotonic() - self.seen.last_news > QUIET_SECONDS
            and not self.seen.unfinished()
            and all(self._has_no_lag(part) for part in self.addresses)
        )

    def _has_no_lag(self, part: str) -> bool:
        lags = [sample.value for sample in self.samples(part) if sample.name in LAGS]
        return bool(lags) and not any(lags)

    def samples(self, part: str) -> list[Sample]:
        """A part's metrics."""
        families = text_string_to_metric_families(self.get(part, "/metrics"))
        return [sample for family in families for sample in family.samples]

    def wait_until(self, happened: Callable[[], bool], seconds: float) -> None:
        """Reads the topics until something has happened."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, f"not within {seconds} s; {self.logs()}"
            self._watcher.poll(0.1)
            self.children.check()

    def kill(self, *parts: str) -> None:
        """Kills parts as a lost machine would, and starts them again."""
        for part in parts:
            os.kill(self.children.pid(part), signal.SIGKILL)
        self.children.start(parts)

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """What `tocsin …` says, with this system's configuration."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli", *arguments, "-c", str(CONFIG)],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def get(self, part: str, path: str) -> str:
        """The body of a page that must be there."""
        status, body = ask(self.addresses[part] + path)
        assert status == 200, (part, path, status, body)
        return body

    def json(self, part: str, path: str) -> Json:
        """A JSON document that must be there."""
        document: Json = orjson.loads(self.get(part, path))
        return document

    def cases(self) -> list[Json]:
        """All cases, as the case store's API lists them, in their numbers' order."""
        listed: list[Json] = self.json("case-store", "/api/v1/cases")["cases"]
        return sorted(listed, key=lambda case: int(case["number"]))

    def timelines(self) -> dict[str, Json]:
        """The case store's timeline of every case, by incident."""
        return {
            case["incident_id"]: self.json(
                "case-store", f"/api/v1/cases/{case['incident_id']}/timeline"
            )
            for case in self.cases()
        }

    def console(self) -> str:
        """What the console channel printed."""
        return self.children.log("notifier").read_text()

    def logs(self) -> str:
        """The end of what each part wrote, for a failure's message."""
        return "\n".join(
            f"--- {part}\n{self.children.log(part).read_text(errors='replace')[-1500:]}"
            for part in self.addresses
        )


@contextmanager
def running(folder: Path) -> Iterator[System]:
    """Starts everything, and ends it."""
    with prepare(folder) as stage:
        children = Children(CONFIG, stage.environment, folder)
        watcher = Watcher(stage.configuration.kafka.bootstrap_servers, stage.configuration.topics)
        system = System(stage, children, watcher)
        try:
            children.start()
            wait_until_ready(stage.configuration, children, system.stop)
            yield system
        finally:
            system.stop.set()
            children.stop()
            watcher.close()


def ask(
    url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Status and body of a request: GET, or POST if there is a body."""
    try:
        with urlopen(Request(url, body, dict(headers or {})), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def plain(items: Iterable[msgspec.Struct]) -> list[Json]:
    """Structs as what their JSON reads back to."""
    decoded: list[Json] = msgspec.json.decode(msgspec.json.encode(list(items)))
    return decoded
