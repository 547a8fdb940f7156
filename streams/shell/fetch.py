"""Takes fetched records out of aiokafka's fetcher as runs, without a ConsumerRecord for each."""

import asyncio
import time
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException

from streams.run import Run

Partition = tuple[str, int]

_HEADERS = attrgetter("headers")


async def fetched_runs(
    fetcher: Any, partitions: Collection[Partition], timeout_seconds: float, max_records: int
) -> dict[Partition, Run]:
    """At most one run of each of `partitions`; waits up to `timeout_seconds` for the first.

    Does what `aiokafka.consumer.fetcher.Fetcher.fetched_records` does (0.14), but in columns.
    Raises what the broker said of a partition, `ConsumerStoppedError` once the fetcher is closed.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        if fetcher._closed:
            raise ConsumerStoppedError
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        runs = _take(fetcher, partitions, max_records)
        remaining = deadline - time.monotonic()
        if runs or remaining <= 0:
            return runs
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=remaining)
        if not done:
            waiter.cancel()
            return {}
        waiter.result()  # raises authorisation errors


def _take(
    fetcher: Any, partitions: Collection[Partition], max_records: int
) -> dict[Partition, Run]:
    runs: dict[Partition, Run] = {}
    for tp in list(fetcher._records):
        if tp not in partitions:
            if not fetcher._subscriptions.is_assigned(tp):
                del fetcher._records[tp]
            continue
        result = fetcher._records[tp]
        if type(result) is not FetchResult:  # an error; after what other partitions have brought
            if runs:
                return runs
            _drop(fetcher, tp)
            result.check_raise()
            continue
        run = _run_of(result, tp, max_records)
        if not result.has_more():
            _drop(fetcher, tp)
        if run is not None:
            runs[tp] = run
    return runs


def _drop(fetcher: Any, tp: Partition) -> None:
    del fetcher._records[tp]
    fetcher._notify(fetcher._wait_consume_future)  # lets it fetch this partition again


def _run_of(result: Any, tp: Partition, max_records: int) -> Run | None:
    if not result.check_assignment(tp) or not result.has_more():
        return None
    fetched = result._partition_records
    run, exhausted = read_run(fetched, tp, max_records)
    result._update_position()
    if exhausted:
        result._partition_records = None
        # It and its generator refer to each other: until a full collection, which the raised
        # thresholds make rare, they would keep the whole fetch in memory.
        fetched._records_iterator = None
    return run or None


def read_run(fetched: Any, tp: Partition, max_records: int) -> tuple[Run, bool]:
    """Whole batches of an aiokafka `PartitionRecords`, up to about `max_records`.

    Returns the run, which may be empty, and whether nothing is left. Transactions are honoured as
    aiokafka does; a batch is never split, so a run can be larger than `max_records` by one batch.
    """
    columns = _Columns()
    source = fetched._records
    while len(columns.values) < max_records and source.has_next():
        batch = source.next_batch()
        if fetched._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {fetched._tp}")
        if not batch.is_control_batch and not _aborted(fetched, batch):
            columns.add(list(batch), fetched.next_fetch_offset)
        fetched.next_fetch_offset = batch.next_offset
    return columns.run(tp), not source.has_next()


def _aborted(fetched: Any, batch: Any) -> bool:
    if fetched._isolation_level != READ_COMMITTED or batch.producer_id is None:
        return False
    fetched._consume_aborted_up_to(batch.base_offset)
    return bool(batch.is_transactional and batch.producer_id in fetched._aborted_producers)


class _Columns:
    """What batches hold, column by column, so that their record objects can go at once.

    These are then made again in the same memory, which is still in the processor's cache.
    """

    def __init__(self) -> None:
        self.values: list[bytes | None] = []
        self._keys: list[bytes | None] = []
        self._timestamps_ms: list[int] = []
        self._spans: list[Sequence[int]] = []
        self._headers: dict[int, tuple[tuple[str, bytes], ...]] = {}
        self._most_bytes: int | None = 0
        self._least_ms: int | None = None

    def add(self, records: list[Any], from_offset: int) -> None:
        """Takes in a batch's records from this offset on."""
        if records and records[0].offset < from_offset:
            records = [r for r in records if r.offset >= from_offset]
        if not records:
            return
        if any(map(_HEADERS, records)):
            at = len(self.values)
            self._headers |= {at + i: tuple(r.headers) for i, r in enumerate(records) if r.headers}
        values, timestamps_ms = [r.value for r in records], [r.timestamp for r in records]
        self.values += values
        self._keys += [r.key for r in records]
        self._timestamps_ms += timestamps_ms
        self._bound(values, min(timestamps_ms))
        first, last = records[0].offset, records[-1].offset
        span = range(first, last + 1)
        self._spans.append(span if len(span) == len(records) else [r.offset for r in records])

    def _bound(self, values: list[bytes], least_ms: int) -> None:
        self._least_ms = least_ms if self._least_ms is None else min(self._least_ms, least_ms)
        try:
            if self._most_bytes is not None:
                largest = max(map(len, values))
                self._most_bytes = max(self._most_bytes, largest)
        except TypeError:  # one is missing
            self._most_bytes = None

    def run(self, tp: Partition) -> Run:
        """All of it."""
        return Run(
            topic=tp[0],
            partition=tp[1],
            offsets=_joined(self._spans),
            timestamps_ms=self._timestamps_ms,
            keys=self._keys,
            values=self.values,
            headers=self._headers,
            most_bytes=self._most_bytes,
            least_ms=self._least_ms,
        )


def _joined(spans: list[Sequence[int]]) -> Sequence[int]:
    """The offsets of several batches; a range where none is left out."""
    if not spans:
        return range(0)
    whole = range(spans[0][0], spans[-1][-1] + 1)
    return whole if len(whole) == sum(map(len, spans)) else [o for span in spans for o in span]
