"""Tells whether a worker still works: partition by partition, against what the broker has.

Faust's consumers are known to stop without a word: a partition that is not fetched after a
rebalance, an agent that waits for ever, a commit that no longer moves. Each shows in the same way:
the broker has more than the worker has done, and the worker does not move.
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

TURN_SECONDS: Final = 30.0
STALL_SECONDS: Final = 40.0
"""With the time between two questions for the broker's ends, a stall is told within a minute."""

ANSWER_SECONDS: Final = 120.0
"""How long the broker may leave questions for its ends unanswered: it may be away itself."""

WAIT_SECONDS: Final = 50.0
"""How long partitions and their state may be waited for, without any more coming."""

EXIT_SECONDS: Final = 15.0
"""How long a worker that is not live may take to end by itself."""


class Progress(NamedTuple):
    """One input partition: the next offset to do, the one that is committed, the broker's end, and
    how long it is between two commits at most."""

    position: int
    committed: int
    end: int
    commit_seconds: float = 0.0


@dataclass(slots=True)
class _Partition:
    progress: Progress
    position_since: float
    committed_since: float


class Watchdog:
    """Says what stalls. Times are in seconds of a monotonic clock that is passed in.

    Not live are: an event loop that stands still; a partition of which the broker has more than is
    done, and of which nothing more gets done, or more is done than gets committed; a broker that
    answers nothing for long; partitions and state that do not come.

    Parameters
    ----------
    stall_seconds
        How long a partition may stand still.
    wait_seconds
        How long partitions and their state may be waited for, without any more coming.
    """

    def __init__(
        self, stall_seconds: float = STALL_SECONDS, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._stall_seconds = stall_seconds
        self._wait_seconds = wait_seconds
        self._restored = 0
        self._turned_seconds: float | None = None
        self._waiting_seconds: float | None = None
        self._answered_seconds: float | None = None
        self._partitions: dict[str, _Partition] = {}

    def wait(self, now_seconds: float, restored: int = 0) -> None:
        """The loop has turned, and partitions or state are still waited for: so many stages have
        come until now."""
        self._turned_seconds = now_seconds
        self._answered_seconds = None
        self._partitions.clear()
        if self._waiting_seconds is None or restored > self._restored:
            self._waiting_seconds = now_seconds
        self._restored = restored

    def answered(self, now_seconds: float) -> None:
        """The broker has said where the partitions end."""
        self._answered_seconds = now_seconds

    def turn(self, now_seconds: float, partitions: Mapping[str, Progress]) -> None:
        """The loop has turned, and the partitions that this worker has are so far."""
        self._turned_seconds = now_seconds
        self._waiting_seconds = None
        if self._answered_seconds is None:
            self._answered_seconds = now_seconds
        before = self._partitions
        self._partitions = {
            source: _moved(before.get(source), progress, now_seconds)
            for source, progress in partitions.items()
        }

    def stalls(self, now_seconds: float) -> list[str]:
        """What stands still, in words; nothing if all is well."""
        if self._turned_seconds is None:
            return []
        still = now_seconds - self._turned_seconds
        if still >= TURN_SECONDS:
            return [f"the event loop has stood still for {still:.0f} s"]
        if self._waiting_seconds is not None:
            waiting = now_seconds - self._waiting_seconds
            return (
                [f"partitions and their state have not come for {waiting:.0f} s"]
                if waiting >= self._wait_seconds
                else []
            )
        said = [
            text
            for source, partition in sorted(self._partitions.items())
            for text in self._stalls_of(source, partition, now_seconds)
        ]
        silent = now_seconds - (self._answered_seconds or now_seconds)
        if silent >= ANSWER_SECONDS:
            said.append(f"the broker has not said for {silent:.0f} s where partitions end")
        return said

    def _stalls_of(self, source: str, partition: _Partition, now_seconds: float) -> list[str]:
        progress, said = partition.progress, []
        position_still = now_seconds - partition.position_since
        if progress.position < progress.end and position_still >= self._stall_seconds:
            where = f"{progress.position} of {progress.end}"
            said.append(f"{source} stands at {where} for {position_still:.0f} s")
        committed_still = now_seconds - partition.committed_since
        patience = self._stall_seconds + progress.commit_seconds
        if progress.committed < progress.position and committed_still >= patience:
            said.append(
                f"{source} is done to {progress.position} and committed to {progress.committed} "
                f"for {committed_still:.0f} s"
            )
        return said

    def live(self, now_seconds: float) -> bool:
        """Whether to let the process go on. True until it has turned for the first time."""
        return not self.stalls(now_seconds)


def _moved(before: _Partition | None, now: Progress, now_seconds: float) -> _Partition:
    """Since when a partition stands still, counted from when there was something to do."""
    if before is None:
        return _Partition(now, now_seconds, now_seconds)
    was = before.progress
    stands = now.position == was.position and was.position < was.end
    kept = now.committed == was.committed and was.committed < was.position
    return _Partition(
        now,
        before.position_since if stands else now_seconds,
        before.committed_since if kept else now_seconds,
    )


class Guard(threading.Thread):
    """Ends a process that cannot end itself: its loop stands still, or its end does not come.

    Parameters
    ----------
    stalls
        What stands still now.
    end
        Ends the process; by default with exit code 1, after every thread's stack was written.
    """

    def __init__(
        self,
        stalls: Callable[[], list[str]],
        *,
        end: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._stalls = stalls
        self._end = end or _end_process
        self._clock = clock
        self._since: float | None = None
        self._stopped = threading.Event()

    def run(self) -> None:
        """Looks every second, until `stop`."""
        while not self._stopped.wait(1):
            self.look()

    def look(self) -> None:
        """Ends the process if something has stood still for too long."""
        stalls, now = self._stalls(), self._clock()
        if not stalls:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= EXIT_SECONDS:
            self._end("; ".join(stalls))

    def stop(self) -> None:
        """The worker has ended by itself."""
        self._stopped.set()


def _end_process(reason: str) -> None:
    """Not by an exception or a signal: whatever would take them may be what stands still."""
    print(f"the worker does not end by itself, and is ended: {reason}", file=sys.stderr)
    faulthandler.dump_traceback()
    os._exit(1)
