"""Puts batches of several sources back into one order by window, whatever order they arrive in."""

from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec


class Progress(Protocol):
    """A batch that speaks for a source up to and including `window_end_ms`."""

    @property
    def source(self) -> str: ...
    @property
    def window_end_ms(self) -> int: ...


B = TypeVar("B", bound=Progress)


class Aligner(Generic[B]):
    """Holds batches back until every expected source has passed their window.

    A window is released once all sources that are not idle have reached it; within a window the
    batches are ordered by source, so what follows does not depend on the order of arrival. A
    source's batch at or below what that source has said before is a repeat and is dropped. A batch
    at or below the released watermark comes too late (its source was idle) and is dropped, and
    counted in `late` if it held observations.

    Parameters
    ----------
    expected
        Names of the sources that must be heard before anything is released.
    """

    def __init__(self, expected: Iterable[str]) -> None:
        self.expected = frozenset(expected)
        self.watermark_ms: int | None = None
        self.late = 0
        self._reached: dict[str, int] = {}
        self._idle: set[str] = set()
        self._held: dict[int, dict[str, B]] = {}

    def add(self, batches: Sequence[B]) -> list[tuple[int, list[B]]]:
        """Takes batches in; returns the released windows as (window_end_ms, batches), ascending.

        The last released entry is always the new watermark, with an empty list if no batch of that
        window held anything; windows in between without batches are left out.
        """
        for batch in batches:
            self._hold(batch)
        return self._release()

    def _hold(self, batch: B) -> None:
        source = batch.source
        if getattr(batch, "idle", False):
            self._idle.add(source)
        else:
            self._idle.discard(source)
        if batch.window_end_ms <= self._reached.get(source, -1):
            return
        self._reached[source] = batch.window_end_ms
        if self.watermark_ms is not None and batch.window_end_ms <= self.watermark_ms:
            self.late += bool(getattr(batch, "observations", True))
            return
        self._held.setdefault(batch.window_end_ms, {})[source] = batch

    def _release(self) -> list[tuple[int, list[B]]]:
        reached = self._combined()
        if reached is None or (self.watermark_ms is not None and reached <= self.watermark_ms):
            return []
        self.watermark_ms = reached
        due = sorted(end for end in self._held if end <= reached)
        released = [
            (end, [batch for _, batch in sorted(self._held.pop(end).items())]) for end in due
        ]
        if not released or released[-1][0] < reached:
            released.append((reached, []))
        return released

    def _combined(self) -> int | None:
        """The least that any awaited source has reached; None while one was never heard."""
        awaited = self.expected - self._idle
        if not awaited:
            return max(self._reached.values(), default=None)
        if any(source not in self._reached for source in awaited):
            return None
        return min(self._reached[source] for source in awaited)

    def snapshot(self) -> bytes:
        """The state as bytes."""
        return msgspec.msgpack.encode(
            (self.watermark_ms, self.late, self._reached, sorted(self._idle), self._held)
        )

    def restore(self, data: bytes, batch_type: type[B]) -> None:
        """Takes the state from `snapshot`; `batch_type` is the struct that was held."""
        shape = tuple[int | None, int, dict[str, int], list[str], dict[int, dict[str, batch_type]]]  # type: ignore[valid-type]
        self.watermark_ms, self.late, self._reached, idle, self._held = msgspec.msgpack.decode(
            data, type=shape
        )
        self._idle = set(idle)
