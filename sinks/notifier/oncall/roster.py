"""Who is on call by one schedule: its layers, calendars, swaps and overrides put together. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import chain, dropwhile, pairwise
from typing import NamedTuple

from schemas.oncall import Schedule
from schemas.times import DAY_MS
from sinks.notifier.oncall.calendar import OnCallCalendar, Slot
from sinks.notifier.oncall.rotation import Rotation
from sinks.notifier.oncall.walltime import parse_moment_ms, zone_of

AHEAD_MS = 28 * DAY_MS
"""How far ahead shifts are worked out at once."""


class Shift(NamedTuple):
    """One person's time on call, Unix ms; `person` None is a gap. `source` says by what."""

    start_ms: int
    until_ms: int
    person: str | None
    source: str


class _Exception(NamedTuple):
    """An override, or a swap of `person` and `other`."""

    start_ms: int
    until_ms: int
    person: str
    other: str | None = None

    def covers(self, moment_ms: int) -> bool:
        return self.start_ms <= moment_ms < self.until_ms


class Roster:
    """Answers who is on call.

    An override counts more than a swap, a swap turns round what calendars and layers say, a
    calendar counts more than the layers, and a later one of a kind more than an earlier one.

    Parameters
    ----------
    schedule
        What is configured.
    calendars
        The schedule's calendars by their names in it.

    Raises `WallTimeError` for a zone or a day that there is not.
    """

    def __init__(
        self, schedule: Schedule, calendars: Mapping[str, OnCallCalendar] | None = None
    ) -> None:
        self.name = schedule.name
        self.zone = zone_of(schedule.time_zone)
        self.hand_over_notice = schedule.hand_over_notice
        self._rotations = [Rotation(layer, self.zone) for layer in schedule.layers]
        self._calendars = dict(calendars or {})
        self._overrides = [
            _Exception(self._ms(each.start), self._ms(each.until), each.person)
            for each in schedule.overrides
        ]
        self._swaps = [
            _Exception(self._ms(each.start), self._ms(each.until), *each.people)
            for each in schedule.swaps
        ]
        self._worked_out: tuple[int, int, list[Shift]] | None = None

    def at(self, moment_ms: int) -> Shift:
        """The shift of a moment; its start and end are known up to some weeks around it."""
        if self._worked_out is None or not (
            self._worked_out[0] <= moment_ms < self._worked_out[1] - DAY_MS
        ):
            from_ms, until_ms = moment_ms - 8 * DAY_MS, moment_ms + AHEAD_MS
            self._worked_out = (moment_ms, until_ms, self.shifts(from_ms, until_ms))
        shifts = self._worked_out[2]
        return shifts[bisect_right(shifts, moment_ms, key=lambda shift: shift.start_ms) - 1]

    def next_after(self, moment_ms: int) -> Shift | None:
        """The next shift of somebody, None if nobody's begins within some weeks. Who is on now and
        stays on, by another source, is not next."""
        now = self.at(moment_ms)
        later = self.shifts(now.until_ms, now.until_ms + AHEAD_MS)
        leaving = dropwhile(lambda shift: shift.person == now.person, later)
        return next((shift for shift in leaving if shift.person is not None), None)

    def gaps(self, from_ms: int, until_ms: int) -> list[Shift]:
        """When nobody is on call."""
        return [shift for shift in self.shifts(from_ms, until_ms) if shift.person is None]

    def strangers(self, from_ms: int, until_ms: int) -> list[str]:
        """Whom calendars name in a span of time without their being recipients, each once."""
        return list(
            dict.fromkeys(
                slot.said
                for calendar in self._calendars.values()
                for slot in calendar.slots(from_ms, until_ms)
                if slot.person is None
            )
        )

    def complaints(self, from_ms: int, until_ms: int) -> list[str]:
        """What calendars say of a span of time that cannot be used, and why."""
        for calendar in self._calendars.values():
            calendar.slots(from_ms, until_ms)  # some events prove unusable only when asked
        return [
            f"calendar {name} {said}"
            for name, calendar in self._calendars.items()
            for said in calendar.complaints()
        ]

    def shifts(self, from_ms: int, until_ms: int) -> list[Shift]:
        """Who is on call in a span of time, without holes: gaps are shifts of nobody."""
        slots = {
            name: calendar.slots(from_ms, until_ms) for name, calendar in self._calendars.items()
        }
        bounds = {from_ms, until_ms}
        for rotation in self._rotations:
            bounds.update(rotation.changes_ms(from_ms, until_ms))
        for exception in (*self._overrides, *self._swaps):
            bounds.update((exception.start_ms, exception.until_ms))
        for slot in chain.from_iterable(slots.values()):
            bounds.update((slot.start_ms, slot.until_ms))
        ordered = sorted(bound for bound in bounds if from_ms <= bound <= until_ms)
        return _merged(
            Shift(start, end, *self._on_call(start, slots)) for start, end in pairwise(ordered)
        )

    def _base(self, slots: dict[str, list[Slot]], moment_ms: int) -> tuple[str | None, str]:
        """Who would be on call without overrides and swaps, and by what."""
        for name in reversed(slots):
            for slot in reversed(slots[name]):
                if slot.start_ms <= moment_ms < slot.until_ms and slot.person is not None:
                    return slot.person, f"calendar {name}"
        for number in range(len(self._rotations), 0, -1):
            person = self._rotations[number - 1].at(moment_ms)
            if person is not None:
                return person, f"layer {number}"
        return None, "nobody"

    def _on_call(self, moment_ms: int, slots: dict[str, list[Slot]]) -> tuple[str | None, str]:
        for override in reversed(self._overrides):
            if override.covers(moment_ms):
                return override.person, "override"
        person, source = self._base(slots, moment_ms)
        for swap in reversed(self._swaps):
            if swap.covers(moment_ms) and person in (swap.person, swap.other):
                other = swap.other if person == swap.person else swap.person
                return other, f"swap with {person}"
        return person, source

    def _ms(self, text: str) -> int:
        return parse_moment_ms(text, self.zone)


def _merged(shifts: Iterable[Shift]) -> list[Shift]:
    merged: list[Shift] = []
    for shift in shifts:
        last = merged[-1] if merged else None
        if last is not None and (last.person, last.source) == (shift.person, shift.source):
            merged[-1] = last._replace(until_ms=shift.until_ms)
        else:
            merged.append(shift)
    return merged
