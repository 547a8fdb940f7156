"""The stream that both runs read: a recording with known faults, some records twice or late."""

import heapq
import random
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import orjson
from confluent_kafka import Producer

from streams.files import read_events

PARTITIONS: Final = 4
HEARTBEAT_MS: Final = 10_000
TAIL_MS: Final = 120_000
"""Heartbeats go on so long after the last record: every window closes, and incidents end."""

TWICE_SHARE: Final = 0.01
DELAYED_SHARE: Final = 0.02
DELAYED_MS: Final = (100, 4_000)
LATE_SHARE: Final = 0.001
LATE_MS: Final = (30_000, 90_000)
"""Longer than any window stays open: these become dead letters."""


class RawRecord(NamedTuple):
    """One record of the raw topic, and when it is written, in event time."""

    write_ms: int
    number: int
    partition: int
    key: bytes | None
    value: bytes


def stream(recording: Path, seed: int, shift_ms: int = 0) -> list[RawRecord]:
    """The recording moved by `shift_ms`, in the order in which it is written.

    Drawn from the seed: which records are written twice, which later than others, and which too
    late for their window. Every partition has heartbeats.
    """
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    lines = read_events(sorted(recording.glob("*.jsonl.gz")))
    made = list(_records(lines, shift_ms, chance))
    first_ms, last_ms = made[0].write_ms, max(record.write_ms for record in made)
    beats = range(first_ms, last_ms + TAIL_MS, HEARTBEAT_MS)
    heartbeats = (
        RawRecord(ms, len(made), partition, None, orjson.dumps({"time": ms}))
        for ms in beats
        for partition in range(PARTITIONS)
    )
    return list(heapq.merge(sorted(made), heartbeats))


def _records(lines: Iterable[bytes], shift_ms: int, chance: random.Random) -> Iterator[RawRecord]:
    for number, line in enumerate(lines):
        record = orjson.loads(line)
        record["time"] += shift_ms
        service = str(record["service"]).encode()
        partition = zlib.crc32(service) % PARTITIONS
        write_ms = record["time"] + _delay_ms(chance)
        value = orjson.dumps(record)
        yield RawRecord(write_ms, number, partition, service, value)
        if chance.random() < TWICE_SHARE:
            again_ms = write_ms + chance.randint(0, DELAYED_MS[1])
            yield RawRecord(again_ms, number, partition, service, value)


def _delay_ms(chance: random.Random) -> int:
    drawn = chance.random()
    if drawn < LATE_SHARE:
        return chance.randint(*LATE_MS)
    return chance.randint(*DELAYED_MS) if drawn < LATE_SHARE + DELAYED_SHARE else 0


class Feeder(threading.Thread):
    """Writes the stream in `seconds`, or as fast as the broker takes it where that is 0.

    `clock_ms` is how far event time has come. `failure` is what ended it early.
    """

    def __init__(
        self, records: Sequence[RawRecord], topic: str, bootstrap_servers: str, seconds: float
    ) -> None:
        super().__init__(name="feeder", daemon=True)
        self.clock_ms = records[0].write_ms
        self.finished = False
        self.failure: str | None = None
        self._records = records
        self._topic = topic
        self._seconds = seconds
        self._end = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                # A broker that is away is waited for, and nothing is given up.
                "message.timeout.ms": 0,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )

    def run(self) -> None:
        """Until everything is on Kafka, or `stop`."""
        try:
            started, first_ms = time.monotonic(), self._records[0].write_ms
            span_ms = max(1, self._records[-1].write_ms - first_ms)
            for record in self._records:
                due = started + (record.write_ms - first_ms) / span_ms * self._seconds
                self._wait_until(due)
                if self._end.is_set():
                    return
                self._write(record)
            while len(self._producer) and not self._end.is_set():
                self._producer.flush(0.5)
            self.finished = not len(self._producer)
        except Exception as error:
            self.failure = repr(error)

    def stop(self) -> None:
        """Ends it, also before the end of the stream."""
        self._end.set()
        self.join(10)

    def _wait_until(self, due: float) -> None:
        while (left := due - time.monotonic()) > 0 and not self._end.is_set():
            self._producer.poll(min(left, 0.1))

    def _write(self, record: RawRecord) -> None:
        while not self._end.is_set():
            try:
                self._producer.produce(
                    self._topic,
                    record.value,
                    record.key,
                    record.partition,
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                self.clock_ms = record.write_ms
                break
        self._producer.poll(0)

    def _delivered(self, error: object, _message: object) -> None:
        if error is not None:
            self.failure = f"a record was not written: {error}"
