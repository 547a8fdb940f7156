"""Which signals wake nobody now: people's silences and maintenance windows. Pure.

A silence stops only the alerting: what it matches is measured, correlated, graded and resolved as
ever, and what is still out when it ends is told then.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rruleset, rrulestr
from msgspec.structs import replace

from schemas.incidents import Command, Signal
from schemas.silences import Maintenance, Silence, SilenceEvent
from schemas.times import iso
from schemas.units import metric_of

MOST = 1_000
"""Silences of people kept at once."""

MOST_TURNS = 50
"""Turns of one window that are looked at in one leap of time."""

ENDS_SOON_MS = 15 * 60_000
"""So long before its end a silence that lasts longer is announced to end."""

MOST_NAMED = 5
"""Incidents that are named where it is said what a silence held back."""

_FIELDS: dict[str, Callable[[Signal], str]] = {
    "service": lambda s: s.service,
    "series": lambda s: s.series,
    "metric": lambda s: metric_of(s.series),
    "kind": lambda s: s.kind,
    "instance": lambda s: s.instance or "",
    "operation": lambda s: s.operation or "",
    "caller": lambda s: s.caller or "",
}
_MATCHER = re.compile(r'\s*([a-z_]+)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|(.*?))\s*', re.DOTALL)

_INTERVAL = re.compile(r"INTERVAL=([+-]?\d+)", re.IGNORECASE)
_TOO_OFTEN = re.compile(r"FREQ=(SECONDLY|MINUTELY)", re.IGNORECASE)
_UNTIL_UTC = re.compile(r"(?<=UNTIL=)(\d{8}T\d{6})Z", re.IGNORECASE)

Matches = Callable[[Signal], bool]
Holds = Callable[[str], bool]
Ending = Literal["ending", "ended"]


class End(NamedTuple):
    """That a silence is `ending`, as it lasts but `ENDS_SOON_MS` more, or has `ended`; and whether
    it is a turn of a maintenance window."""

    what: Ending
    silence: Silence
    planned: bool


class SilenceError(ValueError):
    """A matcher, a rule or a span is none. Says which and how to mend it."""


def matcher(text: str) -> Matches:
    """What `service="cart"` or the like holds for. Raises `SilenceError`."""
    name, holds = _parsed(text)
    field = _FIELDS[name]
    return lambda signal: holds(field(signal))


def _parsed(text: str) -> tuple[str, Holds]:
    """The field of a matcher, and which of its values it holds for."""
    found = _MATCHER.fullmatch(text)
    if found is None or found[1] not in _FIELDS:
        raise SilenceError(
            f'{text!r} is no matcher; write name="value", with =, !=, =~ or !~, and one of the '
            f"names {', '.join(_FIELDS)}"
        )
    wanted = found[3] if found[3] is not None else found[4]
    if found[2].endswith("~"):
        try:
            pattern = re.compile(wanted)
        except re.error as error:
            raise SilenceError(f"{text!r}: {error} in the regular expression") from error
        hit: Holds = lambda value: pattern.fullmatch(value) is not None  # noqa: E731
    else:
        hit = lambda value: value == wanted  # noqa: E731
    return found[1], (lambda value: not hit(value)) if found[2].startswith("!") else hit


def named_services(silence: Silence, services: Iterable[str]) -> list[str]:
    """Those of the services that the matchers name; none if no matcher is about services."""
    parsed = (_parsed(text) for text in silence.matchers)
    hits = [holds for name, holds in parsed if name == "service"]
    return [name for name in services if all(hit(name) for hit in hits)] if hits else []


def asked(command: Command, services: Sequence[str], time_ms: int) -> Silence:
    """The silence that a command asks for, of an incident's `services` if it names no matchers.

    It begins now unless it says when. Raises `SilenceError` if it does not say when it ends.
    """
    if command.to_ms is None:
        raise SilenceError("a silence needs `to_ms`, when it ends")
    exact = "|".join(re.escape(name) for name in sorted(services))
    return Silence(
        id=command.id,
        matchers=command.matchers or ((f'service=~"{exact}"',) if services else ()),
        starts_ms=command.from_ms if command.from_ms is not None else time_ms,
        ends_ms=command.to_ms,
        author=command.actor,
        comment=command.text,
    )


def event_words(event: SilenceEvent) -> str:
    """That a silence ends, whose it is, and what it held back, in one sentence."""
    silence, count = event.silence, len(event.incidents)
    how = f"was ended by {event.ended_by}" if event.ended_by else "has ended"
    how = f"{how} at {iso(event.time_ms)}"
    if event.type == "ending":
        how = f"ends at {iso(silence.ends_ms)}"
    some = f"{', '.join(event.incidents[:MOST_NAMED])}{', …' if count > MOST_NAMED else ''}"
    held = f"{count} incident{'s' * (count != 1)}: {some}" if count else "no incident"
    why = f" ({silence.comment})" if silence.comment else ""
    return (
        f"silence {silence.id} of {silence.author}{why} {how}: "
        f"{' and '.join(silence.matchers)}; it held back {held}"
    )


class Window:
    """A maintenance window on its wall clock.

    Raises `SilenceError` for a zone or a rule that is none.
    """

    def __init__(self, planned: Maintenance) -> None:
        self.planned = planned
        try:
            self._zone = ZoneInfo(planned.timezone)
            self._start = datetime.fromisoformat(planned.start)
            self._rule = self._recurrence()
        except (ValueError, OSError, KeyError, TypeError) as error:
            raise SilenceError(f"maintenance {planned.name!r}: {error}") from error
        self._span = timedelta(hours=planned.hours)

    def _recurrence(self) -> rrule | rruleset | None:
        if self.planned.rrule is None:
            return None
        return rrulestr(self._local(self.planned.rrule), dtstart=self._start, cache=True)

    def _local(self, rule: str) -> str:
        """The rule on the wall clock, for dateutil. Raises `ValueError` if it is too dear.

        An UNTIL in UTC is what RFC 5545 (3.3.10) wants with a zone; dateutil takes it only where
        the start has a zone too, and then turns keep their distance and not their local time.
        """
        if any(int(found[1]) < 1 for found in _INTERVAL.finditer(rule)):
            raise ValueError(f"rrule {rule!r}: INTERVAL must be 1 or more")
        if found := _TOO_OFTEN.search(rule):
            raise ValueError(
                f"rrule {rule!r}: {found[0]} recurs too often for a window; use FREQ=HOURLY or a "
                "rarer one, with BYMINUTE for several in an hour"
            )
        return _UNTIL_UTC.sub(self._local_moment, rule)

    def _local_moment(self, found: re.Match[str]) -> str:
        moment = datetime.strptime(found[1].upper(), "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        return f"{moment.astimezone(self._zone):%Y%m%dT%H%M%S}"

    def turn_at(self, time_ms: int) -> tuple[int, int] | None:
        """Start and end of the turn that is on, or of the next one; None if none is to come.

        The length is real time: a window of 4 h over the change of the clocks lasts 4 h.
        """
        # A day more than the span, for what the clocks may have been put forward or back.
        early = datetime.fromtimestamp(time_ms / 1000, UTC) - self._span - timedelta(days=1)
        local = early.astimezone(self._zone).replace(tzinfo=None)
        starts: Iterable[datetime] = (
            [self._start] if self._rule is None else self._rule.xafter(local, inc=True)
        )
        for start in starts:
            begins = start.replace(tzinfo=self._zone).astimezone(UTC)
            ends_ms = round((begins + self._span).timestamp() * 1000)
            if ends_ms > time_ms:
                return round(begins.timestamp() * 1000), ends_ms
        return None


class Silences:
    """All that is silenced or will be. Times that it is asked about never go back.

    Raises `SilenceError` for a window that is none.
    """

    def __init__(self, planned: Sequence[Maintenance]) -> None:
        self._windows = [Window(maintenance) for maintenance in planned]
        self._turns: dict[str, Silence] = {}
        self._by_people: dict[str, Silence] = {}
        self._matchers: dict[str, tuple[Matches, ...]] = {}
        for window in self._windows:
            for text in window.planned.matchers:
                self._matches((text,))

    @property
    def by_people(self) -> list[Silence]:
        """What people have silenced and what has not ended; the whole state."""
        return list(self._by_people.values())

    def load(self, silences: Iterable[Silence]) -> None:
        """Takes what `by_people` gave."""
        self._by_people = {silence.id: silence for silence in silences}

    def add(self, silence: Silence) -> None:
        """Silences from now on. Raises `SilenceError` if it is none, or if there are too many."""
        if not silence.matchers:
            raise SilenceError("a silence needs at least one matcher; it would hide everything")
        self._matches(silence.matchers)
        if silence.ends_ms <= silence.starts_ms:
            raise SilenceError(f"it would end at {iso(silence.ends_ms)}, before it begins")
        if len(self._by_people) >= MOST:
            raise SilenceError(f"there are {MOST} silences already; end some")
        self._by_people[silence.id] = silence

    def end(self, name: str) -> Silence:
        """Ends a person's silence now. Raises `SilenceError` if there is none of that id."""
        silence = self._of_person(name)
        del self._by_people[name]
        return silence

    def move_end(self, name: str, ends_ms: int | None, time_ms: int) -> None:
        """Lets a person's silence end at another time. Raises `SilenceError` if that cannot be."""
        silence = self._of_person(name)
        if ends_ms is None or ends_ms <= max(time_ms, silence.starts_ms):
            raise SilenceError(f"{name} needs a `to_ms`, when it ends, that is to come")
        self._by_people[name] = replace(silence, ends_ms=ends_ms)

    def _of_person(self, name: str) -> Silence:
        silence = self._by_people.get(name)
        if silence is None:
            raise SilenceError(f"there is no silence {name or '(`into` is empty)'}")
        return silence

    def known(self, time_ms: int) -> list[Silence]:
        """All that is on or to come, the next turn of each window, by start."""
        turns = [turn for window in self._windows if (turn := self._turn(window, time_ms))]
        people = [s for s in self._by_people.values() if s.ends_ms > time_ms]
        return sorted([*turns, *people], key=lambda s: (s.starts_ms, s.id))

    def forget(self, time_ms: int) -> list[Silence]:
        """Drops the silences of people that have ended by now, and gives them."""
        ended = [s for s in self._by_people.values() if s.ends_ms <= time_ms]
        for silence in ended:
            del self._by_people[silence.id]
        return ended

    def turns_ended(self, after_ms: int, time_ms: int) -> list[Silence]:
        """The turns of maintenance windows that have ended since `after_ms`, and by now."""
        ended: list[Silence] = []
        for window in self._windows:
            moment_ms = after_ms
            for _ in range(MOST_TURNS):
                turn = self._turn(window, moment_ms)
                if turn is None or turn.ends_ms > time_ms:
                    break
                ended.append(turn)
                moment_ms = turn.ends_ms
        return ended

    def ends(self, after_ms: int | None, time_ms: int) -> list[End]:
        """What has ended since `after_ms`, which is forgotten, and what has come near its end."""
        turns = [] if after_ms is None else self.turns_ended(after_ms, time_ms)
        ended = [*((s, True) for s in turns), *((s, False) for s in self.forget(time_ms))]
        ended.sort(key=lambda each: (each[0].ends_ms, each[0].id))
        ending = [] if after_ms is None else self._ending(after_ms, time_ms)
        return [End("ended", *each) for each in ended] + [End("ending", *each) for each in ending]

    def _ending(self, after_ms: int, time_ms: int) -> list[tuple[Silence, bool]]:
        turns = [(turn, True) for w in self._windows if (turn := self._turn(w, time_ms))]
        known = [*turns, *((silence, False) for silence in self._by_people.values())]
        return [
            (silence, planned)
            for silence, planned in known
            if after_ms < silence.ends_ms - ENDS_SOON_MS <= time_ms
            and silence.starts_ms < silence.ends_ms - ENDS_SOON_MS
        ]

    def next_change_ms(self, time_ms: int) -> int | None:
        """The next moment at which a silence begins or ends; None if there is none."""
        moments = [m for s in self.known(time_ms) for m in (s.starts_ms, s.ends_ms)]
        return min((moment for moment in moments if moment > time_ms), default=None)

    def next_told_ms(self, time_ms: int) -> int | None:
        """The next moment at which there may be something to do or to say of a silence."""
        soon = (s.ends_ms - ENDS_SOON_MS for s in self.known(time_ms))
        moments = [moment for moment in soon if moment > time_ms]
        change_ms = self.next_change_ms(time_ms)
        return min([*moments, *([] if change_ms is None else [change_ms])], default=None)

    def covering(self, signals: Sequence[Signal], time_ms: int) -> Silence | None:
        """The silence that matches these signals, the longest one of them, if each has one."""
        active = [s for s in self.known(time_ms) if s.starts_ms <= time_ms]
        if not active or not signals:
            return None
        used = []
        for signal in signals:
            own = [s for s in active if all(hit(signal) for hit in self._matches(s.matchers))]
            if not own:
                return None
            used += own
        return max(used, key=lambda s: (s.ends_ms, s.id))

    def _turn(self, window: Window, time_ms: int) -> Silence | None:
        """The window's turn that is on or comes next; kept until it has ended."""
        planned = window.planned
        kept = self._turns.get(planned.name)
        if kept is not None and time_ms < kept.ends_ms:
            return kept
        turn = window.turn_at(time_ms)
        if turn is None:
            return None
        made = Silence(
            id=f"{planned.name}/{iso(turn[0])}",
            matchers=planned.matchers,
            starts_ms=turn[0],
            ends_ms=turn[1],
            author=planned.author or "configuration",
            comment=planned.comment or planned.name,
        )
        self._turns[planned.name] = made
        return made

    def _matches(self, texts: tuple[str, ...]) -> tuple[Matches, ...]:
        key = "\0".join(texts)
        if key not in self._matchers:
            self._matchers[key] = tuple(matcher(text) for text in texts)
        return self._matchers[key]
