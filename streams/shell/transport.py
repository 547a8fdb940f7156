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
from mode.utils.futures import notify

from streams.run import Run
from streams.shell.chain import Chain
from streams.shell.consumer_thread import ConsumerThread, DaemonThread
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
        # Who was a member at a heartbeat is replaced at the earliest when it has missed a whole
        # session, or a whole rebalance.
        conf = self.app.conf
        self.lease = Lease(min(conf.broker_session_timeout, conf.broker_rebalance_timeout))

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(
            self,
            loop=self.loop,
            thread_loop=new_event_loop(),
            Worker=DaemonThread,
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
