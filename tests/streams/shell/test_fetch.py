"""Reading aiokafka's fetched batches as runs."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from streams.shell.batches import Fetched
from streams.shell.fetch import MAX_RUN_BYTES, fetch_bytes, read_run

TP = TopicPartition("raw", 1)


ABORT, COMMIT = b"\0\0\0\0", b"\0\0\0\1"


def batch(
    base: int,
    values: Sequence[bytes | None],
    headers: Any = (),
    codec: int = 0,
    producer: int = -1,
    end: bytes | None = None,
    attributes: int = 0,
) -> bytes:
    """A batch as a broker stores it; `producer` makes it one of a transaction, or its `end`."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=producer >= 0,
        producer_id=producer,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1_000_000,
    )
    for index, value in enumerate(values):
        builder.append(index, 1000 + index, end or b"key", value, list(headers))
    data = bytearray(builder.build())
    data[22] |= attributes | (0x20 if end else 0)
    # The base offset is the broker's to set, and is outside the checksum.
    return sealed(base.to_bytes(8, "big") + bytes(data[8:]))


def sealed(data: bytes) -> bytes:
    """A batch with the checksum of what it holds."""
    checksum: int = calc_crc32c(data[21:])
    return data[:17] + checksum.to_bytes(4, "big") + data[21:]


def fetched(
    data: bytes,
    offset: int,
    isolation: int = READ_UNCOMMITTED,
    aborted: Sequence[tuple[int, int]] = (),
) -> PartitionRecords:
    return PartitionRecords(TP, Fetched(data), aborted, offset, None, None, True, isolation)


def test_batches_become_columns_in_offset_order() -> None:
    source = fetched(batch(10, [b"a", None]) + batch(20, [b"c"], [("h", b"1")]), 10)
    run, exhausted = read_run(source, TP, 1000)
    assert exhausted
    assert (run.topic, run.partition) == ("raw", 1)
    assert list(run.offsets) == [10, 11, 20]
    assert list(run.timestamps_ms) == [1000, 1001, 1000]
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


@pytest.mark.parametrize("codec", [0, 4])
def test_a_run_ends_after_the_batch_in_which_it_is_large_enough_decompressed(codec: int) -> None:
    half = b"a" * (MAX_RUN_BYTES // 2)
    source = fetched(b"".join(batch(i, [half], codec=codec) for i in range(5)), 0)
    runs = [read_run(source, TP, 1000)[0] for _ in range(3)]
    assert [list(run.offsets) for run in runs] == [[0, 1], [2, 3], [4]]


def test_many_partitions_get_less_each_and_no_more_together() -> None:
    sizes = [fetch_bytes(count) for count in range(33)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] == MAX_RUN_BYTES
    assert max(count * size for count, size in enumerate(sizes)) == 32 * sizes[32]
    assert fetch_bytes(1000) == sizes[32] == 1024 * 1024


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_compressed_batches_are_read(codec: int) -> None:
    data = batch(5, [b"a" * 1000] * 50, codec=codec) + batch(55, [b"plain"])
    run, _ = read_run(fetched(data, 5), TP, 1000)
    assert run.values == [*[b"a" * 1000] * 50, b"plain"]


@pytest.mark.parametrize("isolation", [READ_UNCOMMITTED, READ_COMMITTED])
def test_it_reads_what_aiokafka_reads(isolation: int) -> None:
    chance = random.Random(isolation)
    values = [None, b"", b"x", b"y" * 63, b"z" * 64, b"w" * 9_000]
    headers = [("trace", b"1"), ("none", None), ("é", b"\xff")]
    batches = [
        batch(i * 10, chance.choices(values, k=7), headers[: i % 4], codec=i % 5)
        for i in range(3, 40)
    ]
    run, _ = read_run(fetched(b"".join(batches), 33, isolation), TP, 10_000)
    theirs = list(fetched(b"".join(batches), 33, isolation))
    assert list(run.offsets) == [record.offset for record in theirs]
    assert run.values == [record.value for record in theirs]
    assert list(run.keys) == [record.key for record in theirs]
    assert list(run.timestamps_ms) == [record.timestamp for record in theirs]
    assert dict(run.headers) == {i: r.headers for i, r in enumerate(theirs) if r.headers}


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", [0, 1])
def test_batches_of_older_formats_are_read(magic: int, codec: int) -> None:
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=codec, batch_size=10_000)
    for index in range(3):
        builder.append(index, 1000 + index, b"key", b"value %d" % index)
    data = bytes(builder.build()) + batch(3, [b"new"])
    run, exhausted = read_run(fetched(data, 0), TP, 1000)
    assert exhausted
    assert list(run.offsets) == [0, 1, 2, 3]
    assert run.values == [b"value 0", b"value 1", b"value 2", b"new"]
    assert list(run.timestamps_ms) == [*([1000, 1001, 1002] if magic else [-1] * 3), 1000]


