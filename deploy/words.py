"""Small things said the same way everywhere on the command line."""

from datetime import UTC, datetime


def clock(time_ms: int) -> str:
    """Time of day, UTC, of an event time."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%H:%M:%S")


def stamp(time_ms: int) -> str:
    """Date and time, UTC, of an event time."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
