"""What the sinks' process uses of aiokafka, on the model of a broker."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError

from deploy.consume import SinkConsumer
from deploy.credentials import KafkaSettings
from deploy.publisher import Publisher
from deploy.simulation.broker import Broker, Producer
from deploy.simulation.process import Process, current

SETTINGS = KafkaSettings("the simulated broker", {}, {})
_IDLE_SECONDS = 20.0
"""A poll that finds nothing takes so long, instead of the quarter of a second that is asked for:
nothing depends on it, and nothing is then done eighty times in vain."""
_FETCHES = (1, 2, 10, 500)


class Fetched(NamedTuple):
    """What is used of aiokafka's `ConsumerRecord`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Client:
    """A consumer, alone in its group, from its start to its stop."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process
        self._listener: ConsumerRebalanceListener | None = None
        self._topics: Sequence[str] = ()
        self._next: dict[TopicPartition, int] = {}
        self._news = asyncio.Event()
        self._assigned = asyncio.Event()
        self._joining: asyncio.Task[None] | None = None

    def subscribe(self, topics: Sequence[str], listener: ConsumerRebalanceListener) -> None:
        """Names what is to be read, and who is told of assignments."""
        self._topics, self._listener = topics, listener

    async def start(self) -> None:
        """Connects. Raises `KafkaConnectionError` while the broker is away."""
        await self._process.step()
        if self._broker.away_seconds:
            raise KafkaConnectionError("the broker is away")
        await asyncio.sleep(self._broker.delay())
        self._broker.subscribe(self._news)
        self._joining = self._process.spawn(self._join())

    async def stop(self) -> None:
        """Leaves."""
        self._broker.unsubscribe(self._news)
        if self._joining is not None:
            self._joining.cancel()

    def rebalance(self) -> None:
        """The group hands its partitions out again."""
        if self._assigned.is_set():
            self._joining = self._process.spawn(self._join())

    async def _join(self) -> None:
        assert self._listener is not None
        before, self._next = set(self._next), {}
        self._assigned.clear()
        if before:
            await self._listener.on_partitions_revoked(before)
        await asyncio.sleep(self._broker.delay())
        await self._process.step()
        parts = [TopicPartition(t, p) for t in self._topics for p in self._of(t)]
        self._next = dict.fromkeys(parts, 0)
        await self._listener.on_partitions_assigned(set(parts))
        self._assigned.set()
        self._news.set()

    def _of(self, topic: str) -> range:
        return range(self._broker.partitions[topic])

    def assignment(self) -> set[TopicPartition]:
        """What it reads."""
        return set(self._next)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """The next offset to fetch."""
        self._next[tp] = offset
        self._news.set()

    async def getmany(
        self, *, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Fetched]]:
        """Records of some partitions, or none after a while."""
        del timeout_ms
        await self._process.step()
        if not self._assigned.is_set():
            await self._assigned.wait()
        found = self._take(max_records)
        if not found:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), _IDLE_SECONDS)
            except TimeoutError:
                return {}
            await asyncio.sleep(self._broker.delay())
            if self._assigned.is_set():
                found = self._take(max_records)
        if found and self._broker.chance.random() < 0.1:
            await asyncio.sleep(0.5)  # time in which the partitions may be handed out again
        return found

    def _take(self, max_records: int) -> dict[TopicPartition, list[Fetched]]:
        chance = self._broker.chance
        found = {}
        for tp in sorted(self._next):
            log, offset = self._broker.logs[tp.topic, tp.partition], self._next[tp]
            if log.end <= offset or chance.random() < 0.1:
                continue
            stored = log.after(offset, min(max_records, chance.choice(_FETCHES)))
            found[tp] = [Fetched(tp.topic, tp.partition, *one[:4]) for one in stored]
            self._next[tp] = found[tp][-1].offset + 1
        return found

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """For lag tools."""
        del offsets
        await self._process.step()
        await asyncio.sleep(self._broker.delay())
        if not self._assigned.is_set():
            raise CommitFailedError("the group is rebalancing")

    async def end_offsets(self, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:
        """The ends, from the broker."""
        await asyncio.sleep(self._broker.delay())
        return {tp: self._broker.end((tp.topic, tp.partition)) for tp in partitions}

    async def topics(self) -> set[str]:
        """What there is."""
        await asyncio.sleep(self._broker.delay())
        return set(self._broker.partitions)


class SimulatedSinkConsumer(SinkConsumer):
    """The real one, on a simulated client."""

    def __init__(self, broker: Broker, *given: Any) -> None:
        super().__init__(*given)
        self._broker = broker

    @property
    def client(self) -> Client | None:
        """The client in use."""
        return self._consumer

    def _new_consumer(self) -> Any:
        self._positioned = False
        return Client(self._broker, current())


class _Writer:
    """What `deploy.publisher` uses of aiokafka's producer."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process
        self._raw = Producer(broker, process)

    async def start(self) -> None:
        """Connects. Raises `KafkaConnectionError` while the broker is away."""
        await self._process.step()
        if self._broker.away_seconds:
            raise KafkaConnectionError("the broker is away")

    async def stop(self) -> None:
        """Nothing is left to do."""

    async def send_and_wait(
        self, topic: str, value: bytes, *, key: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> None:
        """Returns once it is acknowledged. Raises `RequestTimedOutError` if nobody says so."""
        await self._process.step()
        await self._raw.send((topic, self._broker.partition_of(topic, key)), key, value, headers)
        await self._process.step()


class SimulatedPublisher(Publisher):
    """The real one, on a simulated producer."""

    def __init__(self, broker: Broker, process: Process) -> None:
        super().__init__(SETTINGS)
        self._broker = broker
        self._process = process

    def _new_producer(self) -> Any:
        return _Writer(self._broker, self._process)
