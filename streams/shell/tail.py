"""What has been read of the end of one changelog partition, and what it says of checkpoints.

The log counts, not only the last record of each key: a worker that was thought dead, and wakes, may
still write the checkpoint that it had begun, over one of its successor's. That is then no longer
the last of its keys, and is still in the log until Kafka compacts it, long after its owner has
written the next.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from faust.types import TP

from streams.shell.checkpoints import (
    SLOTS,
    Checkpoint,
    Manifest,
    chunk_key,
    manifest_key,
    opened,
    read_manifest,
)


class Span(NamedTuple):
    """Offsets from `start` up to `stop`."""

    start: int
    stop: int


class Placed(NamedTuple):
    """A manifest, its bytes, and where it stands."""

    offset: int
    manifest: Manifest
    data: bytes

    @property
    def begin(self) -> int:
        """Where its first chunk stands, if nobody else has written in between."""
        return self.offset - self.manifest.chunks


class Tail:
    """The records read so far of a partition that holds those from `begin` to `end`."""

    def __init__(self, tp: TP, begin: int, end: int) -> None:
        self.tp = tp
        self.end = end
        self.fetched_bytes = 0
        self._begin = begin
        self._spans: list[Span] = []
        self._keys: dict[int, bytes] = {}
        self._values: dict[int, bytes] = {}
        self._broken: set[int] = set()
        self._manifest_keys = {manifest_key(tp.partition, slot) for slot in range(SLOTS)}

    def add(self, span: Span, records: Iterable[Any]) -> None:
        """Takes in what was read of a span; there may be nothing at some of its offsets."""
        self._spans.append(span)
        for record in records:
            if span.start <= record.offset < span.stop and record.offset not in self._keys:
                self._keys[record.offset] = record.key
                self._values[record.offset] = record.value or b""
                self.fetched_bytes += len(record.value or b"")

    def newest(self) -> Placed | None:
        """The manifest of the highest sequence that was read and is not known to be broken.

        Raises `UnknownVersionError` if any is of a newer version.
        """
        placed = [
            Placed(offset, read_manifest(self._values[offset]), self._values[offset])
            for offset, key in self._keys.items()
            if key in self._manifest_keys and offset not in self._broken
        ]
        return max(placed, key=lambda p: (p.manifest.sequence, p.offset), default=None)

    def set_aside(self, placed: Placed) -> None:
        """Not all of it is there."""
        self._broken.add(placed.offset)

    def has_broken(self) -> bool:
        """Whether any was set aside."""
        return bool(self._broken)

    def before(self, placed: Placed) -> Span | None:
        """What must be read to know that no newer one stands before this; None if it is known.

        As a rule, the manifest of the checkpoint before stands before its first chunk. If something
        else does, what was written at the same time is looked through.
        """
        if any(key in self._manifest_keys and o < placed.offset for o, key in self._keys.items()):
            return None
        before = Span(placed.begin - 1, placed.begin)
        wide = Span(placed.begin - 2 * (placed.manifest.chunks + 1) - 1, placed.begin)
        return self._unread(before) or self._unread(wide)

    def whole(self, placed: Placed) -> Span | None:
        """What must be read to have its chunks; None if all is read."""
        return self._unread(Span(placed.begin, placed.offset))

    def further(self) -> Span | None:
        """What to read next if nothing is found yet: as much again as is read, and twice that."""
        low = min((span.start for span in self._spans), default=self.end)
        gap = next((g for s in self._spans if (g := self._unread(Span(s.stop, self.end)))), None)
        return gap or self._unread(Span(low - max(1, 2 * (self.end - low)), low))

    def checkpoint(self, placed: Placed) -> Checkpoint | None:
        """The checkpoint of a manifest, of the last chunks before it; None if they are not its."""
        slot = placed.manifest.sequence % SLOTS
        wanted = {chunk_key(self.tp.partition, slot, i): i for i in range(placed.manifest.chunks)}
        chunks: dict[int, bytes] = {}
        for offset in sorted(self._keys, reverse=True):
            number = wanted.get(self._keys[offset])
            if offset < placed.offset and number is not None and number not in chunks:
                chunks[number] = self._values[offset]
        payload = b"".join(chunks[i] for i in sorted(chunks))
        return opened(placed.manifest, payload)

    def _unread(self, span: Span) -> Span | None:
        """The first part of a span that is in the log and was not read."""
        start, stop = max(span.start, self._begin), min(span.stop, self.end)
        for read in sorted(self._spans):
            if read.start <= start < read.stop:
                start = read.stop
            elif start < read.start < stop:
                stop = read.start
                break
        return Span(start, stop) if start < stop else None
