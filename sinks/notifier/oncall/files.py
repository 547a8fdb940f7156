"""Rosters as they are configured, with the calendars that they name read from their files."""

from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from schemas.configuration import Notifier, Recipient
from schemas.oncall import Schedule
from sinks.notifier.oncall.calendar import CalendarError, Known, OnCallCalendar
from sinks.notifier.oncall.roster import Roster
from sinks.notifier.oncall.walltime import zone_of

log = structlog.get_logger("tocsin.notifier")


def known_by(recipients: tuple[Recipient, ...]) -> Known:
    """Finds a recipient by name or by any of their addresses; capitals do not matter."""
    names: dict[str, str] = {}
    for recipient in recipients:
        ways = (*recipient.page_by, *recipient.fall_back)
        for said in (recipient.name, recipient.address, *(way.address for way in ways)):
            if said:
                names.setdefault(said.casefold(), recipient.name)
    return lambda said: names.get(said.casefold())


def read_roster(schedule: Schedule, known: Known) -> Roster:
    """Raises `CalendarError`, with the file's name, for a calendar that cannot be used, and
    `WallTimeError` for a zone or a day that there is not."""
    zone = zone_of(schedule.time_zone)
    calendars = {}
    for name in schedule.calendars:
        try:
            calendars[Path(name).name] = OnCallCalendar(Path(name).read_bytes(), zone, known)
        except OSError as error:
            raise CalendarError(f"{name} cannot be read: {error.strerror or error}") from error
        except CalendarError as error:
            raise CalendarError(f"{name} {error}") from error
    return Roster(schedule, calendars)


class Rosters:
    """The rosters of all schedules by name. A calendar's file that changes is read again; one
    that has become unusable is logged, and what was read before counts on."""

    def __init__(self, section: Notifier, read: Callable[[Schedule, Known], Roster] = read_roster):
        self._schedules = section.schedules
        self._known = known_by(section.recipients)
        self._read = read
        self._rosters = {each.name: read(each, self._known) for each in section.schedules}
        self._stamps = {each.name: _stamps(each) for each in section.schedules}

    def refresh(self) -> None:
        """Reads anew what has changed."""
        for schedule in self._schedules:
            stamps = _stamps(schedule)
            if stamps == self._stamps[schedule.name]:
                continue
            self._stamps[schedule.name] = stamps
            try:
                self._rosters[schedule.name] = self._read(schedule, self._known)
            except CalendarError as error:
                log.error("calendar not taken over", schedule=schedule.name, reason=str(error))
            except Exception:  # whatever a calendar holds, the other schedules' are looked at too
                log.exception("calendar not taken over", schedule=schedule.name)
            else:
                log.info("calendar taken over", schedule=schedule.name)

    def __iter__(self) -> Iterator[Roster]:
        return iter(self._rosters.values())

    def person(self, name: str, at_ms: int) -> str | None:
        """Who is on call by a schedule, by name of the recipient; None in a gap."""
        return self._rosters[name].at(at_ms).person

    def __contains__(self, name: object) -> bool:
        return name in self._rosters

    def __getitem__(self, name: str) -> Roster:
        return self._rosters[name]


def _stamps(schedule: Schedule) -> tuple[tuple[int, int] | None, ...]:
    """Modification time and size of the calendars' files."""
    found: list[tuple[int, int] | None] = []
    for name in schedule.calendars:
        try:
            stat = Path(name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_size))
    return tuple(found)
