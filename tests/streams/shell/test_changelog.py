"""The last whole checkpoint is found from the end of its changelog, or in a copy on the disk."""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from faust.types import TP

from deploy.brokers.mock import MockBroker
from streams.shell.changelog import Changelogs, Restored
from streams.shell.checkpoints import (
    CHUNK_BYTES,
    SEQUENCES_A_TERM,
    SLOTS,
    BrokenCheckpointError,
    Checkpoint,
    Manifest,
    first_sequence,
    records_of,
)
from streams.shell.copies import Copies
from streams.versions import UnknownVersionError

TOPIC = "worker-detect-changelog"
Written = Sequence[tuple[bytes, bytes]]


def generation(sequence: int, chunks: int = 3) -> Checkpoint:
    state = bytes([sequence % 251]) * ((chunks - 1) * CHUNK_BYTES + 10)
    return Checkpoint(sequence, state, {"observations/0": sequence * 100})


def records(sequence: int, chunks: int = 3, partition: int = 0) -> Written:
    return records_of(partition, generation(sequence, chunks))


async def write(broker: MockBroker, *written: Written, partition: int = 0) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, max_request_size=2**24, linger_ms=5
    )
    await producer.start()
    try:
        for key, value in (pair for part in written for pair in part):
            await producer.send(TOPIC, value, key=key, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


async def read(broker: MockBroker, copies: Copies, partition: int = 0) -> Restored:
    client = {"bootstrap_servers": broker.bootstrap_servers}
    tp = TP(TOPIC, partition)
    return (await Changelogs(client, copies).latest([tp]))[tp]


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path / "checkpoints")


@pytest.fixture
def changelog(mock_broker: MockBroker) -> MockBroker:
    mock_broker.create_topic(TOPIC, 2)
    return mock_broker


async def keep(copies: Copies, written: Written) -> None:
    *chunks, manifest = (value for _, value in written)
    copies.keep(TP(TOPIC, 0), manifest, chunks)
    await copies.flush()


async def test_a_changelog_without_records_has_no_checkpoint(
    changelog: MockBroker, copies: Copies
) -> None:
    assert await read(changelog, copies) == Restored(None, 0)


async def test_of_many_generations_only_the_last_is_read(
    changelog: MockBroker, copies: Copies
) -> None:
    await write(changelog, *(records(sequence) for sequence in range(1, 6)))
    found = await read(changelog, copies)
    assert found.checkpoint == generation(5)
    assert found.fetched_bytes < 3 * CHUNK_BYTES


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
@pytest.mark.parametrize("before", [1, 2, 3])
async def test_a_checkpoint_that_a_crash_has_cut_off_is_passed_over(
    changelog: MockBroker, copies: Copies, cut: int, before: int
) -> None:
    done = [records(sequence) for sequence in range(1, before + 1)]
    await write(changelog, *done, records(before + 1, chunks=5)[:cut])
    assert (await read(changelog, copies)).checkpoint == generation(before)


async def test_the_first_checkpoint_ever_may_be_cut_off(
    changelog: MockBroker, copies: Copies
) -> None:
    await write(changelog, records(1)[:2])
    assert (await read(changelog, copies)).checkpoint is None


async def test_partitions_are_read_side_by_side(changelog: MockBroker, copies: Copies) -> None:
    await write(changelog, records(4, chunks=1))
    await write(changelog, records(8, chunks=4, partition=1), partition=1)
    changelogs = Changelogs({"bootstrap_servers": changelog.bootstrap_servers}, copies)
    found = await changelogs.latest([TP(TOPIC, 0), TP(TOPIC, 1)])
    assert {tp.partition: r.checkpoint for tp, r in found.items()} == {
        0: generation(4, chunks=1),
        1: generation(8, chunks=4),
    }


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize("written_since", [1, 2, 3])
@pytest.mark.parametrize("has_copy", [True, False])
async def test_what_a_replaced_worker_still_writes_counts_for_nothing(
    changelog: MockBroker, copies: Copies, chunks: int, written_since: int, has_copy: bool
) -> None:
    first = first_sequence(term=9, before=7)
    ours = [first + i for i in range(1, written_since + 1)]
    theirs = records(8, chunks)
    await write(changelog, records(6, chunks), records(7, chunks))
    await write(changelog, *(records(sequence, chunks) for sequence in ours), theirs)
    if has_copy:
        await keep(copies, records(ours[-1], chunks))
    assert (await read(changelog, copies)).checkpoint == generation(ours[-1], chunks)


