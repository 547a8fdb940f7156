"""The product's worker in a process of its own, to be killed, and what it says of itself."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from deploy.bench.feed import Feed
from deploy.bench.task import PARTITIONS, SHARDS, BenchError

_LOOK_SECONDS = 0.05
CAUGHT_UP_SECONDS = 2.0
"""Of records that may be left for a worker to count as caught up, while more come all the time."""


class Metrics:
    """What `/metrics` said once."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def sum(self, name: str, **labels: str) -> float:
        """Over all samples of the name that have these labels."""
        return sum(
            s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items()
        )

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """The samples of a name, added up by one label."""
        found: dict[str, float] = {}
        for s in self._samples:
            if s.name == name:
                found[s.labels[label]] = found.get(s.labels[label], 0.0) + s.value
        return found


class KilledWorker:
    """`tocsin worker` on a configuration of its own in `folder`; a context manager.

    Parameters
    ----------
    name
        What its topics and group begin with.
    cpu
        The processor that it may use; any if None.
    more
        Sections of the configuration to add.
    """

    def __init__(
        self,
        folder: Path,
        servers: str,
        name: str,
        *,
        cpu: int | None,
        most_series: int,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.topic = f"{name}.telemetry"
        self.log = folder / "worker.log"
        self._folder = folder
        self._cpu = cpu
        self._port = _free_port()
        self._data = folder / "data"
        self._observations = f"{name}.observations"
        self._configuration = folder / "tocsin.yaml"
        self._process: subprocess.Popen[bytes] | None = None
        self._peak_rss_mb = 0.0
        names = (
            "observations", "anomalies", "incidents", "incident_events", "silence_events",
            "commands", "deliveries", "dead_letters",
        )  # fmt: skip
        own = {field: f"{name}.{field.replace('_', '-')}" for field in names}
        sections = {
            "kafka": {"bootstrap_servers": servers},
            "topics": {**own, "observation_shards": SHARDS},
            "sources": [{"topic": self.topic}],
            "windows": {"max_series": most_series},
            "worker": {
                "consumer_group": f"{name}.worker",
                "instance_id": "worker-0",
                "data_dir": str(self._data),
                "admin": {"port": self._port},
            },
        }
        for section, values in (more or {}).items():
            sections[section] = {**sections.get(section, {}), **values}  # type: ignore[dict-item]
        self._configuration.write_text(json.dumps(sections))  # YAML is a superset of JSON

    def start(self) -> None:
        """Starts it; returns at once."""
        command = [sys.executable, "-m", "deploy.cli", "worker", "--config"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603
                [*command, str(self._configuration)],
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env=environment,
            )
        if self._cpu is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self._process.pid, {self._cpu})

    def kill(self) -> None:
        """SIGKILL, and waits until it is gone."""
        if self._process is not None:
            self._note_rss()
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """Removes what it kept on its disk."""
        shutil.rmtree(self._data, ignore_errors=True)

    # what it says

    def metrics(self) -> Metrics:
        """What it says now; nothing while it does not answer. Raises `BenchError` if it ended."""
        if self._process is None or self._process.poll() is not None:
            last = "\n".join(self.log.read_text().splitlines()[-8:])
            raise BenchError(f"the worker has ended: {last}")
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", "/metrics")
            return Metrics(connection.getresponse().read().decode())
        except OSError:
            return Metrics("")
        finally:
            connection.close()

    def until_ready(self, timeout_seconds: float) -> None:
        """Until its stages are restored."""
        self.until(lambda seen: seen.sum("tocsin_assigned_partitions") > 0, timeout_seconds)

    def until_judged(self, timeout_seconds: float) -> None:
        """Until detection has judged a window."""
        self.until(self._has_judged, timeout_seconds)

    def until_caught_up(self, feed: Feed, timeout_seconds: float) -> Metrics:
        """Until what is left to read is no more than comes in two seconds."""

        def caught_up(seen: Metrics) -> bool:
            left = seen.by_label("tocsin_consumer_lag_records", "topic")
            return (
                self._has_judged(seen)
                and left.get(self.topic, 0.0) <= feed.rate * CAUGHT_UP_SECONDS
                and left.get(self._observations, 0.0) <= PARTITIONS * SHARDS
            )

        return self.until(caught_up, timeout_seconds)

    def _has_judged(self, seen: Metrics) -> bool:
        return seen.sum("tocsin_events_total", topic=self._observations) > 0

    def until(self, condition: Callable[[Metrics], bool], timeout_seconds: float) -> Metrics:
        """Looks at its metrics until they are so. Raises `BenchError` if that takes too long."""
        deadline = time.monotonic() + timeout_seconds
        while not condition(seen := self.metrics()):
            if time.monotonic() > deadline:
                last = "\n".join(self.log.read_text().splitlines()[-8:])
                raise BenchError(f"not after {timeout_seconds:g} s; the worker said: {last}")
            time.sleep(_LOOK_SECONDS)
        return seen

    def peak_rss_mb(self) -> float:
        """The most memory that any of its processes had resident so far, MB."""
        self._note_rss()
        return self._peak_rss_mb

    def cpu_seconds(self) -> float:
        """Processor time of this process so far; 0 where the system does not say."""
        try:
            assert self._process is not None
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            return 0.0

    def _note_rss(self) -> None:
        with contextlib.suppress(OSError, StopIteration):
            assert self._process is not None
            status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
            peak = next(line for line in status if line.startswith("VmHWM"))
            self._peak_rss_mb = max(self._peak_rss_mb, int(peak.split()[1]) / 1024)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
