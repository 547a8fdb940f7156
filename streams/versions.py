"""How a release reads the state that an earlier one has saved: step by step, a version a step."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

Step = Callable[[list[Any]], list[Any]]
"""Takes the parts of a snapshot, without its version, to those of the next version. Pure."""


class UnknownVersionError(ValueError):
    """State was saved by a version that this release cannot read. It is left as it is."""


class Ladder:
    """The versions of one kind of snapshot, and the steps that lead from each to the next.

    A snapshot is a msgpack array whose first element is its version. Whoever changes what a
    snapshot holds adds one step, and the version follows from that; steps that are there stay as
    they are. A step is given what msgpack holds (lists, dicts, numbers, strings, bytes), so it
    needs no struct or class of the earlier release.

    Parameters
    ----------
    what
        Whose snapshot it is, for messages: `the detect stage`.
    oldest
        The first version that can still be read.
    steps
        The first leads from `oldest` to the version after it, and so on.
    """

    def __init__(self, what: str, *, oldest: int, steps: Sequence[Step] = ()) -> None:
        self.what = what
        self.oldest = oldest
        self._steps = tuple(steps)

    @property
    def version(self) -> int:
        """What this release writes."""
        return self.oldest + len(self._steps)

    def lift(self, data: bytes) -> bytes:
        """The same state as a snapshot of this release's version.

        Raises `UnknownVersionError` if there are no steps from its version, and `ValueError` if it
        is no snapshot at all.
        """
        version = self._version_of(data)
        if version == self.version:
            return data
        self._check(version)
        _, *parts = msgspec.msgpack.decode(data)
        for step in self._steps[version - self.oldest :]:
            parts = step(parts)
        return msgspec.msgpack.encode([self.version, *parts])

    def _version_of(self, data: bytes) -> int:
        try:
            head, *_ = msgspec.msgpack.decode(data, type=list[msgspec.Raw])
            return msgspec.msgpack.decode(head, type=int)
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError(f"not a snapshot of {self.what}: {error}") from error

    def _check(self, version: int) -> None:
        if version > self.version:
            raise UnknownVersionError(
                f"the snapshot of {self.what} is of version {version}, written by a newer release; "
                f"this one reads versions {self.oldest} to {self.version}. Nothing was changed: "
                "run the release that wrote it"
            )
        if version < self.oldest:
            raise UnknownVersionError(
                f"the snapshot of {self.what} is of version {version}, and this release reads "
                f"versions {self.oldest} to {self.version}. Nothing was changed: run a release "
                "between the two once, or read the topics anew under another worker.consumer_group"
            )
