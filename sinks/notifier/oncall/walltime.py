"""Times on the wall clock of a zone, and the hours of a week. Pure.

A time that the clock skips in spring counts as so much later (02:30 becomes 03:30), one that it
shows twice in autumn as the first of the two, as RFC 5545 has it.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.oncall import EVERY_DAY, Hours

ONE_DAY = timedelta(days=1)


class WallTimeError(ValueError):
    """No such time, or no such zone; the message says which."""


def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name. Raises `WallTimeError` for a name that is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise WallTimeError(
            f"{name!r} is no time zone; write one of the IANA list, such as Europe/Berlin"
        ) from None


def parse_time(text: str) -> time:
    """A time of day, `09:00`."""
    return time.fromisoformat(text)


def parse_day(text: str) -> date:
    """A day, `2026-11-24`. Raises `WallTimeError` for one that is in no calendar."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WallTimeError(f"{text!r} is no day of the calendar") from None


def parse_moment_ms(text: str, zone: ZoneInfo) -> int:
    """A moment on the zone's wall clock, `2026-11-24T18:00`, in Unix ms. Raises `WallTimeError`."""
    try:
        return to_ms(datetime.fromisoformat(text).replace(tzinfo=zone))
    except ValueError:
        raise WallTimeError(f"{text!r} is no moment of the calendar") from None


def to_ms(moment: datetime) -> int:
    """A moment with its zone in Unix ms."""
    return round(moment.timestamp() * 1000)


def local(at_ms: int, zone: ZoneInfo) -> datetime:
    """What the zone's wall clock shows at a moment."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)


def at_ms(day: date, clock: time, zone: ZoneInfo) -> int:
    """When the zone's wall clock shows a time on a day, Unix ms."""
    return to_ms(datetime.combine(day, clock, zone))


def spans(
    hours: Sequence[Hours], zone: ZoneInfo, from_ms: int, until_ms: int
) -> Iterator[tuple[int, int]]:
    """When the hours begin and end, Unix ms, for all that touch the time from `from_ms` on."""
    day = local(from_ms, zone).date() - ONE_DAY
    last = local(until_ms, zone).date()
    while day <= last:
        for each in hours:
            if EVERY_DAY[day.weekday()] in each.days:
                start, until = parse_time(each.start), parse_time(each.until)
                end = day if until > start else day + ONE_DAY
                yield at_ms(day, start, zone), at_ms(end, until, zone)
        day += ONE_DAY


def is_within(hours: Sequence[Hours], zone: ZoneInfo, moment_ms: int) -> bool:
    """Whether a moment is in the hours."""
    return any(
        start_ms <= moment_ms < end_ms
        for start_ms, end_ms in spans(hours, zone, moment_ms, moment_ms)
    )


def begins_ms(hours: Sequence[Hours], zone: ZoneInfo, moment_ms: int) -> int:
    """The moment itself if it is in the hours or there are none, else when they next begin."""
    if not hours or is_within(hours, zone, moment_ms):
        return moment_ms
    week_ms = 8 * 86_400_000
    later = (start for start, _ in spans(hours, zone, moment_ms, moment_ms + week_ms))
    return min((start for start in later if start > moment_ms), default=moment_ms)


def ends_ms(hours: Sequence[Hours], zone: ZoneInfo, moment_ms: int) -> int:
    """When the hours that a moment is in are over, with those that follow without a gap."""
    end_ms = moment_ms
    for _ in range(15):  # hours of every day, all day, never end; a fortnight is long enough
        later = (end for start, end in spans(hours, zone, end_ms, end_ms) if start <= end_ms < end)
        reached_ms = max(later, default=end_ms)
        if reached_ms == end_ms:
            break
        end_ms = reached_ms
    return end_ms
