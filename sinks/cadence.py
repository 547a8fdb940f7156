"""How soon those outside are promised to hear again: one rule for messages and the status page.
Pure."""

from collections.abc import Sequence

from schemas.incidents import Severity
from schemas.oncall import Cadence

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
GRACE_MS = 60_000
"""An update so late still keeps the promise: it was asked for in time and is on its way."""
MOST_CHANGES = 50
"""Moments at which facts changed that are remembered."""


def span_ms(
    cadence: Cadence, severity: Severity, age_ms: int, changes_ms: Sequence[int], now_ms: int
) -> int | None:
    """How long until the next update, by severity, age, and how fast facts change.

    None if the severity promises none.
    """
    minutes = cadence.minutes.get(severity)
    if minutes is None:
        return None
    span = minutes * MINUTE_MS
    if age_ms >= cadence.slow_after_hours * HOUR_MS:
        span *= 2
    if sum(at > now_ms - span for at in changes_ms) >= cadence.fast_changes:
        span /= 2
    return max(MINUTE_MS, round(span))


def promised_ms(
    cadence: Cadence, severity: Severity, began_ms: int, changes_ms: Sequence[int], now_ms: int
) -> int | None:
    """The time that an update made now promises, Unix ms, as people name times: on the full five
    minutes, on the full minute if it is soon. None if it promises none.

    `began_ms` is when those outside heard first, `changes_ms` when facts changed lately.
    """
    span = span_ms(cadence, severity, now_ms - began_ms, changes_ms, now_ms)
    if span is None:
        return None
    step_ms = 5 * MINUTE_MS if span >= 20 * MINUTE_MS else MINUTE_MS
    return -(-(now_ms + span) // step_ms) * step_ms


def with_change(changes_ms: Sequence[int], now_ms: int) -> tuple[int, ...]:
    """The moments of change, with one more."""
    return (*changes_ms, now_ms)[-MOST_CHANGES:]
