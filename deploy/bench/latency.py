"""`tocsin bench latency`: from a fault's first record to the page, under load, stage by stage.

The product's own worker and notifier on a real Kafka. Its maximum rate is measured first, on the
same machine, and half of it is then written at the pace of the clock, while one service after
another begins to fail. Each moment is when a subscriber of the topic, or the receiver of the
message, had it; all clocks are this machine's.
"""

import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from deploy.bench.answer import answer
from deploy.bench.killed_worker import KilledWorker
from deploy.bench.latency_feed import Fault, Plan, Written
from deploy.bench.latency_marks import Marks
from deploy.bench.latency_result import (
    AFTER_CLOSE,
    LIMIT_SECONDS,
    STAGES,
    Latency,
    Stage,
    spread,
    table,
)
from deploy.bench.place import Place, place
from deploy.bench.process import measure, processors
from deploy.bench.task import PARTITIONS, BenchError, Task, configuration
from deploy.configuration import load
from deploy.demo.children import free_ports
from deploy.topics import changelogs, plan
from schemas.configuration import Configuration

FAULTS: Final = 60
FAULT_EVERY_SECONDS: Final = 3.3
"""No multiple of a window, so that faults begin at any point of one."""

_HISTORY_SECONDS: Final = 600
_MAXIMUM_EVENTS: Final = 400_000
_AFTER_SECONDS: Final = 45.0
_KEY_VARIABLE: Final = "TOCSIN_BENCH_KEY"


def main(
    *,
    faults: int = FAULTS,
    rate: int | None = None,
    bootstrap: str | None = None,
    json: Path | None = None,
) -> int:
    """Measures, prints a table and writes `json`. Returns 0, or 1 where it could not measure.

    `rate` is what to write a second; half of the maximum if None.
    """
    return answer(lambda console: run(faults, rate, bootstrap, console), table, json)


def run(faults: int, rate: int | None, bootstrap: str | None, console: Console) -> Latency:
    """Lets services fail under load. Raises `BenchError`."""
    cpu, others = processors()
    name = f"tocsin-latency-{time.time_ns() // 1_000_000}"
    with (
        tempfile.TemporaryDirectory(prefix="tocsin-bench-") as made,
        place("kafka", bootstrap, name, others) as where,
    ):
        folder = Path(made)
        maximum = None
        if rate is None:
            with console.status("measuring the maximum rate"):
                maximum = _maximum(where, folder, name, cpu)
            console.log(f"at most {maximum} events a second")
            rate = max(1, maximum // 2)
        with _System(where, folder, name, cpu) as system:
            return system.measure(faults, rate, maximum, console)


def _maximum(where: Place, folder: Path, name: str, cpu: int | None) -> int:
    """Events a second of the worker, read from a topic that was filled before."""
    task = Task(
        kind="load",
        events=_MAXIMUM_EVENTS,
        topic=f"{name}.maximum",
        name=f"{name}.maximum",
        bootstrap_servers=where.servers,
    )
    where.create(task.topic, PARTITIONS)
    measure(task, folder)
    for topic in plan(configuration(task)):
        where.create(topic.name, topic.partitions)
    measured = measure(msgspec.structs.replace(task, kind="worker", cpu=cpu), folder)
    return round(measured.events / measured.seconds)


class _System:
    """Worker and notifier, with those who look at what they say; a context manager."""

    def __init__(self, where: Place, folder: Path, name: str, cpu: int | None) -> None:
        self._where, self._folder = where, folder
        self._environment = {**os.environ, _KEY_VARIABLE: "of-no-worth"}
        port, *_ = free_ports(1)
        self._worker = KilledWorker(
            folder, where.servers, name, cpu=cpu, most_series=20_000, more=_sections(name, port)
        )
        self._file = folder / "tocsin.yaml"
        self._marks = Marks(where.servers, load(self._file, self._environment))
        # The receiver's port is known only now.
        text = self._file.read_text().replace("http://receiver", self._marks.url)
        self._file.write_text(text)
        self._configuration: Configuration = load(self._file, self._environment)

    def __enter__(self) -> "_System":
        for topic in plan(self._configuration):
            self._where.create(topic.name, topic.partitions)
        self._where.create(self._worker.topic, PARTITIONS)
        for topic in changelogs(self._configuration, {self._worker.topic: PARTITIONS}):
            self._where.create(topic.name, topic.partitions)
        self._marks.__enter__()
        self._marks.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._marks.__exit__(None, None, None)

    def measure(self, faults: int, rate: int, maximum: int | None, console: Console) -> Latency:
        """One fault after the other. Raises `BenchError`."""
        wanted = Plan(
            servers=self._where.servers,
            topic=self._worker.topic,
            partitions=PARTITIONS,
            services=faults,
            rate=rate,
            fault_every_seconds=FAULT_EVERY_SECONDS,
            history_seconds=_HISTORY_SECONDS,
        )
        with self._worker, self._notifier(), _feeding(wanted, self._folder) as said:
            self._worker.start()
            with console.status("learning what is usual"):
                self._until_present()
            said.go()
            spent = faults * FAULT_EVERY_SECONDS + _AFTER_SECONDS
            with console.status(f"{rate} events a second, {faults} faults, {spent:.0f} s"):
                began = said.faults(faults, spent + 60)
                self._until_told(began, time.monotonic() + _AFTER_SECONDS)
                written = said.end()
            self._worker.metrics()  # raises if it has ended
            return self._result(began, written, maximum)

    def _until_present(self) -> None:
        """Until a window of the last half a minute is known."""
        deadline = time.monotonic() + 300
        while max(self._marks.observed, default=0) < (time.time() - 30) * 1000:
            self._worker.metrics()
            if time.monotonic() > deadline:
                raise BenchError("the worker did not come to the present within 300 s")
            time.sleep(0.2)

    def _until_told(self, began: Sequence[Fault], deadline: float) -> None:
        while time.monotonic() < deadline:
            if all(self._paged(fault.service) for fault in began):
                return
            time.sleep(0.2)

    def _paged(self, service: str) -> bool:
        opened = self._marks.opened.get(service)
        return opened is not None and (opened[0].incident_id, "page") in self._marks.told

    @contextmanager
    def _notifier(self) -> Iterator[None]:
        log = (self._folder / "notifier.log").open("wb")
        command = [sys.executable, "-m", "deploy.cli", "notifier", "-c", str(self._file)]
        root = str(Path(__file__).parents[2])
        with (
            log,
            subprocess.Popen(  # noqa: S603
                command,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**self._environment, "PYTHONPATH": root},
            ) as process,
        ):
            try:
                yield
                if process.poll() is not None:
                    last = (self._folder / "notifier.log").read_text().splitlines()[-8:]
                    raise BenchError(f"the notifier has ended: {chr(10).join(last)}")
            finally:
                process.terminate()

    def _result(self, began: Sequence[Fault], written: Written, maximum: int | None) -> Latency:
        windows = self._configuration.windows
        lateness_ms = windows.allowed_lateness_seconds * 1000
        rows = [self._row(fault, lateness_ms) for fault in began]
        told = [row for row in rows if row]
        names = {fault.service for fault in began}
        known = [f.service for f in began if f.service in self._marks.opened]
        spreads = {stage: spread([row[stage] for row in told]) for stage in STAGES if told}
        return Latency(
            faults=len(began),
            told=len(told),
            joined=len(known) - len(told),
            missed=sorted(names - set(known)),
            others=len(set(self._marks.opened) - names),
            maximum=maximum,
            rate=round(written.events_per_second),
            latest_write_seconds=written.late_seconds,
            window_seconds=windows.window_seconds,
            allowed_lateness_seconds=windows.allowed_lateness_seconds,
            stages=spreads,
            within_limit=bool(told)
            and all(spreads[stage].p99 <= LIMIT_SECONDS for stage in AFTER_CLOSE),
            worker_peak_rss_mb=round(self._worker.peak_rss_mb(), 1),
        )

    def _row(self, fault: Fault, lateness_ms: float) -> dict[Stage, float]:
        """Seconds by stage; empty if it has no incident of its own with a page and a message."""
        marks, service = self._marks, fault.service
        windows = [end for name, end in marks.found if name == service and end > fault.first_ms]
        if not windows or service not in marks.opened:
            return {}
        end, (event, opened) = min(windows), marks.opened[service]
        notified = marks.told.get((event.incident_id, "notification"))
        paged = marks.told.get((event.incident_id, "page"))
        if event.incident.services[0] != service or notified is None or paged is None:
            return {}
        closed, found = end + lateness_ms, marks.found[service, end]
        observed = min(marks.observed[end], found)  # each by another connection
        seconds: dict[Stage, float] = {
            "window": closed - fault.first_ms,
            "observations": observed - closed,
            "anomaly": found - observed,
            "incident": opened - found,
            "notification": notified - opened,
            "page": paged - opened,
            "closed to incident": opened - closed,
            "closed to page": paged - closed,
            "fault to incident": opened - fault.first_ms,
            "fault to page": paged - fault.first_ms,
        }
        return {stage: value / 1000 for stage, value in seconds.items()}


