"""Times of the wire types, Unix milliseconds in UTC, as people and other programs read them."""

import re
from datetime import UTC, datetime

DAY_MS = 86_400_000


def utc(time_ms: int) -> datetime:
    """The time with its zone. Raises OverflowError or ValueError where the calendar ends."""
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def iso(time_ms: int) -> str:
    """ISO 8601 with milliseconds: `2026-11-24T14:02:25.000Z`."""
    return utc(time_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(time_ms: int) -> str:
    """The time of day: `14:02:25`."""
    return f"{utc(time_ms):%H:%M:%S}"


def stamp(time_ms: int) -> str:
    """Date and time: `2026-11-24 14:02:25`."""
    return f"{utc(time_ms):%Y-%m-%d %H:%M:%S}"


def duration(span_ms: float) -> str:
    """A span of time in the unit people use: `75 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    seconds = max(0, round(span_ms / 1000))
    minutes = round(seconds / 60)
    hours = round(minutes / 60)
    if seconds < 120:
        return f"{seconds} s"
    if minutes < 120:
        return f"{minutes} min"
    if hours < 48:
        return _two(minutes, 60, "h", "min")
    return _two(hours, 24, "d", "h")


def _two(count: int, size: int, unit: str, smaller: str) -> str:
    whole, rest = divmod(count, size)
    return f"{whole} {unit} {rest} {smaller}" if rest else f"{whole} {unit}"


def moment_of(when: str, now_ms: int) -> int:
    """Unix ms of a span from now (`45m`, `1h30m`) or of a time with its zone. Raises ValueError."""
    span = re.fullmatch(r"(?:(\d{1,3})h)?(?:(\d{1,4})m(?:in)?)?", when.replace(" ", ""))
    hours, minutes = (int(part or 0) for part in span.groups()) if span else (0, 0)
    if hours or minutes:
        return now_ms + (hours * 60 + minutes) * 60_000
    try:
        at = datetime.fromisoformat(when)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(
            f"{when!r} is no time; give a span from now, such as 45m or 1h30m, or a time with its "
            "zone, such as 2026-11-24T18:00+01:00"
        )
    return int(at.timestamp() * 1000)
