"""Fires the store's timers when their time has come, also what a crash or a stop left behind."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from sinks.database import Database
from sinks.notifier import metrics, timers
from sinks.notifier.timers import Timer

BATCH = 50
LONGEST_WAIT_SECONDS = 1.0
"""The wall clock is looked at so often; timers fire at most so late, and as late as the store."""
SETTLE_SECONDS = 2.0
LONGEST_SETTLE_SECONDS = 30.0
PROGRESS_MS = 1_000
"""Events that are closer to the present by this are catching up."""
PUT_OFF_MS = 60_000
BEHIND_MS = 10_000
"""Events older than this are of the past that is being caught up with."""

log = structlog.get_logger("tocsin.notifier")

Fire = Callable[[AsyncConnection, Timer], Awaitable[None]]


class _Behind(NamedTuple):
    """How far behind events are at least, and since when they have come no closer."""

    since: float
    least_ms: int


class Clockwork:
    """One loop for all timers.

    Each timer fires in one transaction with what it leads to, so that after a crash it has either
    fired or not; those that are due together share one, since hundreds can be. Right after a
    start, and while old events are being caught up with, it waits a moment, so that no step fires
    whose acknowledgement is among them.

    Parameters
    ----------
    fire
        What to do by kind of timer; must move or drop the timer.
    now_ms
        The wall clock.
    on_fired
        Called after something has fired: there may be something to send.
    settle_seconds
        How long nothing fires after the start, or after old events.
    longest_settle_seconds
        How long old events can put it off that come no closer to the present: a storm that is too
        much, or a clock that is behind, must not keep escalations from ever coming.
    """

    def __init__(
        self,
        database: Database,
        fire: Mapping[str, Fire],
        *,
        now_ms: Callable[[], int],
        on_fired: Callable[[], None],
        settle_seconds: float = SETTLE_SECONDS,
        longest_settle_seconds: float = LONGEST_SETTLE_SECONDS,
    ) -> None:
        self._database = database
        self._fire = fire
        self._now_ms = now_ms
        self._on_fired = on_fired
        self._settle_seconds = settle_seconds
        self._longest_settle_seconds = longest_settle_seconds
        self._settled_at = 0.0
        self._behind: _Behind | None = None
        self._wake = asyncio.Event()
        self._is_stopping = False

    def wake(self) -> None:
        """Says that timers have changed, or that time has passed."""
        self._wake.set()

    def stop(self) -> None:
        """Asks `run` to end."""
        self._is_stopping = True
        self.wake()

    def heard(self, recorded_ms: int) -> None:
        """Events have come, the newest of them recorded then, Unix ms."""
        behind_ms = self._now_ms() - recorded_ms
        if behind_ms <= BEHIND_MS:
            self._behind = None
        else:
            now = _now()
            if self._behind is None or behind_ms < self._behind.least_ms - PROGRESS_MS:
                self._behind = _Behind(now, behind_ms)
            until = self._behind.since + self._longest_settle_seconds
            self._settled_at = max(self._settled_at, min(now + self._settle_seconds, until))
        self.wake()

    async def run(self) -> None:
        """Works until `stop` is called. Not to be cancelled: it may be in a transaction."""
        self._settled_at = _now() + self._settle_seconds
        while not self._is_stopping:
            self._wake.clear()
            wait_seconds = self._settled_at - _now()
            if wait_seconds <= 0:
                try:
                    wait_seconds = await self._turn()
                except (SQLAlchemyError, OSError):
                    log.exception("the store does not answer; timers wait")
                    wait_seconds = LONGEST_WAIT_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(LONGEST_WAIT_SECONDS, wait_seconds))):
                    await self._wake.wait()

    async def _turn(self) -> float:
        """Fires what is due; how long until there may be more, seconds."""
        while True:
            async with self._database.reading() as connection:
                next_ms = await timers.next_due_ms(connection)
                now_ms = self._now_ms()
                if next_ms is None:
                    return LONGEST_WAIT_SECONDS
                if next_ms > now_ms or self._is_stopping:
                    return (next_ms - now_ms) / 1000
                waiting = await timers.due(connection, now_ms, BATCH)
            await self._fire_all(waiting)
            self._on_fired()

    async def _fire_all(self, waiting: Sequence[Timer]) -> None:
        async with self._database.writing() as connection:
            for due in waiting:
                try:
                    async with connection.begin_nested():
                        await self._fire_one(connection, due)
                except (OperationalError, InterfaceError, OSError):
                    raise  # the store itself: all of it is fired again
                except Exception:  # a mistake about one incident must not stop all others' timers
                    log.exception("timer failed", kind=due.kind, subject=due.subject)
                    later_ms = self._now_ms() + PUT_OFF_MS
                    await timers.put(connection, due._replace(due_ms=later_ms))

    async def _fire_one(self, connection: AsyncConnection, due: Timer) -> None:
        # It may have been moved since it was read: by an acknowledgement, most of all.
        timer = await timers.get(connection, due.kind, due.subject)
        if timer is None or timer.due_ms is None or timer.due_ms > self._now_ms():
            return
        late_ms = max(0, self._now_ms() - timer.due_ms)
        metrics.timer_late_seconds.labels(timer.kind).observe(late_ms / 1000)
        fire = self._fire.get(timer.kind)
        if fire is None:
            await timers.drop(connection, timer.kind, timer.subject)
            return
        await fire(connection, timer)
        if await timers.get(connection, timer.kind, timer.subject) == timer:
            raise RuntimeError(f"{timer.kind} of {timer.subject} has fired and is still due")


def _now() -> float:
    """Seconds that only go forward, of the loop that the waiting is done by."""
    return asyncio.get_running_loop().time()
