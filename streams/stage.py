"""The contract that the pure stages keep, and that the shell relies on."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

In_contra = TypeVar("In_contra", contravariant=True)
Out = TypeVar("Out")


class Stage(Protocol[In_contra, Out]):
    """A pure, deterministic step: no clock, no randomness, no I/O, no asyncio.

    The same inputs in the same order, from the same state, give the same outputs. That is what
    recovery rests on: the shell restores the last snapshot, reads again what came after it, and
    the stage says again exactly what it said before, under the same ids.
    """

    def process(self, batch: Sequence[In_contra]) -> list[Out]:
        """Takes a batch in, changes the stage's own state, returns what follows from it."""

    def snapshot(self) -> bytes:
        """The whole state. `restore(snapshot())` changes nothing that can be seen from outside."""

    def restore(self, data: bytes) -> None:
        """Replaces the state by a snapshot. Raises `ValueError` if it is of an unknown version."""
