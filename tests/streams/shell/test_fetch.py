"""Reading aiokafka's fetched batches as runs."""

from collections.abc import Sequence
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from streams.shell.fetch import read_run

TP = TopicPartition("raw", 1)


def batch(base: int, values: Sequence[bytes | None], headers: Any = (), codec: int = 0) -> bytes:
    """A batch as a broker stores it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1_000_000,
    )
    for index, value in enumerate(values):
        builder.append(index, 1000 + index, b"key", value, list(headers))
    data = builder.build()
    # The base offset is the broker's to set, and is outside the checksum.
    return base.to_bytes(8, "big") + bytes(data[8:])


def fetched(data: bytes, offset: int, isolation: int = READ_UNCOMMITTED) -> PartitionRecords:
    return PartitionRecords(TP, MemoryRecords(data), [], offset, None, None, True, isolation)


def test_batches_become_columns_in_offset_order() -> None:
    source = fetched(batch(10, [b"a", None]) + batch(20, [b"c"], [("h", b"1")]), 10)
    run, exhausted = read_run(source, TP, 1000)
    assert exhausted
    assert (run.topic, run.partition) == ("raw", 1)
    assert list(run.offsets) == [10, 11, 20]
    assert run.timestamps_ms == [1000, 1001, 1000]
    assert run.values == [b"a", None, b"c"]
    assert list(run.keys) == [b"key"] * 3
    assert dict(run.headers) == {2: (("h", b"1"),)}
    assert source.next_fetch_offset == 21


def test_records_before_the_position_in_a_batch_are_left_out() -> None:
    run, _ = read_run(fetched(batch(10, [b"a", b"b", b"c"]), 12), TP, 1000)
    assert list(run.offsets) == [12]
    assert run.values == [b"c"]


def test_a_run_ends_after_the_batch_in_which_it_is_long_enough() -> None:
    source = fetched(batch(0, [b"x"] * 3) + batch(3, [b"x"] * 3) + batch(6, [b"x"]), 0)
    first, exhausted = read_run(source, TP, 4)
    assert [len(first), exhausted] == [6, False]
    second, exhausted = read_run(source, TP, 4)
    assert [len(second), exhausted] == [1, True]


def test_compressed_batches_are_read() -> None:
    lz4 = 3
    run, _ = read_run(fetched(batch(5, [b"a" * 1000] * 50, codec=lz4), 5), TP, 1000)
    assert run.values == [b"a" * 1000] * 50


def test_it_reads_what_aiokafka_reads() -> None:
    data = b"".join(batch(i * 10, [b"%d" % j for j in range(7)]) for i in range(20))
    for isolation in (READ_UNCOMMITTED, READ_COMMITTED):
        run, _ = read_run(fetched(data, 33, isolation), TP, 10_000)
        theirs = list(fetched(data, 33, isolation))
        assert list(run.offsets) == [record.offset for record in theirs]
        assert run.values == [record.value for record in theirs]
        assert list(run.keys) == [record.key for record in theirs]
        assert run.timestamps_ms == [record.timestamp for record in theirs]


def test_the_rest_of_a_run_has_its_own_keys_and_headers() -> None:
    source = fetched(batch(10, [b"a"]) + batch(20, [b"b"], [("h", b"1")]), 10)
    run, _ = read_run(source, TP, 1000)
    rest = run.after(10)
    assert list(rest.offsets) == [20]
    assert list(rest.keys) == [b"key"]
    assert dict(rest.headers) == {0: (("h", b"1"),)}


def test_a_run_knows_its_largest_value_and_least_timestamp_unless_a_value_is_missing() -> None:
    run, _ = read_run(fetched(batch(0, [b"abc", b"a"]) + batch(2, [b"ab"]), 0), TP, 10)
    assert (run.most_bytes, run.least_ms) == (3, 1000)
    assert (run.after(0).most_bytes, run.after(0).least_ms) == (3, 1000)
    missing, _ = read_run(fetched(batch(0, [b"abc", None]) + batch(2, [b"ab"]), 0), TP, 10)
    assert (missing.most_bytes, missing.least_ms) == (None, 1000)
