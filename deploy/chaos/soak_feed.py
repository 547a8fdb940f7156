"""Steady input to many partitions, and the count of it by partition and window."""

import threading
import time
from collections import Counter
from itertools import count
from typing import Any, Final

import orjson
from confluent_kafka import Producer

STEP_SECONDS: Final = 0.05
SERVICES_A_PARTITION: Final = 3

Cell = tuple[str, int]
"""A source, `topic/partition`, and the end of a window, ms."""


class SteadyFeed(threading.Thread):
    """Writes events of the moment at which they are written, in turn to every partition.

    Parameters
    ----------
    rate
        Events a second, over all partitions.
    window_ms
        Length of the windows to count by.

    Attributes
    ----------
    sent
        Events that Kafka has acknowledged, by cell.
    ends
        The offset after the last of these, by partition.
    failure
        What ended it early.
    """

    def __init__(
        self, servers: str, topic: str, partitions: int, rate: float, window_ms: int
    ) -> None:
        super().__init__(name="feed", daemon=True)
        self.sent: Counter[Cell] = Counter()
        self.ends: dict[str, int] = {f"{topic}/{p}": 0 for p in range(partitions)}
        self.failure: str | None = None
        self._topic = topic
        self._partitions = partitions
        self._rate = rate
        self._window_ms = window_ms
        self._end = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,
                "linger.ms": 20,
                "message.timeout.ms": 0,
                "log_level": 0,
            }
        )

    def run(self) -> None:
        """Until `stop`."""
        try:
            numbers, last, owed = count(), time.monotonic(), 0.0
            while not self._end.wait(STEP_SECONDS):
                now = time.monotonic()
                owed += (now - last) * self._rate
                last = now
                for _ in range(int(owed)):
                    self._write(next(numbers))
                owed -= int(owed)
                self._producer.poll(0)
        except Exception as error:
            self.failure = repr(error)

    def stop(self) -> None:
        """Ends it, once everything is on Kafka."""
        self._end.set()
        self.join(30)
        if self._producer.flush(60):
            self.failure = "not everything was written"

    def _write(self, number: int) -> None:
        partition, turn = number % self._partitions, number // self._partitions
        now_ms = int(time.time() * 1000)
        service = f"service-{partition}-{turn % SERVICES_A_PARTITION}"
        event = {"time": now_ms, "service": service, "metric": "load_ratio", "value": turn % 7}
        window_end_ms = now_ms - now_ms % self._window_ms + self._window_ms

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                self.failure = f"an event was not written: {error}"
                return
            source = f"{self._topic}/{partition}"
            self.sent[source, window_end_ms] += 1
            # Of a batch that it had taken already and was sent again, Kafka does not say where.
            self.ends[source] = max(self.ends[source], (message.offset() or 0) + 1)

        while True:
            try:
                self._producer.produce(
                    self._topic,
                    orjson.dumps(event),
                    service.encode(),
                    partition,
                    on_delivery=delivered,
                )
                return
            except BufferError:
                self._producer.poll(0.1)