class _Said:
    """The process that writes, and what it says."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def go(self) -> None:
        """Lets the load begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def faults(self, count: int, timeout_seconds: float) -> list[Fault]:
        """All faults, once the last one has begun. Raises `BenchError`."""
        deadline = time.monotonic() + timeout_seconds
        return [msgspec.json.decode(self._line(deadline), type=Fault) for _ in range(count)]

    def end(self) -> Written:
        """Ends it. Raises `BenchError`."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return msgspec.json.decode(self._line(time.monotonic() + 90), type=Written)

    def _line(self, deadline: float) -> str:
        try:
            return self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise BenchError("what writes the records did not come so far in time") from None


@contextmanager
def _feeding(wanted: Plan, folder: Path) -> Iterator[_Said]:
    command = [sys.executable, "-m", "deploy.bench.latency_feed"]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(  # noqa: S603
        [*command, msgspec.json.encode(wanted).decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
    ) as process:
        try:
            yield _Said(process)
        finally:
            process.kill()


def _sections(name: str, port: int) -> dict[str, Any]:
    """Of the notifier: each incident to a webhook and to a pager, without limits or digests."""
    return {
        "notifier": {
            "consumer_group": f"{name}.notifier",
            "listen": {"host": "127.0.0.1", "port": port},
            "store": "sqlite:///notifier.sqlite3",
            "limit": {"messages": 0},
            "cadence": {"minutes": {}},
            "channels": {
                "webhooks": {"team": {"url": "http://receiver/notification"}},
                "pagerduty": {
                    "pager": {"routing_key": {"env": _KEY_VARIABLE}, "base_url": "http://receiver"}
                },
            },
            "recipients": [
                {"name": "team", "channel": "webhook:team", "audience": "engineer"},
                {"name": "pager", "channel": "pagerduty:pager", "audience": "engineer"},
            ],
            "routes": [{"name": "all", "recipients": ["team", "pager"], "events": ["opened"]}],
        },
    }
