"""What each process does and says where Kafka is away, is something else, or forbids."""

import http.server
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.brokers.mock import MockBroker
from deploy.demo.children import Children, free_ports
from tests.deploy.system import ask

PARTS = ("worker", "notifier", "case-store", "status-page", "playbooks")
SINKS = PARTS[1:]
PATIENCE_SECONDS = 120


class Running:
    """Processes that nobody expects to go well."""

    def __init__(self, folder: Path, servers: str) -> None:
        self._ports = dict(zip(PARTS, free_ports(len(PARTS)), strict=True))
        made: dict[str, Any] = {
            "kafka": {"bootstrap_servers": servers, "create_topics": False},
            "worker": {"admin": {"port": self._ports["worker"]}, "data_dir": f"{folder}/worker"},
        }
        for part in SINKS:
            made[part.replace("-", "_")] = {
                "listen": {"port": self._ports[part]},
                "store": f"sqlite:///{folder}/{part}.sqlite3",
            }
        path = folder / "tocsin.yaml"
        YAML().dump(made, path)
        self.children = Children(path, {}, folder)

    def health(self, part: str, kind: str) -> tuple[int, dict[str, Any]]:
        """What a process says of itself; 0 while it does not."""
        try:
            status, body = ask(f"http://127.0.0.1:{self._ports[part]}/health/{kind}")
        except OSError:
            return 0, {}
        return status, json.loads(body)

    def reason(self, part: str) -> str:
        """What a process waits for, in the end."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            status, said = self.health(part, "ready")
            reason = str(said.get("reasons", {}).get("kafka", ""))
            if status == 503 and "waiting for" in reason:
                return reason
            time.sleep(0.3)
        raise AssertionError(self.children.log(part).read_text()[-2000:])

    def exit_code(self, part: str) -> int:
        """With which a process ends by itself."""
        process: subprocess.Popen[bytes] = self.children._processes[part]
        return process.wait(PATIENCE_SECONDS)

    def lines(self, part: str) -> list[dict[str, Any]]:
        """Its log, every line of which is JSON."""
        text = self.children.log(part).read_text()
        return [json.loads(line) for line in text.splitlines()]


@contextmanager
def running(folder: Path, servers: str, parts: tuple[str, ...] = PARTS) -> Iterator[Running]:
    made = Running(folder, servers)
    made.children.start(parts)
    try:
        yield made
    finally:
        made.children.stop()


@pytest.mark.slow
def test_without_kafka_a_worker_ends_and_sinks_wait_and_say_for_what(tmp_path: Path) -> None:
    with running(tmp_path, "127.0.0.1:1") as processes:
        for part in SINKS:
            reason = processes.reason(part)
            assert reason.startswith("waiting for 127.0.0.1:1 and the topics tocsin.incident")
            assert reason.endswith("Connection refused"), part
            assert processes.health(part, "live")[0] == 200
        assert processes.exit_code("worker") == 1
        last = processes.lines("worker")[-1]
        assert last["event"] == "the process ends"
        assert "127.0.0.1:1" in last["error"]
        assert "exception" not in last  # it was foreseen
        for part in PARTS:
            lines = processes.lines(part)
            assert {line["process"] for line in lines} == {part}
            assert all({"event", "level", "logger", "timestamp"} <= line.keys() for line in lines)


@pytest.mark.slow
def test_what_is_no_kafka_is_told_from_one_that_is_away(tmp_path: Path) -> None:
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        servers = f"127.0.0.1:{other.server_port}"
        with running(tmp_path, servers, ("status-page",)) as processes:
            said = processes.reason("status-page")
            assert "do kafka.bootstrap_servers and security_protocol fit?" in said
    finally:
        other.shutdown()
        other.server_close()


@pytest.mark.slow
def test_a_worker_names_the_topics_that_are_not_there(tmp_path: Path) -> None:
    with (
        MockBroker({"something-else": 1}) as broker,
        running(tmp_path, broker.bootstrap_servers, ("worker",)) as processes,
    ):
        assert processes.exit_code("worker") == 1
        last = processes.lines("worker")[-1]
        assert "these topics do not exist or may not be read: telemetry" in last["error"]
        assert "exception" not in last
