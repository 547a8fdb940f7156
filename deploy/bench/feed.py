"""Keeps a raw topic filled with the benchmark's workload, at the pace of the clock or faster."""

import threading
import time
from itertools import count, islice
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Producer

from deploy.bench.task import BenchError
from deploy.bench.workload import SERIES_A_SERVICE, workload

_STEP_SECONDS = 0.05


class Feed:
    """Writes the workload in event-time order; a context manager.

    Parameters
    ----------
    rate
        Events in one second of event time.

    Attributes
    ----------
    written
        Records handed to Kafka so far.
    """

    def __init__(self, servers: str, topic: str, partitions: int, services: int, rate: int) -> None:
        self.rate = rate
        self.series = services * SERIES_A_SERVICE
        self.written = 0
        self._topic = topic
        self._events = workload(10**12, partitions, rate, services=services)
        self._failed: list[str] = []
        self._stopping = threading.Event()
        self._pace = 1.0
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "linger.ms": 20,
                "batch.num.messages": 1_000,
                "queue.buffering.max.messages": 200_000,
                "enable.idempotence": True,
            }
        )

    def fill(self, events: int) -> None:
        """Writes so many records as fast as it can. Raises `BenchError`."""
        self._write(events)
        self._producer.flush(60)
        if self._failed or len(self._producer):
            raise BenchError(f"{self._topic}: {len(self._failed)} records not written")

    def go_on(self) -> None:
        """Writes on in the background as event time passes, until the end of the block."""
        self._thread.start()

    def set_pace(self, pace: float) -> None:
        """From now on `pace` seconds of event time pass in a second."""
        self._pace = pace

    def _run(self) -> None:
        last, owed = time.monotonic(), 0.0
        for _ in count():
            if self._stopping.wait(_STEP_SECONDS):
                return
            now = time.monotonic()
            owed += (now - last) * self._pace * self.rate
            last = now
            self._write(int(owed))
            owed -= int(owed)

    def _write(self, events: int) -> None:
        for event in islice(self._events, events):
            while True:
                try:
                    self._producer.produce(
                        self._topic,
                        event.value,
                        event.key,
                        partition=event.partition,
                        timestamp=event.time_ms,
                        on_delivery=self._report,
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self.written += 1
        self._producer.poll(0)

    def _report(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(str(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._producer.flush(10)
