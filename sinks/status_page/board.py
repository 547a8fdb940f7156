"""Everything that the pages, the feed and the JSON show at one moment. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.times import DAY_MS
from sinks.status_page.components import PublicComponent, Status, worst
from sinks.status_page.family import gathered
from sinks.status_page.incident import PublicIncident
from sinks.status_page.uptime import Day, Interval, day_of, days, percentage, uptime_ratio

Indicator = Literal["none", "minor", "major", "critical"]

INDICATORS: Mapping[Status, Indicator] = {
    "operational": "none",
    "degraded_performance": "minor",
    "partial_outage": "major",
    "major_outage": "critical",
}
"""Statuspage's word for the whole page, and for an incident's impact."""


@dataclass(frozen=True, slots=True)
class Line:
    """One component as it stands: its bars, and its uptime as a percentage in text.

    `uptime` is None in a component's first day on the page: a share of minutes would mislead.
    """

    component: PublicComponent
    status: Status
    since_ms: int
    changed_ms: int
    days: tuple[Day, ...]
    uptime: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """Components under a common heading; `name` is None for those without one."""

    name: str | None
    status: Status
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """The page at `now_ms`. Incidents are newest first; `updated_ms` is the last change."""

    now_ms: int
    first_day_ms: int
    updated_ms: int
    status: Status
    groups: tuple[Group, ...]
    incidents: tuple[PublicIncident, ...]

    @property
    def lines(self) -> list[Line]:
        """Every component in the order of the page."""
        return [line for group in self.groups for line in group.lines]

    @property
    def open(self) -> list[PublicIncident]:
        """Incidents that are not resolved."""
        return [one for one in self.incidents if one.resolved_ms is None]

    @property
    def past(self) -> list[PublicIncident]:
        """Resolved incidents."""
        return [one for one in self.incidents if one.resolved_ms is not None]


def build(
    components: Sequence[PublicComponent],
    since: Mapping[str, int],
    incidents: Iterable[PublicIncident],
    history_days: int,
    now_ms: int,
) -> Board:
    """Puts the board together; incidents that touch no component of now are left out, and those
    that were split or merged are one."""
    ids = {component.id for component in components}
    shown = gathered([one for one in incidents if one.component_ids & ids], components)
    first_day_ms = first_day(history_days, now_ms)
    lines = [
        _line(component, since.get(component.id, now_ms), shown, first_day_ms, now_ms)
        for component in components
    ]
    changes = [one.updated_ms for one in shown] + [line.since_ms for line in lines]
    return Board(
        now_ms=now_ms,
        first_day_ms=first_day_ms,
        updated_ms=max(changes, default=day_of(now_ms)),
        status=worst(line.status for line in lines),
        groups=_groups(lines),
        incidents=shown,
    )


def first_day(history_days: int, now_ms: int) -> int:
    """The start of the first of `history_days` UTC days of which today is the last."""
    return day_of(now_ms) - (history_days - 1) * DAY_MS


def intervals_of(
    incidents: Iterable[PublicIncident], component_id: str, now_ms: int
) -> list[Interval]:
    """What the incidents did to one component; an open one lasts until now."""
    result = []
    for incident in incidents:
        ends = [stretch.from_ms for stretch in incident.stretches[1:]] + [now_ms]
        for stretch, end_ms in zip(incident.stretches, ends, strict=True):
            status = stretch.statuses.get(component_id)
            if status is not None and stretch.from_ms < end_ms:
                result.append(Interval(stretch.from_ms, end_ms, status))
    return result


def _line(
    component: PublicComponent,
    registered_ms: int,
    incidents: Sequence[PublicIncident],
    first_day_ms: int,
    now_ms: int,
) -> Line:
    mine = [one for one in incidents if component.id in one.component_ids]
    intervals = intervals_of(mine, component.id, now_ms)
    # An incident from before the component was configured says that it was there already.
    since_ms = min([registered_ms, now_ms, *(one.start_ms for one in intervals)])
    start_ms = max(since_ms, first_day_ms)
    return Line(
        component=component,
        status=worst(one.statuses.get(component.id, "operational") for one in mine),
        since_ms=since_ms,
        changed_ms=max([since_ms, *(one.updated_ms for one in mine)]),
        days=tuple(days(intervals, since_ms, first_day_ms, now_ms)),
        uptime=percentage(uptime_ratio(intervals, start_ms, now_ms))
        if now_ms - start_ms >= DAY_MS
        else None,
    )


def _groups(lines: Sequence[Line]) -> tuple[Group, ...]:
    """A group stands where its first component stands."""
    names = dict.fromkeys(line.component.group for line in lines)
    members = {name: [line for line in lines if line.component.group == name] for name in names}
    return tuple(
        Group(name, worst(line.status for line in found), tuple(found))
        for name, found in members.items()
    )
