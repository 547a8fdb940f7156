"""On-call calendars of other tools: iCalendar (RFC 5545) to slots. Pure.

Recurrence, exceptions, time zones and their daylight saving are the business of `icalendar` and
`recurring-ical-events`. A slot's person is the event's ATTENDEE (by address, then by name), else
its SUMMARY; times without a zone are of the schedule's.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events

from sinks.notifier.oncall.walltime import local, to_ms

MAX_BYTES = 4_000_000
"""A calendar that is larger is refused."""

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
        try:
            calendar = icalendar.Calendar.from_ical(text)
            self._query = recurring_ical_events.of(calendar, skip_bad_series=True)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise CalendarError(f"is no iCalendar file: {error}") from error
        self._zone = zone
        self._known = known

    def slots(self, from_ms: int, until_ms: int) -> list[Slot]:
        """Who is on call in a span of time, in order of beginning."""
        # A second more at each end: what only touches the span is cut off below, exactly.
        start, stop = local(from_ms - 1000, self._zone), local(until_ms + 1000, self._zone)
        found = [self._slot(event) for event in self._query.between(start, stop)]
        touching = (slot for slot in found if slot.start_ms < until_ms and slot.until_ms > from_ms)
        return sorted(touching, key=lambda slot: (slot.start_ms, slot.until_ms, slot.said))

    def _slot(self, event: Any) -> Slot:
        start, until = event.start, event.end
        names = list(_names(event))
        person = next((found for name in names if (found := self._known(name))), None)
        said = person or (names[0] if names else "an event without a name")
        return Slot(self._ms(start), self._ms(until), person, said)

    def _ms(self, moment: date | datetime) -> int:
        if not isinstance(moment, datetime):
            moment = datetime.combine(moment, time())
        return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=self._zone))


def _names(event: Any) -> Iterator[str]:
    attendees = event.get("ATTENDEE", [])
    for attendee in attendees if isinstance(attendees, list) else [attendees]:
        address = str(attendee)
        yield address[7:] if address.lower().startswith("mailto:") else address
        if common_name := getattr(attendee, "params", {}).get("CN"):
            yield str(common_name)
    if summary := event.get("SUMMARY"):
        yield str(summary).strip()
