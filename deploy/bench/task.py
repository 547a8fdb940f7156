"""What the measured processes of `tocsin bench` are told, and what they answer."""

import resource
import sys
import time
from typing import Final, Literal

import msgspec

from deploy.bench.workload import EVENTS_PER_SECOND, SERVICES
from schemas.configuration import Configuration, Kafka, Listen, Source, Topics, WorkerSection

PARTITIONS: Final = 4
SHARDS: Final = 4
RUN_RECORDS: Final = 5_000
"""As many as the reference asks a fetch for, and as the stages get at once without Kafka."""

Kind = Literal["load", "bare", "worker", "core"]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure. `cpu` is the one processor to use; any if None."""

    kind: Kind
    events: int
    rate: int = EVENTS_PER_SECOND
    services: int = SERVICES
    partitions: int = PARTITIONS
    bootstrap_servers: str = ""
    topic: str = ""
    name: str = ""
    create_topics: bool = True
    cpu: int | None = None
    timeout_seconds: float = 900
    profile: str | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement. Seconds are wall time, `cpu_seconds` the process's own over the same span.

    `stages` are seconds by stage; `counts` what came out.
    """

    kind: str
    events: int
    seconds: float
    cpu_seconds: float
    peak_rss_mb: float
    stages: dict[str, float] = {}
    counts: dict[str, int] = {}


class BenchError(Exception):
    """A measurement did not come to its end."""


class Stopwatch:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def read(self) -> tuple[float, float]:
        """Both, in seconds."""
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


def peak_rss_mb() -> float:
    """The most memory that this process has had resident, MB."""
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def configuration(task: Task) -> Configuration:
    """The worker's: all defaults, with topics and group of this run's own."""
    own = f"{task.name}.{{}}".format
    return Configuration(
        kafka=Kafka(bootstrap_servers=task.bootstrap_servers, create_topics=task.create_topics),
        topics=Topics(
            observations=own("observations"),
            anomalies=own("anomalies"),
            incidents=own("incidents"),
            incident_events=own("incident-events"),
            silence_events=own("silence-events"),
            commands=own("commands"),
            deliveries=own("deliveries"),
            dead_letters=own("dead-letters"),
            observation_shards=SHARDS,
        ),
        sources=(Source(topic=task.topic),),
        worker=WorkerSection(
            consumer_group=own("worker"), admin=Listen(), data_dir=f"{task.name}-data"
        ),
    )
