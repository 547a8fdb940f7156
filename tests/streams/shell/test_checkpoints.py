"""Checkpoints as records: whole or not at all."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.shell.checkpoints import (
    CHUNK_BYTES,
    BrokenCheckpointError,
    Checkpoint,
    Manifest,
    Outgoing,
    latest,
    records_of,
)
from streams.versions import UnknownVersionError


def checkpoint(sequence: int, size: int = 10) -> Checkpoint:
    return Checkpoint(sequence, bytes([sequence]) * size, {"raw/0": sequence * 100})


def test_what_goes_in_comes_out() -> None:
    said = (Outgoing("topic", b"key", None, (("name", b"value"),), 3),)
    written = Checkpoint(7, b"state", {"raw/0": 5, "raw/1": 9}, said)
    assert latest(2, dict(records_of(2, written))) == written


def test_a_partition_without_records_has_no_checkpoint() -> None:
    assert latest(0, dict(records_of(1, checkpoint(1)))) is None


def test_no_record_is_longer_than_kafka_takes_by_default() -> None:
    records = records_of(0, checkpoint(1, 3 * CHUNK_BYTES + 1))
    assert len(records) == 5
    assert max(len(value) for _, value in records) <= CHUNK_BYTES
    assert records[-1][0].endswith(b"manifest")


@settings(deadline=None)  # megabytes are digested
@given(st.integers(0, 12), st.integers(1, 4), st.integers(0, 4))
def test_however_far_the_writing_came_the_last_whole_checkpoint_is_found(
    written: int, first_chunks: int, second_chunks: int
) -> None:
    """The third one takes the place of the first, which may have been longer or shorter."""
    store = dict(records_of(0, checkpoint(1, first_chunks * CHUNK_BYTES)))
    store |= records_of(0, checkpoint(2))
    third = records_of(0, checkpoint(3, second_chunks * CHUNK_BYTES))
    store |= third[:written]
    whole = written >= len(third)
    assert latest(0, store) == (
        checkpoint(3, second_chunks * CHUNK_BYTES) if whole else checkpoint(2)
    )


def test_chunks_of_two_writers_never_make_one_checkpoint() -> None:
    mine = records_of(0, checkpoint(3, 2 * CHUNK_BYTES))
    theirs = records_of(0, Checkpoint(3, b"z" * 2 * CHUNK_BYTES, {"raw/0": 1}))
    store = dict(records_of(0, checkpoint(2))) | dict(mine) | dict(theirs[:1])
    assert latest(0, store) == checkpoint(2)


def test_checkpoints_that_lost_records_are_not_taken_for_none() -> None:
    store = dict(records_of(0, checkpoint(1))) | dict(records_of(0, checkpoint(2)))
    for key in [key for key in store if not key.endswith(b"manifest")]:
        del store[key]
    with pytest.raises(BrokenCheckpointError, match="partition 0 have lost records"):
        latest(0, store)


def test_a_newer_version_is_refused_with_a_way_out() -> None:
    key = records_of(0, checkpoint(1))[-1][0]
    newer = msgspec.msgpack.encode(Manifest(99, 1, 1, b""))
    with pytest.raises(UnknownVersionError, match=r"version 99.*run the version of tocsin"):
        latest(0, {key: newer})
