"""Who is on call: rotations, calendars, overrides and swaps, right over daylight saving. Pure."""

from sinks.notifier.oncall.roster import Roster, Shift

__all__ = ["Roster", "Shift"]
