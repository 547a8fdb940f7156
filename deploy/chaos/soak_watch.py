"""Whether every partition moves, and how much memory each worker takes, looked at all the time."""

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.configuration import Configuration
from streams.shell.lag import partition_of

EVERY_SECONDS: Final = 2.0
BEGIN_SECONDS: Final = 120.0
"""How long the first workers may take to begin, on a machine that first compiles their code."""
SETTLED_SECONDS: Final = 120.0
"""From when on the memory of a process counts: until then it grows to what it works with."""
LONG_SECONDS: Final = 480.0
"""How long a process must run for its growth to be judged."""
GROWTH, GROWTH_MB = 1.1, 16.0
"""By how much it may hold more in its last third than in its middle one, and still be bounded."""
_ASK_SECONDS: Final = 5.0


class Life(msgspec.Struct, kw_only=True):
    """The memory of one process, resident, in MB. `grows` is None where it was too short to say."""

    worker: str
    minutes: float
    settled_mb: float
    peak_mb: float
    last_mb: float
    grows: bool | None


class Watch(threading.Thread):
    """Looks every two seconds.

    Parameters
    ----------
    written
        Where each raw partition ends, by what was written.
    pids
        The process of each worker that runs.

    Attributes
    ----------
    longest_still_seconds
        For how long a partition had more than is committed and nothing more was committed.
    stillest
        Which that was, and when, after the start.
    committed
        By raw partition.
    """

    def __init__(
        self,
        confluent: Mapping[str, Any],
        configuration: Configuration,
        written: Mapping[str, int],
        pids: Callable[[], Mapping[str, int]],
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self.longest_still_seconds = 0.0
        self.stillest = ""
        self.committed: dict[str, int] = {}
        self._began = time.monotonic()
        self._written = written
        self._pids = pids
        self._since: dict[str, float] = {}
        self._memory: dict[tuple[str, int], list[tuple[float, float]]] = {}
        self._end = threading.Event()
        self._places = [TopicPartition(*partition_of(source)) for source in written]
        group = configuration.worker.consumer_group
        self._consumer = Consumer(
            {**confluent, "group.id": group, "enable.auto.commit": False, "log_level": 0}
        )

    def run(self) -> None:
        """Until `stop`."""
        while not self._end.wait(EVERY_SECONDS):
            self._look_at_memory()
            with contextlib.suppress(KafkaException):
                self._look_at_progress()
        self._consumer.close()

    def stop(self) -> None:
        """Ends it."""
        self._end.set()
        self.join(30)

    def behind(self) -> dict[str, int]:
        """How many events are not yet committed, where any are."""
        left = {s: end - self.committed.get(s, 0) for s, end in dict(self._written).items()}
        return {source: events for source, events in left.items() if events > 0}

    def lives(self) -> list[Life]:
        """Of every process that was seen for longer than it takes to settle."""
        found = [life_of(name, seen) for (name, _), seen in self._memory.items()]
        return [life for life in found if life is not None]

    def _look_at_progress(self) -> None:
        ends, now = dict(self._written), time.monotonic()
        for tp in self._consumer.committed(self._places, _ASK_SECONDS):
            source, offset = f"{tp.topic}/{tp.partition}", max(0, tp.offset)
            moved = offset != self.committed.get(source, 0)
            self.committed[source] = offset
            if moved or offset >= ends[source]:
                self._since[source] = now
            elif source not in self._since:  # it has not begun yet
                self._since[source] = now + BEGIN_SECONDS
            still = now - self._since[source]
            if still > self.longest_still_seconds:
                self.longest_still_seconds = still
                self.stillest = f"{source}, at {now - self._began:.0f} s"

    def _look_at_memory(self) -> None:
        for name, pid in self._pids().items():
            resident_mb = _resident_mb(pid)
            if resident_mb:
                self._memory.setdefault((name, pid), []).append((time.monotonic(), resident_mb))


def life_of(name: str, seen: list[tuple[float, float]]) -> Life | None:
    """What one process has shown, as seconds and MB; None where it was too short to settle."""
    (begun, _), (ended, last) = seen[0], seen[-1]
    settled = [mb for at, mb in seen if at - begun >= SETTLED_SECONDS]
    if not settled:
        return None
    third = len(settled) // 3
    grows: bool | None = None
    if ended - begun >= LONG_SECONDS:
        middle = statistics.median(settled[third : 2 * third])
        grows = statistics.median(settled[2 * third :]) > middle * GROWTH + GROWTH_MB
    return Life(
        worker=name,
        minutes=round((ended - begun) / 60, 1),
        settled_mb=round(settled[0], 1),
        peak_mb=round(max(mb for _, mb in seen), 1),
        last_mb=round(last, 1),
        grows=grows,
    )


def _resident_mb(pid: int) -> float:
    """0 where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)
