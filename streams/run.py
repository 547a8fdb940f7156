"""A run: the consecutive records that one fetch returned for one partition, as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one partition in offset order, as columns of equal length.

    `offsets` may have gaps (compaction, transactions). `headers` holds only the records that have
    any, by their index. No timestamp is below `least_ms`, and all that there is from `from_offset`
    up to `until_offset` was read, where these are set: who makes a run knows.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Mapping[int, Headers] = field(default_factory=dict)
    least_ms: int | None = None
    from_offset: int | None = None
    until_offset: int | None = None

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def source(self) -> str:
        """The name under which this partition reports progress."""
        return f"{self.topic}/{self.partition}"

    def after(self, offset: int) -> "Run":
        """The part of the run whose offsets are greater than `offset`."""
        if not self.offsets or self.offsets[0] > offset:
            return self
        start = next((i for i, o in enumerate(self.offsets) if o > offset), len(self.offsets))
        return replace(
            self,
            offsets=self.offsets[start:],
            timestamps_ms=self.timestamps_ms[start:],
            keys=self.keys[start:],
            values=self.values[start:],
            headers={i - start: h for i, h in self.headers.items() if i >= start},
        )
