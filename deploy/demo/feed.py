"""Sends a recording to Kafka as its services would have: in order, at a multiple of real time."""

import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

HEARTBEAT_MS = 10_000
"""How often every partition is told the time, as a platform's collectors would by their traffic."""

AHEAD_BYTES = 2_500_000
"""How far a partition may run ahead of the worker; the embedded broker keeps only 5 MB of it."""

ASK_SECONDS = 0.2


@dataclass(frozen=True)
class Feed:
    """What to send where. `shift_ms` is added to every recorded time."""

    lines: Iterable[bytes]
    topic: str
    partitions: int
    shift_ms: int
    tail_ms: int
    speed: float
    group: str


class Feeder(threading.Thread):
    """Sends the recording from a thread of its own.

    `clock_ms` is how far event time has come; `sent_at(ms)` says when, on the wall clock, that was.
    `failure` holds what ended it early.
    """

    def __init__(self, feed: Feed, bootstrap_servers: str, stop: threading.Event) -> None:
        super().__init__(name="feeder", daemon=True)
        self.feed = feed
        self.clock_ms = 0
        self.first_ms = 0
        self.events = 0
        self.finished = False
        self.failure: BaseException | None = None
        self._stop_requested = stop
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "linger.ms": 5, "enable.idempotence": True}
        )
        self._lag = _Lag(bootstrap_servers, feed)
        self._progress: list[tuple[int, float]] = []

    def run(self) -> None:
        """Sends everything, then the heartbeats that let the last incidents end."""
        try:
            for line, time_ms in self._paced():
                self._send(line, time_ms)
            self._producer.flush(30)
            self.finished = not self._stop_requested.is_set()
        except Exception as error:
            self.failure = error
        finally:
            self._lag.close()

    def sent_at(self, time_ms: int) -> float | None:
        """Wall time, seconds, at which the first event at or after `time_ms` was sent."""
        return next((wall for event_ms, wall in list(self._progress) if event_ms >= time_ms), None)

    def _paced(self) -> Iterator[tuple[bytes | None, int]]:
        """Records with their shifted time, each not before its turn; None is a heartbeat."""
        started = time.monotonic()
        next_heartbeat_ms = 0
        for line in self.feed.lines:
            record = orjson.loads(line)
            record["time"] += self.feed.shift_ms
            time_ms = int(record["time"])
            if not self.first_ms:
                self.first_ms = next_heartbeat_ms = time_ms
            while next_heartbeat_ms <= time_ms:
                if not self._wait_for(next_heartbeat_ms, started):
                    return
                yield None, next_heartbeat_ms
                next_heartbeat_ms += HEARTBEAT_MS
            yield orjson.dumps(record), time_ms
            self.events += 1
        end_ms = next_heartbeat_ms + self.feed.tail_ms
        while next_heartbeat_ms <= end_ms and self._wait_for(next_heartbeat_ms, started):
            yield None, next_heartbeat_ms
            next_heartbeat_ms += HEARTBEAT_MS

    def _wait_for(self, time_ms: int, started: float) -> bool:
        """Waits for an event time's turn and for room in the broker; False when told to stop."""
        due = started + (time_ms - self.first_ms) / 1000 / self.feed.speed
        if self._stop_requested.wait(max(0.0, due - time.monotonic())):
            return False
        while self._lag.bytes_ahead() > AHEAD_BYTES:
            if self._stop_requested.wait(0.1):
                return False
        return True

    def _send(self, line: bytes | None, time_ms: int) -> None:
        if line is None:
            value = orjson.dumps({"time": time_ms})
            for partition in range(self.feed.partitions):
                self._produce(partition, None, value)
            self.clock_ms = time_ms
            self._progress.append((time_ms, time.time()))
        else:
            service = str(orjson.loads(line)["service"]).encode()
            self._produce(zlib.crc32(service) % self.feed.partitions, service, line)

    def _produce(self, partition: int, key: bytes | None, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(self.feed.topic, value, key, partition)
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self._producer.poll(0)
        self._lag.sent(partition, len(value))


class _Lag:
    """How many bytes the worker has yet to commit, at worst of all partitions."""

    def __init__(self, bootstrap_servers: str, feed: Feed) -> None:
        self._partitions = [TopicPartition(feed.topic, p) for p in range(feed.partitions)]
        # After each record, how many bytes its partition holds in all.
        self._bytes: list[list[int]] = [[0] for _ in self._partitions]
        self._committed = [0] * feed.partitions
        self._asked = 0.0
        self._consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": feed.group})

    def sent(self, partition: int, size: int) -> None:
        self._bytes[partition].append(self._bytes[partition][-1] + size)

    def bytes_ahead(self) -> int:
        if self._ahead() > AHEAD_BYTES // 2 and time.monotonic() - self._asked > ASK_SECONDS:
            self._asked = time.monotonic()
            for at in self._consumer.committed(self._partitions, timeout=5):
                self._committed[at.partition] = max(0, at.offset)
        return self._ahead()

    def _ahead(self) -> int:
        return max(
            held[-1] - held[min(committed, len(held) - 1)]
            for held, committed in zip(self._bytes, self._committed, strict=True)
        )

    def close(self) -> None:
        self._consumer.close()
