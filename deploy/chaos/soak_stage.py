"""Where a soak takes place: a broker, topics with many partitions, and workers."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from deploy.brokers.apache import ApacheKafka
from deploy.chaos.parts import Parts
from deploy.chaos.soak_plan import AT_FIRST, WORKERS
from deploy.configuration import load
from deploy.credentials import KafkaSettings, kafka_settings
from deploy.demo.children import free_ports
from deploy.topics import Topic, changelogs, create, plan
from schemas.configuration import Configuration

SHARDS: Final = 4
_STALL: Final = "has to begin anew"


class SoakStage:
    """Broker, topics and workers. All are dynamic members of their group."""

    def __init__(self, folder: Path, servers: str, partitions: int) -> None:
        self.folder = folder
        self.servers = servers
        self._partitions = partitions
        file = folder / "tocsin.json"
        file.write_bytes(msgspec.json.encode(_document(folder, servers)))
        self.configuration: Configuration = load(file, {})
        self.settings: KafkaSettings = kafka_settings(self.configuration.kafka)
        self.parts = Parts(file, folder)
        for name, port in zip(WORKERS, free_ports(len(WORKERS)), strict=True):
            environment = {
                "TOCSIN_WORKER_DATA_DIR": str(folder / name),
                "TOCSIN_WORKER_ADMIN": f"{{host: 127.0.0.1, port: {port}}}",
            }
            self.parts.add(name, "worker", environment)

    @property
    def raw_topic(self) -> str:
        """The topic of the input."""
        return self.configuration.sources[0].topic

    def start(self) -> None:
        """Topics, and the first workers."""
        raw = Topic(self.raw_topic, self._partitions, "delete", -1, "the input")
        counts = {self.raw_topic: self._partitions}
        ours = [raw, *plan(self.configuration), *changelogs(self.configuration, counts)]
        create(self.settings, ours, 1)
        for name in AT_FIRST:
            self.parts.start(name)

    def pids(self) -> dict[str, int]:
        """The processes that run now."""
        pids = {name: self.parts.pid(name) for name in WORKERS if self.parts.runs(name)}
        return {name: pid for name, pid in pids.items() if pid is not None}

    def said(self, pattern: str) -> int:
        """How many lines of the workers' logs match."""
        logs = (self.parts.log(name) for name in WORKERS)
        texts = (log.read_text(errors="replace") for log in logs if log.exists())
        return sum(len(re.findall(pattern, text)) for text in texts)

    def stalls(self) -> int:
        """How often the watchdog has ended a worker."""
        return self.said(_STALL)


@contextmanager
def soak_stage(folder: Path, partitions: int) -> Iterator[SoakStage]:
    """Everything up, and down again after it."""
    with ApacheKafka() as broker:
        stage = SoakStage(folder, broker.bootstrap_servers, partitions)
        try:
            stage.start()
            yield stage
        finally:
            stage.parts.stop()


def _document(folder: Path, servers: str) -> dict[str, Any]:
    return {
        "environment": "soak",
        "kafka": {"bootstrap_servers": servers, "create_topics": False},
        "topics": {"observation_shards": SHARDS},
        "sources": [{"topic": "telemetry"}],
        "worker": {"data_dir": str(folder / "data")},
        "logging": {"level": "INFO"},
    }
