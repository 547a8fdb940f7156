"""Times as they are given on the command line and shown to people."""

import time
from datetime import UTC, datetime


class NoMomentError(ValueError):
    """A text that is no time; the message says how to write one."""


def now_ms() -> int:
    """The wall clock, Unix ms."""
    return int(time.time() * 1000)


def moment_ms(text: str | None) -> int:
    """A time such as `2026-11-24T18:00+01:00`, Unix ms; in UTC without a zone, now without a text.

    Raises `NoMomentError` for a text that is none.
    """
    if text is None:
        return now_ms()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NoMomentError(
            f"{text!r} is no time; write 2026-11-24T18:00 (UTC) or 2026-11-24T18:00+01:00"
        ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
