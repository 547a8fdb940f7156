"""Takes fetched records out of aiokafka's fetcher as runs, without an object for each."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

import aiokafka.conn
import aiokafka.consumer.fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException

from streams.run import Run
from streams.shell.batches import Columns, Fetched, ends_aborted
from streams.shell.inlet import Connection

Partition = tuple[str, int]
Empty = dict[Partition, tuple[int, int]]
"""From where up to where partitions were read last, where no record came of it."""

aiokafka.consumer.fetcher.MemoryRecords = Fetched
"""It keeps the bytes, which aiokafka's own does not give away, and serves other consumers too."""

aiokafka.conn.AIOKafkaConnection = Connection
"""It reads without copies, and serves producers and all other clients too."""

MAX_RUN_RECORDS: Final = 20_000
MAX_RUN_BYTES: Final = 4 * 1024 * 1024
"""Of a run, decompressed. More would hold up the event loop for too long."""

_FETCHED_BYTES: Final = 32 * 1024 * 1024
_LEAST_FETCH_BYTES, _MOST_FETCH_BYTES = 1024 * 1024, MAX_RUN_BYTES


def fetch_bytes(partitions: int) -> int:
    """How much to fetch of each of so many partitions.

    The more a run holds, the less is what each run costs whatever it holds. Together they get no
    more than 32 MiB, unless they are so many that this were less than 1 MiB for each.
    """
    share = _FETCHED_BYTES // max(partitions, 1)
    return min(max(share, _LEAST_FETCH_BYTES), _MOST_FETCH_BYTES)


async def fetched_runs(
    fetcher: Any,
    partitions: Collection[Partition],
    timeout_seconds: float,
    max_records: int,
    empty: Empty,
) -> dict[Partition, Run]:
    """At most one run of each of `partitions`; waits up to `timeout_seconds` for the first.

    `empty` is kept from one call to the next.

    Does what `aiokafka.consumer.fetcher.Fetcher.fetched_records` does (0.14), but in columns.
    Raises what the broker said of a partition, `ConsumerStoppedError` once the fetcher is closed.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        if fetcher._closed:
            raise ConsumerStoppedError
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        runs = _take(fetcher, partitions, max_records, empty)
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
    fetcher: Any, partitions: Collection[Partition], max_records: int, empty: Empty
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
        run = _run_of(result, tp, max_records, empty)
        if not result.has_more():
            _drop(fetcher, tp)
        if run is not None:
            runs[tp] = run
    return runs


def _drop(fetcher: Any, tp: Partition) -> None:
    del fetcher._records[tp]
    fetcher._notify(fetcher._wait_consume_future)  # lets it fetch this partition again


def _run_of(result: Any, tp: Partition, max_records: int, empty: Empty) -> Run | None:
    if not result.check_assignment(tp) or not result.has_more():
        return None
    fetched = result._partition_records
    from_offset = fetched.next_fetch_offset
    run, exhausted = read_run(fetched, tp, max_records)
    until_offset = fetched.next_fetch_offset
    result._update_position()
    if exhausted:
        result._partition_records = None
        # It and its generator refer to each other: until a full collection, which the raised
        # thresholds make rare, they would keep the whole fetch in memory.
        fetched._records_iterator = None
    before = empty.pop(tp, None)
    if before is not None and before[1] == from_offset:
        from_offset = before[0]
    if not run:
        empty[tp] = from_offset, until_offset
        return None
    return replace(run, from_offset=from_offset, until_offset=until_offset)


def read_run(fetched: Any, tp: Partition, max_records: int) -> tuple[Run, bool]:
    """Whole batches of an aiokafka `PartitionRecords`, to about `max_records` or `MAX_RUN_BYTES`.

    Returns the run, which may be empty, and whether nothing is left. Transactions are honoured as
    aiokafka does; a batch is never split, so a run can be larger than the limits by one batch.
    """
    source, columns = fetched._records, Columns()
    from_offset = fetched.next_fetch_offset
    while columns.count < max_records and columns.size < MAX_RUN_BYTES and source.has_next():
        batch = source.take()
        if fetched._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {fetched._tp}")
        if not _aborted(fetched, batch) and not batch.is_control_batch:
            columns.add(batch)
        fetched.next_fetch_offset = batch.next_offset
    return columns.run(*tp, from_offset), not source.has_next()


def _aborted(fetched: Any, batch: Any) -> bool:
    """Whether a batch is of a transaction that was aborted; keeps account of those."""
    if fetched._isolation_level != READ_COMMITTED or batch.producer_id is None:
        return False
    fetched._consume_aborted_up_to(batch.base_offset)
    if batch.is_control_batch and ends_aborted(batch):
        fetched._aborted_producers.discard(batch.producer_id)
    return bool(batch.is_transactional and batch.producer_id in fetched._aborted_producers)
