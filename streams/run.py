"""A run: the consecutive records that one fetch returned for one partition, as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one partition in offset order, as columns of equal length.

    `offsets` may have gaps (compaction, transactions). `headers` holds only the records that have
    any, by their index. `most_bytes` and `least_ms`, if set, bound the values' sizes, none of which
    is missing, and the timestamps: who makes a run has them in the processor's cache.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Mapping[int, tuple[tuple[str, bytes], ...]] = field(default_factory=dict)
    most_bytes: int | None = None
    least_ms: int | None = None

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
        return Run(
            self.topic,
            self.partition,
            self.offsets[start:],
            self.timestamps_ms[start:],
            self.keys[start:],
            self.values[start:],
            {i - start: h for i, h in self.headers.items() if i >= start},
            self.most_bytes,
            self.least_ms,
        )
