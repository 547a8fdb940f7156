"""Takes fetched records out of aiokafka's fetcher as runs, without a ConsumerRecord for each."""

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, overload

from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException

from streams.run import Run

Partition = tuple[str, int]


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
    records, exhausted = read_records(fetched, max_records)
    result._update_position()
    if exhausted:
        result._partition_records = None
        # It and its generator refer to each other: until a full collection, which the raised
        # thresholds make rare, they would keep the whole fetch in memory.
        fetched._records_iterator = None
    return run_of(tp, records) if records else None


def read_records(fetched: Any, max_records: int) -> tuple[list[Any], bool]:
    """Whole batches of an aiokafka `PartitionRecords`, up to about `max_records`.

    Returns the records and whether nothing is left. Transactions are honoured as aiokafka does;
    a batch is never split, so a run can be larger than `max_records` by one batch.
    """
    records: list[Any] = []
    source = fetched._records
    while len(records) < max_records and source.has_next():
        batch = source.next_batch()
        if fetched._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {fetched._tp}")
        if not batch.is_control_batch and not _aborted(fetched, batch):
            taken = list(batch)
            if taken and taken[0].offset < fetched.next_fetch_offset:
                taken = [r for r in taken if r.offset >= fetched.next_fetch_offset]
            records += taken
        fetched.next_fetch_offset = batch.next_offset
    return records, not source.has_next()


def _aborted(fetched: Any, batch: Any) -> bool:
    if fetched._isolation_level != READ_COMMITTED or batch.producer_id is None:
        return False
    fetched._consume_aborted_up_to(batch.base_offset)
    return bool(batch.is_transactional and batch.producer_id in fetched._aborted_producers)


def run_of(tp: Partition, records: list[Any]) -> Run:
    """Columns of aiokafka's record objects; keys and headers are read when somebody asks."""
    offsets: Sequence[int] = range(records[0].offset, records[0].offset + len(records))
    if records[-1].offset != offsets[-1]:
        offsets = [r.offset for r in records]
    return Run(
        topic=tp[0],
        partition=tp[1],
        offsets=offsets,
        timestamps_ms=[r.timestamp for r in records],
        keys=_Keys(records),
        values=[r.value for r in records],
        headers=_Headers(records),
    )


class _Keys(Sequence[bytes | None]):
    """The keys of records, which only a record that cannot be used is asked for."""

    __slots__ = ("_records",)

    def __init__(self, records: Sequence[Any]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...
    @overload
    def __getitem__(self, index: slice) -> "_Keys": ...
    def __getitem__(self, index: int | slice) -> "bytes | _Keys | None":
        if isinstance(index, slice):
            return _Keys(self._records[index])
        key: bytes | None = self._records[index].key
        return key


class _Headers(Mapping[int, tuple[tuple[str, bytes], ...]]):
    """The headers of the records that have any, by index."""

    __slots__ = ("_records",)

    def __init__(self, records: Sequence[Any]) -> None:
        self._records = records

    def __getitem__(self, index: int) -> tuple[tuple[str, bytes], ...]:
        if 0 <= index < len(self._records) and self._records[index].headers:
            return tuple(self._records[index].headers)
        raise KeyError(index)

    def __iter__(self) -> Iterator[int]:
        return (index for index, record in enumerate(self._records) if record.headers)

    def __len__(self) -> int:
        return sum(1 for _ in self)
