"""What two configurations make of the same history: incidents paired, and where they differ."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from schemas.incidents import Incident, IncidentEvent, Severity

What = Literal[
    "opened_only_by_new",
    "opened_only_by_old",
    "part_of_another",
    "severity",
    "opened_ms",
    "resolved_ms",
    "suspected_cause",
    "services",
    "told",
]

GRACE_MS = 120_000
"""Incidents of the same service so near to each other in time are taken for the same trouble."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One replayed incident: as it was last, its worst severity, and who was told at all."""

    incident: Incident
    worst: Severity
    told: tuple[str, ...] = ()


class Difference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that the new configuration does otherwise; `before` and `after` are for people.

    `old_id` or `new_id` is None where only one of the two has the incident.
    """

    what: What
    old_id: str | None
    new_id: str | None
    title: str
    before: str
    after: str


def lives(log: Iterable[IncidentEvent], told: Mapping[str, Sequence[str]]) -> list[Told]:
    """The incidents of a log by when they opened; `told` has, by incident id, who was told."""
    last: dict[str, Incident] = {}
    worst: dict[str, Severity] = {}
    for event in log:
        incident = event.incident
        last[incident.id] = incident
        worst[incident.id] = min(worst.get(incident.id, "P4"), incident.severity)
    found = [
        Told(incident=incident, worst=worst[name], told=tuple(told.get(name, ())))
        for name, incident in last.items()
    ]
    return sorted(found, key=lambda t: (t.incident.opened_ms, t.incident.id))


def compare(old: Sequence[Told], new: Sequence[Told]) -> list[Difference]:
    """All that differs, by when it happened.

    An incident has its counterpart in the one of the same id, else in the one that overlaps it in
    time and has most services in common. Of several that could be it the nearest in time is; the
    others are part of it.
    """
    partner = _pairs(old, new)
    back = {after: before for before, after in partner.items()}
    found: list[tuple[int, Difference]] = []
    for i, before in enumerate(old):
        j = partner.get(i)
        differences = _alone(before, new) if j is None else _between(before, new[j])
        found += [(before.incident.opened_ms, d) for d in differences]
    for j, after in enumerate(new):
        if j not in back:
            found += [(after.incident.opened_ms, d) for d in _added(after, old)]
    return [difference for _, difference in sorted(found, key=lambda item: item[0])]


def _pairs(old: Sequence[Told], new: Sequence[Told]) -> dict[int, int]:
    possible = [
        (*closeness, i, j)
        for i, before in enumerate(old)
        for j, after in enumerate(new)
        if (closeness := _closeness(before.incident, after.incident)) is not None
    ]
    pairs: dict[int, int] = {}
    for *_, i, j in sorted(possible):
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def _closeness(old: Incident, new: Incident) -> tuple[bool, int, int] | None:
    """How little two incidents have in common, for sorting; None if they are not the same."""
    common = set(old.services) & set(new.services)
    apart_ms = max(old.first_anomaly_ms, new.first_anomaly_ms) - min(
        old.last_anomaly_ms, new.last_anomaly_ms
    )
    if not common or apart_ms > GRACE_MS:
        return None
    return old.id != new.id, -len(common), abs(old.opened_ms - new.opened_ms)


def _alone(before: Told, new: Sequence[Told]) -> list[Difference]:
    whole = _part_of(before, new)
    if whole is not None:
        return [_difference("part_of_another", before, whole, "of its own", "part of it")]
    return [_difference("opened_only_by_old", before, None, _opening(before), "not opened")]


def _added(after: Told, old: Sequence[Told]) -> list[Difference]:
    whole = _part_of(after, old)
    if whole is not None:
        return [_difference("part_of_another", whole, after, "part of it", "of its own")]
    return [_difference("opened_only_by_new", None, after, "not opened", _opening(after))]


def _part_of(one: Told, others: Sequence[Told]) -> Told | None:
    near = [o for o in others if _closeness(one.incident, o.incident) is not None]
    return min(near, key=lambda o: abs(o.incident.opened_ms - one.incident.opened_ms), default=None)


def _between(before: Told, after: Told) -> list[Difference]:
    a, b = before.incident, after.incident
    pairs: list[tuple[What, str, str]] = [
        ("severity", before.worst, after.worst),
        ("opened_ms", str(a.opened_ms), str(b.opened_ms)),
        ("resolved_ms", str(a.resolved_ms), str(b.resolved_ms)),
        ("suspected_cause", _first(a), _first(b)),
        ("services", ", ".join(sorted(a.services)), ", ".join(sorted(b.services))),
        ("told", _names(before.told), _names(after.told)),
    ]
    return [_difference(what, before, after, x, y) for what, x, y in pairs if x != y]


def _difference(
    what: What, before: Told | None, after: Told | None, was: str, now: str
) -> Difference:
    shown = after or before
    return Difference(
        what=what,
        old_id=before.incident.id if before else None,
        new_id=after.incident.id if after else None,
        title=shown.incident.title if shown else "",
        before=was,
        after=now,
    )


def _opening(one: Told) -> str:
    return f"{one.worst}, told: {_names(one.told)}"


def _first(incident: Incident) -> str:
    return incident.suspected_causes[0] if incident.suspected_causes else "unknown"


def _names(told: Sequence[str]) -> str:
    return ", ".join(told) or "nobody"
