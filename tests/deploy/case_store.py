"""A case store as a process of its own, reading any broker, for tests of what reaches a sink."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import orjson

from deploy.demo.children import Children, free_ports
from schemas.configuration import CaseStore, Configuration, Listen
from tests.deploy.system import Json, ask

PART = "case-store"


class CaseStoreProcess:
    """Runs, can be killed, and says what it holds."""

    def __init__(self, children: Children, url: str) -> None:
        self._children = children
        self._url = url

    def kill(self) -> None:
        """Kills it as a lost machine would, and starts it again."""
        os.kill(self._children.pid(PART), signal.SIGKILL)
        self._children.start([PART])

    def until_it_keeps(self, events: int) -> None:
        """Waits, two minutes at most, until so many events are kept."""
        deadline = time.monotonic() + 120
        while len(self.events()) < events:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def events(self) -> list[str]:
        """The ids of all rows of all timelines."""
        return [
            row["id"]
            for case in self.cases()
            for row in self._get(f"/api/v1/cases/{case['incident_id']}/timeline").get("events", [])
        ]

    def cases(self) -> list[Json]:
        """All cases; none while it does not answer."""
        self._children.check()
        cases: list[Json] = []
        page = self._get("/api/v1/cases")
        while page:
            cases += page["cases"]
            page = self._get(page["next"].removeprefix(self._url)) if page["next"] else {}
        return cases

    def _get(self, path: str) -> Json:
        try:
            status, body = ask(self._url + path)
        except OSError:
            return {}
        document: Json = orjson.loads(body) if status == 200 else {}
        return document


@contextmanager
def case_store(configuration: Configuration, folder: Path) -> Iterator[CaseStoreProcess]:
    """A case store on SQLite, from its start to its end."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    section = CaseStore(
        consumer_group=f"{configuration.worker.consumer_group}-case-store",
        listen=Listen(port=port),
        public_url=url,
        store=f"sqlite:///{folder / 'cases.sqlite3'}",
    )
    said = {
        "environment": configuration.environment,
        "kafka": configuration.kafka,
        "topics": configuration.topics,
        "case_store": section,
    }
    file = folder / "case-store.yaml"
    file.write_bytes(msgspec.json.encode(said))  # JSON is YAML
    children = Children(file, {}, folder)
    children.start([PART])
    try:
        yield CaseStoreProcess(children, url)
    finally:
        children.stop()
