"""A model of Kafka: partitions with offsets, acknowledgements that get lost, and moments away."""

import asyncio
import random
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import RequestTimedOutError
from aiokafka.structs import RecordMetadata

from deploy.simulation.process import Process

Partition = tuple[str, int]
Headers = Sequence[tuple[str, bytes]]


class Stored(NamedTuple):
    """One record as the broker has it."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Log:
    """One partition; it may begin late, as after retention."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.records: list[Stored] = []

    @property
    def end(self) -> int:
        """The offset of the next record."""
        return self.start + len(self.records)

    def after(self, offset: int, limit: int) -> list[Stored]:
        """At most `limit` records from an offset on, or from the earliest there is."""
        first = max(offset - self.start, 0)
        return self.records[first : first + limit]


class Broker:
    """Topics, committed positions, and how the broker is today.

    Parameters
    ----------
    partitions
        How many partitions each topic has.
    chance
        Decides every delay.
    now_ms
        The wall clock.
    """

    def __init__(
        self, partitions: Mapping[str, int], chance: random.Random, now_ms: Callable[[], int]
    ) -> None:
        self.partitions = dict(partitions)
        self.logs = {(t, p): Log() for t, count in partitions.items() for p in range(count)}
        self.committed: dict[tuple[str, Partition], int] = {}
        self.chance = chance
        self.lost_acks = 0.0
        self._now_ms = now_ms
        self._news: dict[asyncio.Event, None] = {}
        self._back_at = 0.0
        self._slow = (0.0, 0.0)

    def subscribe(self, news: asyncio.Event) -> None:
        """Sets the event whenever anything is appended, or the broker is back."""
        self._news[news] = None

    def unsubscribe(self, news: asyncio.Event) -> None:
        """No more of that."""
        self._news.pop(news, None)

    def go_away(self, seconds: float) -> None:
        """Answers nobody for a while."""
        loop = asyncio.get_running_loop()
        self._back_at = max(self._back_at, loop.time() + seconds)
        loop.call_at(self._back_at, self._tell)

    def be_slow(self, seconds: float, delay_seconds: float) -> None:
        """Takes its time with everything, for a while."""
        self._slow = (asyncio.get_running_loop().time() + seconds, delay_seconds)

    @property
    def away_seconds(self) -> float:
        """How long it will still answer nobody."""
        return max(0.0, self._back_at - asyncio.get_running_loop().time())

    def delay(self) -> float:
        """Seconds that a request takes to be done, now."""
        until, slow = self._slow
        extra = slow if asyncio.get_running_loop().time() < until else 0.0
        return self.away_seconds + extra + self.chance.choice((0.001, 0.002, 0.005, 0.03))

    def partition_of(self, topic: str, key: bytes | None) -> int:
        """Where a record without a partition goes."""
        return zlib.crc32(key or b"") % self.partitions[topic]

    def append(
        self, tp: Partition, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> int:
        """Writes a record; its offset."""
        log = self.logs[tp]
        log.records.append(Stored(log.end, self._now_ms(), key, value, headers))
        self._tell()
        return log.end - 1

    def end(self, tp: Partition) -> int:
        """The offset of the next record of a partition."""
        return self.logs[tp].end

    def values(self, topic: str) -> list[bytes]:
        """Everything that a topic holds, partition by partition."""
        logs = (self.logs[topic, p] for p in range(self.partitions[topic]))
        return [stored.value or b"" for log in logs for stored in log.records]

    def _tell(self) -> None:
        for news in list(self._news):
            news.set()


_Waiting = tuple[bytes | None, bytes | None, Headers, "asyncio.Future[RecordMetadata]"]
_Answer = tuple["asyncio.Future[RecordMetadata]", RecordMetadata]


def _metadata(tp: Partition, offset: int) -> RecordMetadata:
    return RecordMetadata(*tp, TopicPartition(*tp), offset, None, 0, 0)


class Producer:
    """An idempotent producer: in order within a partition, nothing twice, acknowledged later.

    What was sent and not yet appended when its process dies was on its way: of each partition a
    first part arrives all the same.
    """

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process
        self._waiting: dict[Partition, list[_Waiting]] = {}
        process.on_death.append(self._cut)

    def send(
        self, tp: Partition, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> "asyncio.Future[RecordMetadata]":
        """Its future says where it stands once the broker has acknowledged."""
        self._process.count()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[RecordMetadata] = loop.create_future()
        waiting = self._waiting.get(tp)
        if waiting is None:
            waiting = self._waiting[tp] = []
            loop.call_later(self._broker.delay(), self._write, tp)
        waiting.append((key, value, headers, done))
        return done

    def _write(self, tp: Partition) -> None:
        if self._process.is_dead:
            return
        loop = asyncio.get_running_loop()
        if self._broker.away_seconds:
            loop.call_later(self._broker.delay(), self._write, tp)
            return
        waiting = self._waiting.pop(tp)
        offsets = [self._broker.append(tp, *record[:3]) for record in waiting]
        is_lost = self._broker.chance.random() < self._broker.lost_acks
        answers = [
            (record[3], _metadata(tp, offset))
            for record, offset in zip(waiting, offsets, strict=True)
        ]
        loop.call_later(self._broker.delay(), self._answer, answers, is_lost)

    def _answer(self, answers: Iterable[_Answer], is_lost: bool) -> None:
        for done, metadata in answers:
            if done.done() or self._process.is_dead:
                continue
            if is_lost:
                done.set_exception(RequestTimedOutError())
                done.exception()  # it need not be asked for
            else:
                done.set_result(metadata)

    def _cut(self) -> None:
        chance = self._broker.chance
        for tp, waiting in sorted(self._waiting.items()):
            for key, value, headers, _ in waiting[: chance.randint(0, len(waiting))]:
                self._broker.append(tp, key, value, headers)
        self._waiting.clear()
