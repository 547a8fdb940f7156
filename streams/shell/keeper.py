"""Keeps one stage of one partition: its position, what it has said, and its checkpoints."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from aiokafka.structs import RecordMetadata
from mode import get_logger
from msgspec.structs import replace

from streams.run import Run
from streams.shell import metrics
from streams.shell.already import Already
from streams.shell.checkpoints import Checkpoint, Outgoing, first_sequence, records_of
from streams.shell.lease import LeaseLostError
from streams.shell.stages import Snapshots

logger = get_logger(__name__)

SNAPSHOT_SHARE = 0.05
"""Of all time, at most, that a stage stands still for the sake of periodic checkpoints."""

MAX_UNDER_WAY = 2000
"""Records said and not yet acknowledged by the broker, before a stage waits for them."""

S = TypeVar("S", bound=Snapshots)
Commit = Callable[[Mapping[str, int]], Awaitable[bool]]
Send = Callable[[Outgoing], Awaitable[Awaitable[object]]]
Confirmed = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """For a stage that nobody else can have."""


class Table(Protocol):
    """Where checkpoints are written; returns once they are acknowledged."""

    def put(self, partition: int, records: Iterable[tuple[bytes, bytes]]) -> Awaitable[None]: ...


class Keeper(Generic[S]):
    """One stage and everything that makes it survive.

    Order is what recovery rests on: first everything that the stage has said is acknowledged,
    then the checkpoint, and only then is the input offset committed. A snapshot never falls between
    a change of state and what was said of it; where that was cut off, there is no further one.

    Parameters
    ----------
    name
        The stage's, for metrics.
    commit
        Commits next offsets by `topic/partition`; whether it did, as a group that rebalances
        commits nothing.
    confirmed
        Returns once the partition is surely still this worker's; nothing is written before.
    term
        The group's generation, which grows whenever the partition may have changed hands.
    clock
        Seconds that only go forward.
    """

    def __init__(
        self,
        name: str,
        partition: int,
        stage: S,
        *,
        table: Table,
        send: Send,
        commit: Commit,
        confirmed: Confirmed = at_once,
        term: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.partition = partition
        self.stage = stage
        self.next_offsets: dict[str, int] = {}
        self.timestamps_ms: dict[str, int] = {}
        self.said_to: dict[str, int] = {}
        self.committed: dict[str, int] = {}
        self.began: dict[str, int] = {}
        self._covered: dict[str, int] = {}
        self._table = table
        self._send = send
        self._commit = commit
        self._confirmed = confirmed
        self._term = term
        self._sequence = first_sequence(term)
        self._is_restored = False
        self._changed = False
        self._already = Already()
        self._to_say: tuple[Outgoing, ...] = ()
        self._under_way: list[Awaitable[object]] = []
        self._checkpointing = asyncio.Lock()
        self._lock = asyncio.Lock()
        self._cut_off = False
        self._closed = False
        self._clock = clock
        self._checkpointed_at = clock()
        self._snapshot_seconds = 0.0

    async def restore(self, checkpoint: Checkpoint) -> None:
        """Takes the state over; `go_on` must follow."""
        self.stage.restore(checkpoint.state)
        self.next_offsets = dict(checkpoint.next_offsets)
        self.began = dict(checkpoint.next_offsets)
        self.said_to = dict(checkpoint.said_to)
        self._covered = dict(checkpoint.next_offsets)
        self.begin_after(checkpoint)
        self._is_restored = True
        self._to_say = checkpoint.said

    def repeats(self, ends: Mapping[str, int]) -> bool:
        """Whether a restored stage may say again what it has said, given the ends of what it
        reads: records wait for it, or no replay would lead to what it said last."""
        behind = any(ends.get(s, 0) > offset for s, offset in self.next_offsets.items())
        return behind or not self.next_offsets or bool(self._to_say)

    async def go_on(self, already: Already, ends: Mapping[str, int]) -> None:
        """Says what no replay would say, but for what stands `already` on the topics.

        `ends` are where the topics that it writes end now. A stage that never had a checkpoint
        writes one, so that it is known from where on it speaks.
        """
        self._already = already
        if self._is_restored:
            self.said_to = {**ends, **self.said_to}
            to_say, self._to_say = self._to_say, ()
            await self.say(to_say)
        elif ends:
            self.said_to = dict(ends)
            await self._write(self._take())

    def begin_after(self, checkpoint: Checkpoint) -> None:
        """Leaves the state as it is, and lets the next checkpoint count as newer than this one."""
        self._sequence = first_sequence(self._term, checkpoint.sequence)

    def touch(self) -> None:
        """The state has changed without a record; what comes next rests on that."""
        self._changed = True

    async def take(self, run: Run, body: Callable[[Run], list[Outgoing]]) -> None:
        """Lets `body` take in what the state does not hold yet, and publishes what it says.

        Returns before the broker has acknowledged, unless much is under way. Takes nothing more
        once something was cut off, since the worker is then at its end.
        """
        async with self._lock:
            run = self._unread(run)
            if not run or self._cut_off or self._closed:
                return
            with self._whole():
                said = body(run)
                self._took(run)
                await self.say(said)

    async def take_exactly(self, run: Run, body: Callable[[Run], list[Outgoing]]) -> None:
        """As `take`, where a replay would not meet the run at the same place: what people ask."""

        def change() -> list[Outgoing]:
            unread = self._unread(run)
            if not unread:
                return []
            said = body(unread)
            self._took(unread)
            return said

        await self.change_exactly(change)

    def _unread(self, run: Run) -> Run:
        return run.after(self.next_offsets.get(run.source, 0) - 1)

    def _took(self, run: Run) -> None:
        self.next_offsets[run.source] = run.offsets[-1] + 1
        self.timestamps_ms[run.source] = run.timestamps_ms[-1]
        self._changed = True

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """A stage that is cut off in here may have changed without having spoken."""
        self._cut_off = True
        yield
        self._cut_off = False

    async def say(self, records: Iterable[Outgoing]) -> None:
        """Publishes; returns before the broker has acknowledged, unless much is under way."""
        for record in records:
            if self._already.take(record):
                continue
            await self._confirmed()
            self._under_way.append(await self._send(record))
            if len(self._under_way) >= MAX_UNDER_WAY:
                await self._settle()

    async def checkpoint_at_leisure(self) -> None:
        """A checkpoint unless the last one, of a large state, was dear and is not long ago."""
        if self.checkpoint_age_seconds() >= self.rest_seconds():
            await self.checkpoint()

    def rest_seconds(self) -> float:
        """How long a stage goes on between two checkpoints, as they are dear."""
        return self._snapshot_seconds / SNAPSHOT_SHARE

    async def checkpoint(self) -> None:
        """Writes a checkpoint and commits, if there is anything new. The stage may go on.

        Raises what the producer raises; the caller must then end the worker.
        """
        async with self._checkpointing:
            async with self._lock:
                if self._cut_off or self._closed:
                    return
                if not self._changed:
                    await self._commit_covered()
                    return
                checkpoint = self._take()
                under_way, self._under_way = self._under_way, []
            try:
                said_to = self._note(await asyncio.gather(*under_way), checkpoint.said_to)
                await self._write(replace(checkpoint, said_to=said_to))
            except BaseException:
                # What was not acknowledged is lost to any later checkpoint, which would cover it.
                self._cut_off = True
                raise

    async def change_exactly(self, change: Callable[[], list[Outgoing]]) -> None:
        """For what a replay would not repeat at the same place: clocks and people.

        What `change` says is written into a checkpoint before it is published, and published
        again after a restore, so that it is said exactly as it was said first.
        """
        async with self._checkpointing, self._lock:
            if self._cut_off or self._closed:
                return
            with self._whole():
                said = change()
                if said or self._changed:
                    await self._settle()
                    await self._write(self._take(tuple(said)))
                    await self.say(said)

    async def close(self) -> None:
        """A last checkpoint; from then on nothing is taken in, as another may keep the stage.

        Returns once the broker has answered all that was said, or the next keeper would not find
        it on the topics and say it again.
        """
        await self.checkpoint()
        async with self._checkpointing, self._lock:
            self._closed = True
            under_way, self._under_way = self._under_way, []
            # What failed is in the checkpoint, or behind it; the next keeper says it.
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _settle(self) -> None:
        under_way, self._under_way = self._under_way, []
        self._note(await asyncio.gather(*under_way), self.said_to)

    def _note(self, said: Iterable[object], before: Mapping[str, int]) -> dict[str, int]:
        """Where the broker has put what was said: notes it, and returns `before` moved by it."""
        moved = dict(before)
        for each in said:
            if isinstance(each, RecordMetadata):
                place, end = f"{each.topic}/{each.partition}", each.offset + 1
                moved[place] = max(end, moved.get(place, 0))
                self.said_to[place] = max(end, self.said_to.get(place, 0))
        return moved

    def _take(self, said: tuple[Outgoing, ...] = ()) -> Checkpoint:
        self._sequence += 1
        self._changed = False
        started = self._clock()
        state = self.stage.snapshot()
        self._snapshot_seconds = self._clock() - started
        offsets, said_to = dict(self.next_offsets), dict(self.said_to)
        return Checkpoint(self._sequence, state, offsets, said, said_to)

    async def _write(self, checkpoint: Checkpoint) -> None:
        await self._confirmed()
        started = self._clock()
        await self._table.put(self.partition, records_of(self.partition, checkpoint))
        self._covered = dict(checkpoint.next_offsets)
        await self._commit_covered()
        self._checkpointed_at = self._clock()
        metrics.CHECKPOINT_SECONDS.labels(self.name).observe(self._checkpointed_at - started)
        metrics.CHECKPOINT_BYTES.labels(self.name, self.partition).set(len(checkpoint.state))

    async def _commit_covered(self) -> None:
        """Commits what the last checkpoint covers, unless that is done. What a rebalance kept from
        being committed is so at the next turn, or other tools would see a lag that is none."""
        if self.committed != self._covered and await self._commit(self._covered):
            self.committed = dict(self._covered)

    def checkpoint_age_seconds(self) -> float:
        """Since the last checkpoint, or since the start."""
        return self._clock() - self._checkpointed_at


@contextmanager
def unless_lost(keeper: Keeper[Any]) -> Iterator[None]:
    """A stage that may be another worker's now is cut off in here, and let go by a rebalance."""
    try:
        yield
    except LeaseLostError:
        logger.warning("%s %s may be another worker's: nothing said", keeper.name, keeper.partition)
