"""People who take turns: whose turn it is, and when it changes. Pure.

Turns are counted in days of the local calendar, so a hand-over is at the same time of day all year
and a shift over a change of the clocks is an hour shorter or longer.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from schemas.oncall import Layer
from sinks.notifier.oncall.walltime import (
    at_ms,
    is_within,
    local,
    parse_day,
    parse_time,
    spans,
)


class Rotation:
    """One layer of a schedule. Raises `WallTimeError` for a start that is no day."""

    def __init__(self, layer: Layer, zone: ZoneInfo) -> None:
        self._people = layer.people
        self._hours = layer.hours
        self._zone = zone
        self._start: date = parse_day(layer.start)
        self._hand_over = parse_time(layer.hand_over)
        self._days = layer.every * (7 if layer.rotation == "weekly" else 1)

    def at(self, moment_ms: int) -> str | None:
        """Whose turn it is; None before the start and outside the layer's hours."""
        turn = self._turn(moment_ms)
        if turn < 0 or (self._hours and not is_within(self._hours, self._zone, moment_ms)):
            return None
        return self._people[turn % len(self._people)]

    def changes_ms(self, from_ms: int, until_ms: int) -> Iterator[int]:
        """The moments in a span of time at which it may be another's turn, or nobody's."""
        turn = max(0, self._turn(from_ms))
        while (begins_ms := self._begins_ms(turn)) <= until_ms:
            yield begins_ms
            turn += 1
        for start_ms, end_ms in spans(self._hours, self._zone, from_ms, until_ms):
            yield start_ms
            yield end_ms

    def _turn(self, moment_ms: int) -> int:
        days = (local(moment_ms, self._zone).date() - self._start).days
        turn = days // self._days
        # On the day of a hand-over the time of day decides, also where the clock skips it.
        return turn if self._begins_ms(turn) <= moment_ms else turn - 1

    def _begins_ms(self, turn: int) -> int:
        day = self._start + timedelta(days=turn * self._days)
        return at_ms(day, self._hand_over, self._zone)
