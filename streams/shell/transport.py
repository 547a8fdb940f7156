"""Faust's transport in runs: what one fetch returned for one partition is ONE Faust message.

Registered under the URL scheme `runs://` by the entry-point group `faust.transports`. Written
against Faust 0.15.3 and aiokafka 0.14. Differs from Faust's own aiokafka transport in that
- a message's value is a `streams.run.Run`, except on changelogs, which Faust recovers by record;
- at most two delivered runs of a partition are unacknowledged, so memory is bounded and no
  partition starves; an ack frees the place and says nothing about the committed position;
- positions are committed when a checkpoint says so (`Consumer.commit_positions`), never by ack;
- the producer is idempotent and waits for all in-sync replicas.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar

import aiokafka
import faust
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from faust.types.tuples import ack_lock
from mode.threads import WorkerThread
from mode.utils.futures import notify

from streams.run import Run
from streams.shell.chain import Chain
from streams.shell.fetch import MAX_RUN_RECORDS, Empty, fetch_bytes, fetched_runs
from streams.shell.lease import Lease

try:
    from uvloop import new_event_loop
except ImportError:  # not on Windows
    from asyncio import new_event_loop  # type: ignore[assignment]

MAX_UNACKED_RUNS = 2
"""Delivered and not yet acknowledged, a partition: one under way and one waiting."""

_POLL_WHILE_FULL_SECONDS = 0.02


class RunSchema(faust.Schema):
    """Hands a run through as it is; nothing is deserialised in Faust."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> None:
        """A run has no key of its own."""

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        """The run."""
        return message.value


class _DaemonThread(WorkerThread):
    """Does not keep a process alive whose worker has given up."""

    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer in its own thread and loop, read in runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._empty: Empty = {}
        super().__init__(*args, **kwargs)

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # What a transaction aborted was never said. Faust ties this to its own transactions.
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = 500
        return consumer

    async def on_start(self) -> None:
        """Starts, and lets every heartbeat that is answered renew the lease."""
        await super().on_start()
        coordinator, lease = self._ensure_consumer()._coordinator, self.consumer.lease
        beat = coordinator._do_heartbeat

        async def renewing() -> bool:
            sent_at = time.monotonic()
            is_member = bool(await beat())
            if is_member:
                lease.renew(sent_at)
            return is_member

        coordinator._do_heartbeat = renewing

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        """Seeks each partition to what is committed, or else to its beginning; says to what.

        aiokafka's own leaves those where nothing is committed as they are: behind what was fetched
        in a rebalance and then dropped. And it asks for one after the other.
        """
        return dict(await self.call_thread(self._seek_to_committed))

    async def _seek_to_committed(self) -> Mapping[TP, int | None]:
        consumer, changelogs = self._ensure_consumer(), self.app.tables.changelog_topics
        places = [tp for tp in consumer.assignment() if tp.topic not in changelogs]
        found = await consumer._coordinator.fetch_committed_offsets(places) if places else {}
        committed = {tp: known.offset for tp, known in found.items() if known.offset >= 0}
        mine = consumer.assignment()
        for tp, offset in committed.items():
            if tp in mine:
                consumer.seek(tp, offset)
        fresh = [tp for tp in places if tp in mine and tp not in committed]
        if fresh:
            await consumer.seek_to_beginning(*fresh)
        return {ensure_TP(tp): committed.get(tp) for tp in places}

    async def drained(self, partitions: Iterable[TP]) -> dict[TP, float]:
        """Of those of which nothing is left to fetch, how many seconds ago the broker said so."""
        return dict(await self.call_thread(self._drained, list(partitions)))

    async def _drained(self, partitions: Iterable[TP]) -> dict[TP, float]:
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription and subscription.assignment
        if assignment is None:
            return {}
        now_ms, found = time.time() * 1000, dict[TP, float]()
        for tp in partitions:
            if tp not in assignment.tps:
                continue
            state = assignment.state_value(tp)
            if state.timestamp is None or not state.has_valid_position:
                continue  # not fetched yet
            if state.highwater <= state.position:
                found[tp] = max(0.0, now_ms - state.timestamp) / 1000
        return found

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: Iterable[TP],
        timeout: float | None = None,  # noqa: ASYNC109 (Faust's signature)
        max_records: int | None = None,
    ) -> Mapping[TP, list[Any]]:
        if not self.consumer.flow_active:
            return {}
        fetcher, changelogs = consumer._fetcher, self.app.tables.changelog_topics
        mine = sum(tp.topic not in changelogs for tp in consumer.assignment())
        fetcher._max_partition_fetch_bytes = fetch_bytes(mine)
        with fetcher._subscriptions.fetch_context():
            runs = await fetched_runs(
                fetcher,
                set(active_partitions),
                timeout or 0.0,
                max_records or MAX_RUN_RECORDS,
                self._empty,
            )
        # Before anybody can see that their positions have moved.
        self.consumer.in_hand.update(TP(*tp) for tp in runs)
        return {
            TP(*tp): _records_of(run) if run.topic in changelogs else [run]
            for tp, run in runs.items()
        }