def test_what_a_transaction_aborted_is_left_out_and_what_its_producer_says_later_is_not() -> None:
    data = (
        batch(0, [b"aborted"], producer=7)
        + batch(1, [b"of another"])
        + batch(2, [b""], producer=7, end=ABORT)
        + batch(3, [b"committed"], producer=7)
        + batch(4, [b""], producer=7, end=COMMIT)
        + batch(5, [b"after"])
    )
    source = fetched(data, 0, READ_COMMITTED, aborted=[(7, 0)])
    run, _ = read_run(source, TP, 1000)
    assert run.values == [b"of another", b"committed", b"after"]
    assert source.next_fetch_offset == 6
    everything, _ = read_run(fetched(data, 0, READ_UNCOMMITTED), TP, 1000)
    assert len(everything) == 4


def test_a_batch_that_the_broker_stamped_has_its_time() -> None:
    data = batch(0, [b"a", b"b"], attributes=0x08)
    assert list(read_run(fetched(data, 0), TP, 10)[0].timestamps_ms) == [1001, 1001]


def test_a_batch_that_was_damaged_is_refused() -> None:
    data = bytearray(batch(0, [b"abcdef"]))
    data[-3] ^= 1
    with pytest.raises(CorruptRecordException, match="CRC"):
        read_run(fetched(bytes(data), 0), TP, 10)


def test_a_batch_that_holds_less_than_it_says_is_refused() -> None:
    data = bytearray(batch(0, [b"abcdef"]))
    data[57:61] = (2).to_bytes(4, "big")
    with pytest.raises(CorruptRecordException, match="does not hold the 2 records"):
        read_run(fetched(sealed(bytes(data)), 0), TP, 10)


def test_a_batch_that_was_cut_off_at_the_end_of_a_fetch_is_left_for_the_next() -> None:
    data = batch(0, [b"a"]) + batch(1, [b"b"])
    for cut in range(1, len(batch(1, [b"b"]))):
        source = fetched(data[:-cut], 0)
        run, exhausted = read_run(source, TP, 10)
        assert (run.values, exhausted, source.next_fetch_offset) == ([b"a"], True, 1)


def test_the_rest_of_a_run_has_its_own_keys_and_headers() -> None:
    source = fetched(batch(10, [b"a"]) + batch(20, [b"b"], [("h", b"1")]), 10)
    run, _ = read_run(source, TP, 1000)
    rest = run.after(10)
    assert list(rest.offsets) == [20]
    assert list(rest.keys) == [b"key"]
    assert dict(rest.headers) == {0: (("h", b"1"),)}


def test_a_run_knows_its_least_timestamp() -> None:
    run, _ = read_run(fetched(batch(0, [b"abc", b"a"]) + batch(2, [b"ab"]), 0), TP, 10)
    assert (run.least_ms, run.after(0).least_ms) == (1000, 1000)
