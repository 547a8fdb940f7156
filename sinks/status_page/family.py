"""Incidents that were split or merged, as the one that they are to the public. Pure.

What was taken out of an incident, or merged into another one, is shown under the oldest of them,
with all that was said of any, so that nothing stands there twice, and nothing is called over while
a part of it that customers know by the same name goes on.
"""

from collections.abc import Iterable, Sequence

import msgspec

from schemas.incidents import PublicPhase
from sinks.status_page import words
from sinks.status_page.components import STATUS_OF_SEVERITY, PublicComponent, Status, worst
from sinks.status_page.incident import PublicIncident, Stretch, Update

_PHASES: tuple[PublicPhase, ...] = ("investigating", "identified", "monitoring", "resolved")


def gathered(
    incidents: Sequence[PublicIncident], components: Sequence[PublicComponent]
) -> tuple[PublicIncident, ...]:
    """The incidents, those of a family as one, newest first."""
    families: dict[str, list[PublicIncident]] = {}
    heads = _heads(incidents)
    for one in incidents:
        families.setdefault(heads[one.id], []).append(one)
    shown = [_as_one(family, components) for family in families.values()]
    return tuple(sorted(shown, key=lambda one: (-one.opened_ms, one.id)))


def _heads(incidents: Sequence[PublicIncident]) -> dict[str, str]:
    """For each incident one that stands for its family."""
    heads = {one.id: one.id for one in incidents}

    def head(name: str) -> str:
        while heads[name] != name:
            name = heads[name]
        return name

    for one in incidents:
        for other in (one.split_from, one.merged_into):
            if other in heads:
                heads[head(one.id)] = head(other)
    return {one.id: head(one.id) for one in incidents}


def _as_one(
    family: Sequence[PublicIncident], components: Sequence[PublicComponent]
) -> PublicIncident:
    if len(family) == 1:
        return family[0]
    family = sorted(family, key=lambda one: (one.opened_ms, one.id))
    first = family[0]
    going_on = [one for one in family if one.resolved_ms is None]
    counted = going_on or family
    severity = min(one.severity for one in counted)
    touched = frozenset[str]().union(
        *(one.statuses.keys() if going_on else one.component_ids for one in counted)
    )
    symptoms = words.ordered({symptom for one in counted for symptom in one.symptoms})
    names = [component.name for component in components if component.id in touched]
    updates = _updates(family)
    ends = [one.resolved_ms for one in family if one.resolved_ms is not None]
    return msgspec.structs.replace(
        first,
        version=max(one.version for one in family),
        also=tuple(one.id for one in family[1:]),
        name=words.title(names, symptoms, STATUS_OF_SEVERITY[severity]) if names else first.name,
        named=tuple(names) or first.named,
        severity=severity,
        phase=min((one.phase for one in counted), key=_PHASES.index),
        started_ms=min(one.started_ms for one in family),
        updated_ms=max((one.edited_ms for one in updates), default=first.updated_ms),
        monitoring_ms=max((one.monitoring_ms or 0 for one in counted), default=0) or None,
        resolved_ms=None if going_on else max(ends),
        ended_ms=None if going_on else max(one.over_ms or 0 for one in family),
        symptoms=symptoms,
        next_ms=min((one.next_ms for one in going_on if one.next_ms is not None), default=None),
        stretches=_stretches(family),
        updates=updates,
    )


def _updates(family: Sequence[PublicIncident]) -> tuple[Update, ...]:
    """What was said of any of them, without what was said already or is not so yet."""
    kept = [
        msgspec.structs.replace(update, of="" if one is family[0] else one.id)
        for one in family
        for update in one.updates
        if not (update.automatic and _is_idle(one, update, family))
    ]
    return tuple(sorted(kept, key=lambda update: (update.time_ms, update.of, update.version)))


def _is_idle(one: PublicIncident, update: Update, family: Sequence[PublicIncident]) -> bool:
    """Whether our own words are no news beside those of the others: that a part begins, which was
    said with the whole, or that it is over, while the same components are still out."""
    others = [other for other in family if other is not one]
    if update.phase == "resolved":
        if one.merged_into is not None:
            return True
        before = frozenset(change.id for change in update.affected)
        return any(before & _at(other, update.time_ms).keys() for other in others)
    if one.split_from is None or update is not one.updates[0]:
        return False
    mine = _at(one, update.time_ms).keys()
    return any(mine <= _at(other, update.time_ms).keys() for other in others)


def _at(one: PublicIncident, time_ms: int) -> dict[str, Status]:
    """The status of each component that an incident touched at a time."""
    statuses: dict[str, Status] = {}
    for stretch in one.stretches:
        if stretch.from_ms <= time_ms:
            statuses = stretch.statuses
    return statuses


def _stretches(family: Iterable[PublicIncident]) -> tuple[Stretch, ...]:
    """Of each component the worst status that any of them gives it, from moment to moment."""
    family = tuple(family)
    made: list[Stretch] = []
    for time_ms in sorted({stretch.from_ms for one in family for stretch in one.stretches}):
        given = [_at(one, time_ms) for one in family]
        names = dict.fromkeys(name for statuses in given for name in statuses)
        statuses = {name: worst(each[name] for each in given if name in each) for name in names}
        if not made or made[-1].statuses != statuses:
            made.append(Stretch(time_ms, statuses))
    return tuple(made)
