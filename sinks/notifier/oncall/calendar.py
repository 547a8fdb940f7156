"""On-call calendars of other tools: iCalendar (RFC 5545) to slots. Pure.

Recurrence, exceptions, time zones and their daylight saving are the business of `icalendar` and
`recurring-ical-events`. A slot's person is the event's ATTENDEE (by address, then by name), else
its SUMMARY; times without a zone are of the schedule's. Events that are cancelled, and people who
have declined, do not count. What cannot be used is left out, and `complaints` says so.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import icalendar

from sinks.notifier.oncall.series import (
    UNUSABLE,
    EventSeries,
    UnusableEventError,
    read_series,
)
from sinks.notifier.oncall.walltime import local, to_ms

MAX_BYTES = 4_000_000
"""A calendar that is larger is refused."""
MAX_SLOTS = 2_000
"""So many slots are taken from a calendar at once: 55 a day over the weeks that are worked out."""

Known = Callable[[str], str | None]
"""The recipient of a name or an address, None if there is none."""


class CalendarError(ValueError):
    """The file is no calendar that can be used; the message says why."""


class Slot(NamedTuple):
    """Somebody is on call for a while, Unix ms. `person` is None where `said` is nobody known."""

    start_ms: int
    until_ms: int
    person: str | None
    said: str


class OnCallCalendar:
    """One calendar. Raises `CalendarError` for a text that is none."""

    def __init__(self, text: bytes, zone: ZoneInfo, known: Known) -> None:
        if len(text) > MAX_BYTES:
            raise CalendarError(f"is larger than {MAX_BYTES} bytes")
        self._zone = zone
        self._known = known
        self._series: list[EventSeries] = []
        self._complaints: dict[str, None] = {}
        try:
            calendar = icalendar.Calendar.from_ical(text)
            for found in read_series(calendar):
                self._add(found)
        except UNUSABLE as error:
            raise CalendarError(f"is no iCalendar file: {error}") from error

    def slots(self, from_ms: int, until_ms: int) -> list[Slot]:
        """Who is on call in a span of time, in order of beginning."""
        # A second more at each end: what only touches the span is cut off below, exactly.
        start, stop = local(from_ms - 1000, self._zone), local(until_ms + 1000, self._zone)
        found = [slot for series in list(self._series) for slot in self._of(series, start, stop)]
        touching = (slot for slot in found if slot.start_ms < until_ms and slot.until_ms > from_ms)
        ordered = sorted(touching, key=lambda slot: (slot.start_ms, slot.until_ms, slot.said))
        if len(ordered) > MAX_SLOTS:
            self._complain(f"has more than {MAX_SLOTS} shifts at once; later ones are left out")
        return ordered[:MAX_SLOTS]

    def complaints(self) -> list[str]:
        """What cannot be used of the calendar, as far as it has been looked at, and why."""
        return list(self._complaints)

    def _add(self, found: EventSeries | tuple[str, str]) -> None:
        if isinstance(found, EventSeries):
            self._series.append(found)
            for zone in found.strange_zones:
                self._complain(f"names the unknown zone {zone}; {self._zone.key} is taken for it")
        else:
            self._leave_out(*found)

    def _of(self, series: EventSeries, start: datetime, stop: datetime) -> list[Slot]:
        try:
            found = [self._slot(event) for event in series.between(start, stop)]
        except (UnusableEventError, *UNUSABLE) as error:
            self._series.remove(series)
            self._leave_out(series.name, str(error))
            return []
        return [slot for slot in found if slot is not None]

    def _leave_out(self, name: str, why: str) -> None:
        self._complain(f"event {name[:80]!r} is left out: {why}")

    def _complain(self, said: str) -> None:
        self._complaints.setdefault(said)

    def _slot(self, event: Any) -> Slot | None:
        """None for an event that does not count."""
        names = list(_names(event))
        if str(event.get("STATUS", "")).upper() == "CANCELLED" or (not names and _people(event)):
            return None
        person = next((found for name in names if (found := self._known(name))), None)
        said = person or (names[0] if names else "an event without a name")
        return Slot(self._ms(event.start), self._ms(event.end), person, said)

    def _ms(self, moment: date | datetime) -> int:
        if not isinstance(moment, datetime):
            moment = datetime.combine(moment, time())
        return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=self._zone))


def _names(event: Any) -> Iterator[str]:
    """Whom the event may mean; nobody if everybody has declined."""
    people = _people(event)
    coming = [each for each in people if not _has_declined(each)]
    for attendee in coming:
        address = str(attendee)
        yield address[7:] if address.lower().startswith("mailto:") else address
        if common_name := getattr(attendee, "params", {}).get("CN"):
            yield str(common_name)
    if (coming or not people) and (summary := event.get("SUMMARY")):
        yield str(summary).strip()


def _people(event: Any) -> list[Any]:
    attendees = event.get("ATTENDEE", [])
    return attendees if isinstance(attendees, list) else [attendees]


def _has_declined(attendee: Any) -> bool:
    answer = str(getattr(attendee, "params", {}).get("PARTSTAT", "")).upper()
    return answer in ("DECLINED", "DELEGATED")
