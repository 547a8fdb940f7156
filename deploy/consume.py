"""Feeds a sink from Kafka: in order, from the positions that the sink's own store holds."""

import asyncio
import contextlib
import heapq
from collections.abc import Iterable, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
)
from prometheus_client import Counter, Gauge, Histogram

from deploy.admin import Health
from deploy.backoff import Backoff, passes
from deploy.complaints import Complaints
from deploy.credentials import KafkaSettings
from sinks.sink import Record, Sink

log = structlog.get_logger(__name__)

RECORDS = Counter("tocsin_sink_records_total", "Records taken in.", ["sink", "topic"])
APPLY = Histogram(
    "tocsin_sink_apply_seconds",
    "Time to take in one batch of records, with the store's transaction.",
    ["sink"],
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)
POSITION = Gauge(
    "tocsin_sink_next_offset", "Offset of the next record to read.", ["sink", "topic", "partition"]
)
LAG = Gauge("tocsin_sink_lag_records", "Records not yet taken in.", ["sink", "topic", "partition"])
LAST_RECORD = Gauge(
    "tocsin_sink_last_record_timestamp_seconds",
    "Kafka's timestamp of the last record taken in.",
    ["sink", "topic"],
)

_BATCH_RECORDS = 500
_POLL_MS = 250
_PROBE_SECONDS = 3.0


class AheadOfTopicError(Exception):
    """A sink's store has read more of a topic than there is: new records would pass for old."""


class SinkConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads the sink's topics in its consumer group and hands the records over, batch by batch.

    On every assignment the positions are read anew from the sink's store and sought; Kafka's
    committed offsets are written after each batch for lag tools and never read. A broker that is
    away is waited for, as `health` says; whatever the sink raises ends `run`.
    """

    def __init__(
        self, sink: Sink, settings: KafkaSettings, consumer_group: str, health: Health
    ) -> None:
        self._sink = sink
        self._settings = settings
        self._group = consumer_group
        self._health = health
        self._consumer: AIOKafkaConsumer | None = None
        # Held while records are applied and while partitions change hands.
        self._lock = asyncio.Lock()
        self._generation = 0
        self._positioned = False
        self._failure: BaseException | None = None
        self._next: dict[TopicPartition, int] = {}
        self._complaints = Complaints()
        health.waiting("kafka", "not connected yet")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises what the sink raises, and what Kafka refuses for good."""
        with self._complaints.listening():
            await self._run(stop)

    async def _run(self, stop: asyncio.Event) -> None:
        backoff = Backoff()
        while not stop.is_set():
            consumer = self._consumer = self._new_consumer()
            try:
                consumer.subscribe(self._sink.topics, listener=self)
                await consumer.start()
                backoff.reset()
                self._complaints.forget()
                await self._read(consumer, stop)
            except KafkaError as error:
                if not passes(error):
                    raise
                self._away(error)
            finally:
                await _close(consumer)
            if not stop.is_set():
                await backoff.sleep()

    async def _read(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        probe = asyncio.create_task(self._probe_forever(consumer), name="kafka-probe")
        try:
            while not stop.is_set():
                generation = self._generation
                fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH_RECORDS)
                async with self._lock:
                    if self._failure is not None:
                        raise self._failure
                    if not (fetched and self._positioned):
                        continue
                    if generation == self._generation:
                        await self._apply(consumer, fetched)
                    else:
                        self._go_back(consumer, fetched)
        finally:
            probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probe

    def _go_back(self, consumer: AIOKafkaConsumer, fetched: Iterable[TopicPartition]) -> None:
        """Fetches again from where the store is.

        The partitions were assigned while these records were on their way: whether they were
        fetched before the seek or after it cannot be told, and after it they would not come again.
        """
        for tp in fetched:
            if tp in self._next:
                consumer.seek(tp, self._next[tp])

    async def _apply(
        self,
        consumer: AIOKafkaConsumer,
        fetched: Mapping[TopicPartition, Sequence[ConsumerRecord]],
    ) -> None:
        records = _in_order(fetched.values())
        with APPLY.labels(self._sink.name).time():
            await self._sink.apply(records)
        for tp, of_partition in fetched.items():
            self._count(tp, of_partition)
        await self._commit(consumer, {tp: self._next[tp] for tp in fetched})

    def _count(self, tp: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        sink = self._sink.name
        self._next[tp] = records[-1].offset + 1
        RECORDS.labels(sink, tp.topic).inc(len(records))
        POSITION.labels(sink, tp.topic, tp.partition).set(self._next[tp])
        LAST_RECORD.labels(sink, tp.topic).set(records[-1].timestamp / 1000)

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """For lag tools only: the store has the truth, so a failure changes nothing."""
        try:
            await asyncio.wait_for(consumer.commit(offsets), _PROBE_SECONDS)
        except (CommitFailedError, IllegalStateError, TimeoutError) as error:
            log.info("the offsets were not committed", sink=self._sink.name, error=repr(error))
        except KafkaError as error:
            if not passes(error):
                raise
            self._away(error)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Waits for the batch under way, so that no two members apply the same records at once."""
        async with self._lock:
            self._positioned = False
            self._next.clear()
        for tp in revoked:
            with contextlib.suppress(KeyError):
                LAG.remove(self._sink.name, tp.topic, tp.partition)
                POSITION.remove(self._sink.name, tp.topic, tp.partition)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Seeks every partition to where the sink's store stands, or to the earliest record."""
        consumer = self._consumer
        assert consumer is not None
        async with self._lock:
            try:
                positions = await self._sink.positions()
                for tp in sorted(assigned):
                    # Past the retention's edge, auto_offset_reset leads to the earliest.
                    offset = positions.get((tp.topic, tp.partition), 0)
                    consumer.seek(tp, offset)
                    self._next[tp] = offset
            except IllegalStateError:
                return  # Revoked meanwhile; another assignment follows.
            except BaseException as error:
                # aiokafka only logs what a listener raises, and would read on from elsewhere.
                self._failure = error
                raise
            self._generation += 1
            self._positioned = True
        log.info(
            "partitions assigned",
            sink=self._sink.name,
            next_offsets={f"{tp.topic}/{tp.partition}": self._next[tp] for tp in sorted(assigned)},
        )

    async def _probe_forever(self, consumer: AIOKafkaConsumer) -> None:
        """Keeps lag and readiness true, also while nothing comes."""
        while True:
            try:
                async with asyncio.timeout(_PROBE_SECONDS):
                    await self._probe(consumer)
            except (KafkaError, TimeoutError) as error:
                self._away(error)
            await asyncio.sleep(1 if "kafka" in self._health.reasons else _PROBE_SECONDS)

    async def _probe(self, consumer: AIOKafkaConsumer) -> None:
        assigned, reached = consumer.assignment(), dict(self._next)
        ends = await consumer.end_offsets(assigned) if assigned else await consumer.topics()
        if not self._positioned:
            self._health.waiting("kafka", "partitions are being assigned")
            return
        for tp in assigned:
            if ends[tp] < reached.get(tp, 0):
                self._failure = _ahead(self._sink.name, tp, reached[tp], ends[tp])
                return
        self._health.good("kafka")
        for tp in assigned:
            lag = max(0, ends[tp] - self._next.get(tp, 0))
            LAG.labels(self._sink.name, tp.topic, tp.partition).set(lag)

    def _away(self, error: BaseException) -> None:
        reason = (
            f"waiting for {self._settings.bootstrap_servers} and the topics "
            f"{', '.join(self._sink.topics)}: "
            f"{_said(error, self._complaints.last)}"
        )
        if "kafka" not in self._health.reasons:
            log.warning("Kafka is away", sink=self._sink.name, reason=reason)
        self._health.waiting("kafka", reason)

    def _new_consumer(self) -> AIOKafkaConsumer:
        self._positioned = False
        return AIOKafkaConsumer(
            **self._settings.aiokafka,
            group_id=self._group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            session_timeout_ms=6_000,
            heartbeat_interval_ms=2_000,
            request_timeout_ms=10_000,
            # Topics and partitions that are created later are found within this time.
            metadata_max_age_ms=10_000,
            fetch_max_wait_ms=_POLL_MS,
        )


def _said(error: BaseException, complaint: str) -> str:
    if complaint and not complaint.endswith(": "):  # the client says the reason after these
        return complaint
    if isinstance(error, KafkaConnectionError):
        return "no answer that can be read: do kafka.bootstrap_servers and security_protocol fit?"
    return f"{type(error).__name__} {error}".rstrip()


def _ahead(sink: str, tp: TopicPartition, reached: int, end: int) -> AheadOfTopicError:
    return AheadOfTopicError(
        f"the store of {sink} has read {tp.topic}/{tp.partition} up to offset {reached}, which "
        f"ends at {end}: if this is the right cluster, the topic was made anew; set its "
        "next_offset to 0 in the store's table of positions (what the store holds stays) and "
        "start again"
    )


def _in_order(partitions: Iterable[Sequence[ConsumerRecord]]) -> list[Record]:
    """Merged by Kafka's timestamps, without changing the order within a partition."""
    merged = heapq.merge(*partitions, key=lambda record: int(record.timestamp))
    return [
        Record(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            key=record.key,
            value=record.value,
        )
        for record in merged
    ]


async def _close(consumer: AIOKafkaConsumer) -> None:
    """Leaves the group; a broker that is away must not hold the process up."""
    with contextlib.suppress(TimeoutError, KafkaError):
        await asyncio.wait_for(consumer.stop(), 1)
