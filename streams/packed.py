"""The values of many records in one buffer, as a fetch brings them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

PADDING = bytes(32)
"""After the last value: what reads 32 bytes at a time may look beyond its end."""

_MISSING = -1


class Packed(Sequence[bytes | None]):
    """Values that are cut out of their buffer when somebody asks for one.

    Parameters
    ----------
    buffer
        Bytes that end with `PADDING`.
    starts, ends
        Places in it, a value each; one that is missing ends before it starts.
    """

    __slots__ = ("buffer", "ends", "starts")

    def __init__(
        self,
        buffer: npt.NDArray[np.uint8],
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
    ) -> None:
        self.buffer, self.starts, self.ends = buffer, starts, ends

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> "Packed":
        """The same values; packs them if they are not."""
        if isinstance(values, Packed):
            return values
        buffer = np.frombuffer(b"".join([*_present(values), PADDING]), np.uint8)
        sizes = np.fromiter(map(_size, values), np.int64, len(values))
        ends = np.cumsum(np.maximum(sizes, 0))
        return cls(buffer, ends - np.maximum(sizes, 0), np.where(sizes < 0, _MISSING, ends))

    def __len__(self) -> int:
        return self.starts.size

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...
    @overload
    def __getitem__(self, index: slice) -> "Packed": ...
    def __getitem__(self, index: int | slice) -> "bytes | Packed | None":
        if isinstance(index, slice):
            return Packed(self.buffer, self.starts[index], self.ends[index])
        start, end = self.starts[index], self.ends[index]
        return self.buffer[start:end].tobytes() if end >= start else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[bytes | None]:
        whole = self.buffer.tobytes()
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            yield whole[start:end] if end >= start else None


def _present(values: Iterable[bytes | None]) -> Iterable[bytes]:
    return (value for value in values if value is not None)


def _size(value: bytes | None) -> int:
    return _MISSING if value is None else len(value)
