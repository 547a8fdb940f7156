"""What is missing between two runs of a partition is noticed."""

from faust.types import TP

from streams.run import Run
from streams.shell.chain import Chain

RAW = TP("raw", 0)


def run(from_offset: int, until_offset: int) -> Run:
    one = [until_offset - 1]
    return Run("raw", 0, one, one, [None], [None], {}, None, from_offset, until_offset)


def test_runs_that_follow_each_other_lack_nothing_whatever_offsets_they_hold() -> None:
    chain = Chain()
    chain.begin({RAW: 10})
    for each in (run(10, 20), run(20, 21), run(21, 500)):
        assert chain.missing_from(RAW, each) is None
        chain.take(RAW, each)


def test_what_was_dropped_between_two_runs_is_missing_until_it_is_read_again() -> None:
    chain = Chain()
    chain.begin({RAW: 10})
    chain.take(RAW, run(10, 20))
    assert chain.missing_from(RAW, run(30, 40)) == 20
    assert chain.missing_from(RAW, run(20, 40)) is None
    chain.take(RAW, run(20, 40))
    assert chain.missing_from(RAW, run(50, 60)) == 40


def test_what_kafka_has_deleted_is_asked_for_once() -> None:
    chain = Chain()
    chain.begin({RAW: 10})
    assert chain.missing_from(RAW, run(1000, 1010)) == 10
    assert chain.missing_from(RAW, run(1000, 1010)) is None


def test_what_is_read_twice_lacks_nothing() -> None:
    chain = Chain()
    chain.take(RAW, run(10, 20))
    chain.take(RAW, run(5, 15))
    assert chain.missing_from(RAW, run(15, 30)) is None
    assert chain.missing_from(RAW, run(21, 30)) == 20


def test_of_a_partition_that_was_given_away_nothing_is_known() -> None:
    chain = Chain()
    chain.take(RAW, run(10, 20))
    chain.forget([RAW])
    assert chain.missing_from(RAW, run(100, 110)) is None
