"""The events of an iCalendar file, each with its recurrences apart from the others, so that one
that cannot be used takes nobody else's away. Pure.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from math import prod
from typing import Any

import icalendar
import recurring_ical_events

UNUSABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError)
"""What the libraries raise for events that are wrong; OverflowError is an ArithmeticError."""
MOST_A_DAY = 24
"""An event that recurs more often than hourly is no shift, and takes minutes to work out."""
EARLIEST_YEAR = 1970
"""Recurrences are counted from the first one on, which takes its time,"""
EARLIEST_YEAR_HOURLY = 2010
"""the more so for hourly ones."""
_DECIDING = ("DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID")
_SELECTING = ("BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYEASTER", "BYSETPOS")


class UnusableEventError(ValueError):
    """An event that cannot be used; the message says why."""


class EventSeries:
    """An event with its recurrences and their exceptions: all that has one UID.

    Parameters
    ----------
    calendar, zones
        What the events stand in, and the time zones that it defines.
    events
        The event and what changes single recurrences of it.

    Raises `UnusableEventError`.
    """

    def __init__(self, calendar: Any, zones: Sequence[Any], events: Sequence[Any]) -> None:
        self.name = _name(events[0])
        for event in events:
            _refuse(event)
        part = icalendar.Calendar()
        part.update(calendar)
        for component in (*zones, *events):
            part.add_component(component)
        self.strange_zones = tuple(dict.fromkeys(chain.from_iterable(map(_strange_zones, events))))
        try:
            self._query = recurring_ical_events.of(part)
        except UNUSABLE as error:
            raise UnusableEventError(_reason(error)) from error

    def between(self, start: datetime, stop: datetime) -> list[Any]:
        """Its recurrences in a span of time. Raises `UnusableEventError`."""
        try:
            return list(self._query.between(start, stop))
        except UNUSABLE as error:
            raise UnusableEventError(_reason(error)) from error


def read_series(calendar: Any) -> Iterator[EventSeries | tuple[str, str]]:
    """All events of a calendar; for each that cannot be used its name and why."""
    zones, by_uid = calendar.walk("VTIMEZONE"), defaultdict(list)
    for number, event in enumerate(calendar.walk("VEVENT")):
        by_uid[str(event.get("UID", f"without a UID {number}"))].append(event)
    for events in by_uid.values():
        try:
            yield EventSeries(calendar, zones, events)
        except UnusableEventError as error:
            yield _name(events[0]), str(error)


def _refuse(event: Any) -> None:
    """Raises `UnusableEventError` for an event that says no time, or too many."""
    for field, problem in event.errors:
        if field in _DECIDING:
            raise UnusableEventError(f"its {field} cannot be read ({problem})")
    if "DTSTART" not in event:
        raise UnusableEventError("it has no DTSTART")
    rules = event.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        often = str(next(iter(rule.get("FREQ", [])), "")).upper()
        times = prod(max(1, len(rule.get(by, []))) for by in ("BYHOUR", "BYMINUTE", "BYSECOND"))
        if often in ("SECONDLY", "MINUTELY") or times > (MOST_A_DAY if often != "HOURLY" else 1):
            raise UnusableEventError("it recurs more often than hourly")
        if often == "HOURLY" and any(by in rule for by in _SELECTING):
            raise UnusableEventError("it recurs hourly on some days only; write it as daily")
        earliest = EARLIEST_YEAR_HOURLY if often == "HOURLY" else EARLIEST_YEAR
        if event["DTSTART"].dt.year < earliest:
            raise UnusableEventError(f"it recurs since before {earliest}; begin it later")


def _strange_zones(event: Any) -> Iterator[str]:
    """Zones that the event names and nobody knows; its times are without a zone then."""
    for field in ("DTSTART", "DTEND", "RECURRENCE-ID"):
        value = event.get(field)
        zone = getattr(value, "params", {}).get("TZID")
        if zone and getattr(value.dt, "tzinfo", None) is None:
            yield str(zone)


def _name(event: Any) -> str:
    named = event.get("UID") or event.get("SUMMARY") or "without a UID"
    return " ".join(str(named).split())


def _reason(error: Exception) -> str:
    if isinstance(error, OverflowError):
        return "its times are too far apart"
    return " ".join(str(error).split()) or type(error).__name__