class _Record:
    """One record of a changelog, for Faust's recovery."""

    __slots__ = ("key", "offset", "timestamp_ms", "value")

    def __init__(
        self, offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None
    ) -> None:
        self.offset = offset
        self.timestamp_ms = timestamp_ms
        self.key = key
        self.value = value


def _records_of(run: Run) -> list[_Record]:
    return [
        _Record(*columns)
        for columns in zip(run.offsets, run.timestamps_ms, run.keys, run.values, strict=True)
    ]


class Consumer(driver.Consumer):
    """Delivers runs, bounds what is unacknowledged, and commits where it is told to."""

    lease: Lease
    """Whether the group still counts this worker in."""

    positions: Callable[[], Mapping[TP, int]] = dict
    """Where the states are; whoever restores them sets it."""

    in_hand: set[TP]
    """Partitions of which the last poll has brought something."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._unacked_runs: dict[TP, set[int]] = defaultdict(set)
        self._place_freed = asyncio.Event()
        self.in_hand = set()
        self._chain = Chain()
        super().__init__(*args, **kwargs)
        self.lease = Lease(self.app.conf.broker_session_timeout)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(
            self,
            loop=self.loop,
            thread_loop=new_event_loop(),
            Worker=_DaemonThread,
            beacon=self.beacon,
        )

    # delivery

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 (Faust's signature)
    ) -> Mapping[TP, list[Any]]:
        self.in_hand.clear()  # all that the poll before has brought is delivered
        active = set(active_partitions or ())
        free = {tp for tp in active if len(self._unacked_runs[tp]) < MAX_UNACKED_RUNS}
        if not free:
            self._place_freed.clear()
            await self._wait_for_place(timeout)
            return {}
        if len(free) < len(active):
            timeout = min(timeout, _POLL_WHILE_FULL_SECONDS)
        return await self._thread.getmany(free, timeout)

    async def _wait_for_place(self, timeout_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):  # wait_for may swallow a cancelling
                await self._place_freed.wait()

    async def getmany(
        self,
        timeout: float,  # noqa: ASYNC109 (Faust's signature)
    ) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Messages of one poll; a run takes a place when it is delivered, not when it is built."""
        async for tp, message in super().getmany(timeout):
            if isinstance(message.value, Run):
                read_offset = self._read_offset[tp]
                if read_offset is not None and message.offset < read_offset:
                    continue  # fetched before a seek past it; Faust would drop it without an ack
                missing_from = self._chain.missing_from(tp, message.value)
                if missing_from is not None:
                    self.log.warning(
                        "%s: what stands from %s to %s was dropped, and is read again",
                        message.value.source,
                        missing_from,
                        message.value.from_offset,
                    )
                    await self._thread.seek_wait({tp: missing_from})
                    continue
                self._chain.take(tp, message.value)
                self._unacked_runs[tp].add(id(message))
            yield tp, message

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if isinstance(record, Run):
            offset, timestamp_ms = record.offsets[-1], record.timestamps_ms[-1]
            key, value = None, record
        else:
            offset, timestamp_ms = record.offset, record.timestamp_ms
            key, value = record.key, record.value
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            offset,
            timestamp_ms / 1000.0,
            0,
            None,
            key,
            value,
            None,
            0,
            0,
            ensure_TP(tp),
            generation_id=self.app.consumer_generation_id,
        )

    def ack(self, message: ConsumerMessage) -> bool:
        """Frees the run's place and lets its records go. Commits nothing."""
        with ack_lock:
            if message.acked:
                return False
            message.acked = True
            self._unacked_messages.discard(message)
        self._unacked_runs[message.tp].discard(id(message))
        self._place_freed.set()
        notify(self._waiting_for_ack)
        return True

    def has_unacked(self, tp: TP) -> bool:
        """Whether a run of this partition is fetched and not yet acknowledged."""
        return bool(self._unacked_runs.get(tp)) or tp in self.in_hand

    async def drained(self, partitions: Iterable[TP]) -> dict[TP, float]:
        """Of those of which nothing is left, how many seconds ago the broker said so."""
        found = await self._thread.drained(partitions)
        return {tp: seconds for tp, seconds in found.items() if not self.has_unacked(tp)}

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forgets what was delivered of the revoked partitions; its places are free."""
        self.lease.give_up()
        self._clear(revoked)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """The coordinator has just confirmed the membership."""
        self.lease.renew(time.monotonic())
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Seeks to where the states are, else to what is committed, else to the beginning.

        A state's own position is the one that counts: a commit may have failed, or may be another
        worker's. What was delivered before and is not acknowledged comes again.
        """
        self._clear(list(self._unacked_runs))
        await super().perform_seek()
        mine = self.assignment()
        await self._thread.seek_wait({t: o for t, o in self.positions().items() if t in mine})
        known = {tp: self._read_offset[tp] for tp in mine}
        self._chain.forget(mine)
        self._chain.begin({tp: offset for tp, offset in known.items() if offset is not None})

    async def _seek(self, partition: TP, offset: int) -> None:
        # In the consumer's thread, between two fetches: one under way would undo it.
        self._clear([ensure_TP(partition)])
        await self._thread.seek_wait({partition: offset})

    def _clear(self, partitions: Collection[TP]) -> None:
        for tp in partitions:
            self._unacked_runs.pop(ensure_TP(tp), None)
        self._chain.forget(ensure_TP(tp) for tp in partitions)
        self._place_freed.set()

    # committing

    async def commit_positions(self, positions: Mapping[TP, int]) -> bool:
        """Commits the next offset to read of each partition.

        Returns False if the group is rebalancing, so that nothing was committed.
        """
        mine = self.assignment()
        positions = {tp: offset for tp, offset in positions.items() if tp in mine}
        if not positions or not await self._commit(positions):
            return False
        self._committed_offset.update(positions)
        self.app.monitor.on_tp_commit(positions)
        return True

    def _new_offset(self, tp: TP) -> int | None:
        """Nothing is ever committed because of an ack."""
        return None

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Runs jump by nature; Faust's bookkeeping of gaps has nothing to say here."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's own stall messages measure per-event acks; the worker has its own watchdog."""


class Producer(driver.Producer):
    """Idempotent, acknowledged by all in-sync replicas."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    @property
    def client(self) -> aiokafka.AIOKafkaProducer:
        """aiokafka's producer. Raises `faust.exceptions.NotReady` before the start."""
        return self._ensure_producer()


class Transport(driver.Transport):
    """`runs://host:port`: Faust on Kafka, fed in runs."""

    Consumer: ClassVar[type] = Consumer
    Producer: ClassVar[type] = Producer
