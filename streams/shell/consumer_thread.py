"""aiokafka's consumer in a thread of its own: reads in runs, and says where it stands."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import aiokafka
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.threads import WorkerThread

from streams.run import Run
from streams.shell.fetch import MAX_RUN_RECORDS, Empty, fetch_bytes, fetched_runs
from streams.shell.lease import Lease


def renew_by_heartbeats(coordinator: Any, lease: Lease) -> None:
    """Lets every heartbeat of aiokafka's coordinator that is answered in a settled group renew
    the lease.

    "Rebalancing" is taken as an answer too, but renews nothing: who does not join in time is left
    out as soon as the rebalance ends, which may be sooner than a session after it.
    """
    beat = coordinator._do_heartbeat

    async def renewing() -> bool:
        sent_at = time.monotonic()
        is_member = bool(await beat())
        if is_member and not coordinator._rejoin_needed_fut.done():
            lease.renew(sent_at)
        return is_member

    coordinator._do_heartbeat = renewing


class DaemonThread(WorkerThread):
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
        """Starts, and lets heartbeats renew the lease."""
        await super().on_start()
        renew_by_heartbeats(self._ensure_consumer()._coordinator, self.consumer.lease)

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