async def test_a_stage_that_changes_hands_counts_on_in_the_slot_that_it_was_not_read_from() -> None:
    for before in (1, 2, 7, SEQUENCES_A_TERM + 5):
        first = first_sequence(1, before) + 1
        assert first > before + 1_000
        assert first % SLOTS != before % SLOTS
    assert first_sequence(9, before=7) < first_sequence(10, before=7)
    assert first_sequence(1, before=9 * SEQUENCES_A_TERM) > 9 * SEQUENCES_A_TERM + 1_000


async def test_a_copy_with_the_same_manifest_spares_the_reading(
    changelog: MockBroker, copies: Copies
) -> None:
    await write(changelog, records(1), records(2))
    await keep(copies, records(2))
    found = await read(changelog, copies)
    assert found.checkpoint == generation(2)
    assert found.fetched_bytes < 200


async def test_the_copy_of_the_checkpoint_before_one_that_was_cut_off_is_as_good(
    changelog: MockBroker, copies: Copies
) -> None:
    await write(changelog, records(1), records(2), records(3)[:1])
    await keep(copies, records(2))
    found = await read(changelog, copies)
    assert found.checkpoint == generation(2)
    assert found.fetched_bytes < 2 * CHUNK_BYTES


@pytest.mark.parametrize("other", [1, 3])
async def test_a_copy_of_another_checkpoint_is_worth_nothing(
    changelog: MockBroker, copies: Copies, other: int
) -> None:
    await write(changelog, records(1), records(2))
    await keep(copies, records(other))
    assert (await read(changelog, copies)).checkpoint == generation(2)


async def test_a_copy_of_another_cluster_is_worth_nothing(
    changelog: MockBroker, copies: Copies
) -> None:
    await write(changelog, records(2))
    await keep(copies, records_of(0, Checkpoint(2, b"theirs", {"observations/0": 9})))
    assert (await read(changelog, copies)).checkpoint == generation(2)


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty"])
async def test_a_damaged_copy_is_worth_nothing(
    changelog: MockBroker, copies: Copies, tmp_path: Path, damage: str
) -> None:
    await write(changelog, records(2))
    await keep(copies, records(2))
    (file,) = (tmp_path / "checkpoints").iterdir()
    good = file.read_bytes()
    bad = {"torn": good[:-1], "flipped": good[:-1] + b"\xff", "empty": b""}[damage]
    file.write_bytes(bad)
    assert (await read(changelog, copies)).checkpoint == generation(2)


async def test_checkpoints_that_lost_their_chunks_are_not_taken_for_none(
    changelog: MockBroker, copies: Copies
) -> None:
    await write(changelog, records(1)[-1:], records(2)[-1:])
    with pytest.raises(BrokenCheckpointError, match="partition 0 have lost records"):
        await read(changelog, copies)


async def test_a_checkpoint_of_a_newer_release_is_refused(
    changelog: MockBroker, copies: Copies
) -> None:
    newer = [(records(2)[-1][0], msgspec.msgpack.encode(Manifest(99, 2, 1, b"")))]
    await write(changelog, records(1), newer)
    with pytest.raises(UnknownVersionError, match="version 99"):
        await read(changelog, copies)


async def test_only_the_newest_of_what_waits_for_the_disk_is_written(
    copies: Copies, tmp_path: Path
) -> None:
    for sequence in (1, 2, 3):
        *chunks, manifest = (value for _, value in records(sequence))
        copies.keep(TP(TOPIC, 0), manifest, chunks)
    await copies.flush()
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == [f"{TOPIC}-0.checkpoint"]
    assert await copies.load(TP(TOPIC, 0), records(2)[-1][1]) is None
    assert await copies.load(TP(TOPIC, 0), records(3)[-1][1]) is not None


async def test_a_disk_that_takes_nothing_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    copies = Copies(tmp_path / "checkpoints")
    for sequence in (1, 2):
        await keep(copies, records(sequence))
    assert await copies.load(TP(TOPIC, 0), records(2)[-1][1]) is None
    said = [r.getMessage() for r in caplog.records if "no copy of a checkpoint" in r.getMessage()]
    assert len(said) == 1
