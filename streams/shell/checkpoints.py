"""What a checkpoint is made of: chunks and, written last, a manifest; two generations are kept.

A checkpoint is a stage's snapshot, the offsets that it covers, and what the stage said that no
replay would say again. In a changelog partition it takes the keys of one of two slots in turn:
`PARTITION/SLOT/NUMBER` for a chunk and `PARTITION/SLOT/manifest`. The manifest names the chunks'
number and the digest of the whole, so a checkpoint that was cut off is known, and the other slot
still holds the one before it.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from streams.versions import UnknownVersionError

SCHEMA_VERSION = 1
CHUNK_BYTES = 512 * 1024
"""Well below Kafka's default limit of a message, 1 MB."""

SLOTS = 2

SEQUENCES_A_TERM = 1 << 32
"""A stage that somebody has restored counts on from the next multiple of this: whatever its owner
before may still write, which did not know of its end, is older than what comes now."""

CHANGELOG_SETTINGS = {
    # A generation that has been replaced is of no use to anybody, and soon gone.
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "600000",
    "segment.ms": "600000",
    "segment.bytes": str(64 * 1024 * 1024),
}
"""Of every changelog, beside `cleanup.policy=compact`."""


class Outgoing(NamedTuple):
    """One record to be written; `partition` None leaves the choice to the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """A stage at one moment.

    `next_offsets` holds, by `topic/partition`, the next offset to read. `said` is what must be
    published again after a restore, because no record that would be read again leads to it.
    `said_to` holds, by `topic/partition`, where on the topics that the stage writes begins what it
    said after this checkpoint.
    """

    sequence: int
    state: bytes
    next_offsets: dict[str, int]
    said: tuple[Outgoing, ...] = ()
    said_to: dict[str, int] = msgspec.field(default_factory=dict)


def first_sequence(term: int, before: int = 0) -> int:
    """What a stage counts on from whose owner has a new term, the group's generation.

    `before` is the sequence of the checkpoint that it is restored from: terms only grow, also where
    a group begins to count anew, and its slot is the last that is written again.
    """
    if before:
        term = max(term, before // SEQUENCES_A_TERM + 1)
    return term * SEQUENCES_A_TERM + before % SLOTS


class Manifest(msgspec.Struct, frozen=True):
    """The last record of a checkpoint."""

    schema_version: int
    sequence: int
    chunks: int
    digest: bytes


class BrokenCheckpointError(ValueError):
    """A changelog holds checkpoints of a partition, and none of them is whole."""

    def __init__(self, partition: int) -> None:
        super().__init__(
            f"the checkpoints of partition {partition} have lost records of theirs: is the "
            "changelog topic compacted, and nothing else? Restore it, or delete the changelog "
            "topics and read the raw topics again"
        )


def records_of(partition: int, checkpoint: Checkpoint) -> list[tuple[bytes, bytes]]:
    """Key and value of each record of a checkpoint, the manifest last."""
    payload = msgspec.msgpack.encode(checkpoint)
    chunks = [payload[i : i + CHUNK_BYTES] for i in range(0, len(payload), CHUNK_BYTES)]
    slot = checkpoint.sequence % SLOTS
    manifest = Manifest(SCHEMA_VERSION, checkpoint.sequence, len(chunks), _digest(payload))
    return [
        *((chunk_key(partition, slot, i), chunk) for i, chunk in enumerate(chunks)),
        (manifest_key(partition, slot), msgspec.msgpack.encode(manifest)),
    ]


def latest(partition: int, records: Mapping[bytes, bytes]) -> Checkpoint | None:
    """The newest whole checkpoint of a partition; None if there was never one.

    Raises `UnknownVersionError` if any is of a newer version, and `BrokenCheckpointError` if
    there are some and none is whole, which no crash leaves behind.
    """
    found = manifests(partition, records)
    for manifest in found:
        checkpoint = assemble(partition, manifest, records)
        if checkpoint is not None:
            return checkpoint
    if found:
        raise BrokenCheckpointError(partition)
    return None


def manifests(partition: int, records: Mapping[bytes, bytes]) -> list[Manifest]:
    """Those among the records, the newest first. Raises `UnknownVersionError`."""
    keys = [manifest_key(partition, slot) for slot in range(SLOTS)]
    found = [read_manifest(records[key]) for key in keys if key in records]
    return sorted(found, key=lambda manifest: -manifest.sequence)


def read_manifest(data: bytes) -> Manifest:
    """A manifest of its bytes. Raises `UnknownVersionError`."""
    manifest = msgspec.msgpack.decode(data, type=Manifest)
    if manifest.schema_version != SCHEMA_VERSION:
        raise UnknownVersionError(
            f"the checkpoint is of version {manifest.schema_version} and this program knows only "
            f"{SCHEMA_VERSION}: run the version of tocsin that wrote it, or delete the changelog "
            "topics and read the raw topics again"
        )
    return manifest


def assemble(
    partition: int, manifest: Manifest, records: Mapping[bytes, bytes]
) -> Checkpoint | None:
    """The checkpoint of a manifest, if all its chunks are among the records."""
    return opened(manifest, b"".join(_chunks(partition, manifest, records)))


def is_manifest(key: bytes) -> bool:
    """Whether a record with this key ends a checkpoint."""
    return key.endswith(b"/manifest")


def chunks_of(
    partition: int, manifest: bytes, records: Mapping[bytes, bytes]
) -> list[bytes] | None:
    """The chunks that go with a manifest; None if some lack, or nobody here can read them."""
    try:
        known = read_manifest(manifest)
    except (msgspec.MsgspecError, UnknownVersionError):
        return None
    chunks = _chunks(partition, known, records)
    return chunks if _digest(b"".join(chunks)) == known.digest else None


def _chunks(partition: int, manifest: Manifest, records: Mapping[bytes, bytes]) -> list[bytes]:
    """The chunks of a manifest, empty where they are not among the records."""
    slot = manifest.sequence % SLOTS
    return [records.get(chunk_key(partition, slot, i), b"") for i in range(manifest.chunks)]


def opened(manifest: Manifest, payload: bytes) -> Checkpoint | None:
    """The checkpoint that these bytes are; None if they are not those of the manifest."""
    if _digest(payload) != manifest.digest:
        return None
    return msgspec.msgpack.decode(payload, type=Checkpoint)


def manifest_key(partition: int, slot: int) -> bytes:
    """The key under which a changelog has a slot's manifest."""
    return _key(partition, slot, "manifest")


def chunk_key(partition: int, slot: int, number: int) -> bytes:
    """The key under which a changelog has a chunk of a slot."""
    return _key(partition, slot, str(number))


def _key(partition: int, slot: int, part: str) -> bytes:
    return f"{partition}/{slot}/{part}".encode()


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=16).digest()
