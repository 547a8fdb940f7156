"""`tocsin oncall`: who is on call now and next, and when nobody is."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape

from deploy.commands.moments import NoMomentError, moment_ms
from deploy.configuration import load
from deploy.console import new_console
from schemas.times import DAY_MS, duration
from sinks.notifier.oncall import Roster, Shift
from sinks.notifier.oncall.files import Rosters
from sinks.notifier.oncall.walltime import local

MOST_GAPS = 10


class Turn(msgspec.Struct, frozen=True):
    """A shift as scripts read it; times in Unix ms, `person` null for a gap."""

    person: str | None
    start_ms: int
    until_ms: int
    source: str


class OnCall(msgspec.Struct, frozen=True):
    """One schedule at a moment."""

    schedule: str
    time_zone: str
    at_ms: int
    now: Turn
    next: Turn | None
    gaps: tuple[Turn, ...]
    strangers: tuple[str, ...]
    complaints: tuple[str, ...] = ()
    """What of its calendars cannot be used, and why."""


def run_oncall(
    schedules: Sequence[str], *, config: Path | None, at: str | None, days: int, json: Path | None
) -> int:
    """Prints each schedule, or those named; 2 if there is none of that name or no such time."""
    rosters = list(Rosters(load(config).notifier))
    names = [roster.name for roster in rosters]
    if unknown := [name for name in schedules if name not in names]:
        known = ", ".join(names) or "(there are none)"
        print(f"{', '.join(unknown)} is none of the schedules {known}", file=sys.stderr)
        return 2
    try:
        at_ms = moment_ms(at)
    except NoMomentError as error:
        print(error, file=sys.stderr)
        return 2
    wanted = [roster for roster in rosters if not schedules or roster.name in schedules]
    found = [_look(roster, at_ms, days) for roster in wanted]
    console = new_console()
    if not found:
        console.print("no schedule is configured; write some under notifier.schedules")
    for each, roster in zip(found, wanted, strict=True):
        _show(console, each, roster, days)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    return 0


def _look(roster: Roster, at_ms: int, days: int) -> OnCall:
    until_ms = at_ms + days * DAY_MS
    following = roster.next_after(at_ms)
    return OnCall(
        schedule=roster.name,
        time_zone=roster.zone.key,
        at_ms=at_ms,
        now=_turn(roster.at(at_ms)),
        next=_turn(following) if following else None,
        gaps=tuple(_turn(gap) for gap in roster.gaps(at_ms, until_ms)),
        strangers=tuple(roster.strangers(at_ms, until_ms)),
        complaints=tuple(roster.complaints(at_ms, until_ms)),
    )


def _turn(shift: Shift) -> Turn:
    return Turn(shift.person, shift.start_ms, shift.until_ms, shift.source)


def _show(console: Console, found: OnCall, roster: Roster, days: int) -> None:
    def wall(time_ms: int) -> str:
        return f"{local(time_ms, roster.zone):%a %Y-%m-%d %H:%M}"

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    say(f"[bold]{escape(found.schedule)}[/] ({found.time_zone}, at {wall(found.at_ms)})")
    if found.now.person is None:
        say("  now   [red]nobody[/]")
    else:
        left = duration(found.now.until_ms - found.at_ms)
        until = f"until {wall(found.now.until_ms)} ({left} left)"
        say(f"  now   {escape(found.now.person)} {until}, by {escape(found.now.source)}")
    if found.next is not None and found.next.person is not None:
        since = f"from {wall(found.next.start_ms)} until {wall(found.next.until_ms)}"
        say(f"  next  {escape(found.next.person)} {since}, by {escape(found.next.source)}")
    for gap in found.gaps[:MOST_GAPS]:
        say(f"  [yellow]gap[/]   {wall(gap.start_ms)} until {wall(gap.until_ms)}")
    if len(found.gaps) > MOST_GAPS:
        say(f"  [yellow]gap[/]   and {len(found.gaps) - MOST_GAPS} more within {days} days")
    for stranger in found.strangers:
        said = f"{escape(stranger)} stands in a calendar and is no recipient"
        say(f"  [yellow]note[/]  {said}; give a recipient that name or address")
    for complaint in found.complaints:
        say(f"  [yellow]note[/]  {escape(complaint)}; mend it where the calendar is written")
