"""The job, and the clock that every peer is held to. Needs nothing but the standard library."""

import json
import os
import sys
import time
from typing import Any, NamedTuple

WINDOW_MS = 10_000


class Job(NamedTuple):
    """What a peer is asked to do."""

    servers: str
    topic: str
    output: str
    group: str
    events: int


def given() -> Job:
    """The job in the only argument."""
    return Job(**json.loads(sys.argv[1]))


def series_of(event: dict[str, Any]) -> tuple[str, float]:
    """The series that an event belongs to and its value there; a log line counts 1."""
    service = event["service"]
    if "metric" in event:
        return f"{event['metric']}/{service}/{event['instance']}", event["value"]
    if "duration_seconds" in event:
        return f"duration/{service}/{event['operation']}", event["duration_seconds"]
    return f"log/{service}/{event['severity']}", 1.0


def add(held: list[float] | None, value: float) -> list[float]:
    """Count, sum, least and greatest with one value more."""
    if held is None:
        return [1, value, value, value]
    return [held[0] + 1, held[1] + value, min(held[2], value), max(held[3], value)]


class Watch:
    """Counts records; time runs from the first, or from `begin` on, to `stop`."""

    def __init__(self) -> None:
        self.count = 0
        self._wall = self._cpu = 0.0

    def begin(self) -> None:
        """Lets time run, for an engine that takes many records before it tells of the first."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def one(self) -> int:
        """Another record; how many there were."""
        if not self.count:
            self.begin()
        self.count += 1
        return self.count

    def stop(self) -> None:
        """Prints what it took, as the last line."""
        seconds, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        told = {"events": self.count, "seconds": seconds, "cpu_seconds": cpu}
        os.write(1, f"\n{json.dumps(told)}\n".encode())  # whatever became of standard output
