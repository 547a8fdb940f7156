"""Tells who comes on call and who goes off, as the shift changes."""

from collections.abc import Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.incidents import Incident
from sinks.notifier import timers
from sinks.notifier.announcing import hand_over_planned
from sinks.notifier.desk import Desk
from sinks.notifier.messages import HandOver
from sinks.notifier.people import People
from sinks.notifier.store import add_deliveries, open_incidents
from sinks.notifier.timers import Timer

HAND_OVER = "hand_over"
"""The kind of timer that a change of shift is; its subject is the schedule."""
TOO_LATE_MS = 3_600_000
OPEN_LISTED = 10

log = structlog.get_logger("tocsin.notifier")


class HandOvers:
    """The changes of shift of all schedules. What it does is in the transaction it is given."""

    def __init__(self, desk: Desk, people: People, now_ms: Callable[[], int]) -> None:
        self._desk = desk
        self._people = people
        self._now_ms = now_ms

    async def plan(self, connection: AsyncConnection) -> None:
        """Sets each schedule's next change, as calendars and configuration have it now; one whose
        time has come meanwhile is left to fire."""
        now_ms = self._now_ms()
        for roster in self._people.rosters:
            known = await timers.get(connection, HAND_OVER, roster.name)
            if known is None or known.due_ms is None or known.due_ms > now_ms:
                try:
                    due_ms = roster.at(now_ms).until_ms
                except Exception:  # one schedule's mistake leaves the others their changes
                    log.exception("change of shift not planned", schedule=roster.name)
                    continue
                await self._plan(connection, roster.name, due_ms, now_ms)

    async def fire(self, connection: AsyncConnection, timer: Timer) -> None:
        """A shift has changed."""
        if timer.subject not in self._people.rosters or timer.due_ms is None:
            await timers.drop(connection, HAND_OVER, timer.subject)
            return
        roster, now_ms = self._people.rosters[timer.subject], self._now_ms()
        before, after = roster.at(timer.due_ms - 1), roster.at(timer.due_ms)
        is_news = before.person != after.person and now_ms - timer.due_ms < TOO_LATE_MS
        if roster.hand_over_notice and is_news:
            titles = [_titled(each) for each in await open_incidents(connection, OPEN_LISTED)]
            for person, other, comes_on in (
                (before.person, after.person, False),
                (after.person, before.person, True),
            ):
                recipient = self._people.recipients.get(person) if person else None
                if recipient is None:
                    continue
                made = HandOver(
                    recipient=recipient,
                    schedule=roster.name,
                    comes_on=comes_on,
                    other=other,
                    time_ms=timer.due_ms,
                    until_ms=after.until_ms if comes_on else None,
                    open_incidents=tuple(titles),
                )
                await self._desk.hand_over(connection, made, now_ms)
        await self._plan(connection, roster.name, roster.at(now_ms).until_ms, now_ms)

    async def _plan(
        self, connection: AsyncConnection, schedule: str, due_ms: int, now_ms: int
    ) -> None:
        known = await timers.get(connection, HAND_OVER, schedule)
        await timers.put(connection, Timer(HAND_OVER, schedule, "", due_ms, b""))
        if known is None or known.due_ms != due_ms:
            await add_deliveries(connection, [hand_over_planned(schedule, due_ms, now_ms)])


def _titled(incident: Incident) -> str:
    return f"[{incident.severity}] {incident.title} ({incident.id})"
