"""What people put together or take apart: two incidents that are one, one that is two. Pure."""

from collections.abc import Mapping

from schemas.incidents import Command, EventType
from streams.dossier import Count, Dossier
from streams.identity import split_id
from streams.lifecycle import Rules, phase_after

_SAID: Mapping[str, tuple[str, ...]] = {
    "the severity {0.override} set by {0.override_by}": ("override", "override_by"),
    "the acknowledgement by {0.acknowledged_by}": ("acknowledged_by", "acknowledged_ms"),
    "the public message": ("public_message",),
    "the workaround": ("workaround",),
    "when it should be over": ("expected_resolution_ms",),
    "the reason": ("reason",),
    "the solution": ("solution",),
    "what waits for an approval": ("proposal", "awaits_review"),
}
"""What people say of an incident, in the words of the log, and where it is kept: as a whole."""


def why_not_regrouped(
    command: Command, dossier: Dossier, dossiers: Mapping[str, Dossier]
) -> str | None:
    """Why a merge or a split cannot be; None if it can."""
    if dossier.is_over:
        return f"{dossier.id} is {dossier.state} already"
    if command.type == "merge":
        return _why_not_merged(command, dossier, dossiers.get(command.into or ""))
    return _why_not_split(set(command.services), dossier)


def _why_not_merged(command: Command, dossier: Dossier, into: Dossier | None) -> str | None:
    if into is None or into.is_over:
        return f"there is no open incident {command.into or '(`into` is empty)'} to merge into"
    return "an incident cannot be merged into itself" if into is dossier else None


def _why_not_split(leaving: set[str], dossier: Dossier) -> str | None:
    if not leaving or leaving - set(dossier.seen):
        return f"`services` must be some of {', '.join(dossier.seen)}"
    if not leaving & set(dossier.drawn_in):
        return f"{', '.join(sorted(leaving))} is not surely out of order; nothing to open"
    if leaving >= set(dossier.drawn_in):
        return f"nothing would be left of {dossier.id}"
    return None


def regroup(
    command: Command, dossier: Dossier, dossiers: dict[str, Dossier], end_ms: int, rules: Rules
) -> list[tuple[Dossier, EventType, str]]:
    """Does what a valid merge or split says; what goes into the logs of the two incidents."""
    by = command.actor
    if command.type == "merge":
        into = dossiers[command.into or ""]
        carried = merge(dossier, into, by, end_ms, rules)
        with_it = f" From there come {', '.join(carried)}." if carried else ""
        return [
            (dossier, "resolved", f"{by} merged it into {into.id}; it goes on there."),
            (into, "updated", f"{by} merged {dossier.id} into it.{with_it}"),
        ]
    services = set(command.services)
    new = split(dossier, services, split_id(dossier.id, services, dossiers), end_ms, rules)
    dossiers[new.id] = new
    names = ", ".join(sorted(services))
    return [
        (dossier, "updated", f"{by} took {names} out of it, as {new.id}."),
        (new, "opened", f"{by} took {names} out of {dossier.id}."),
    ]


def merge(source: Dossier, into: Dossier, actor: str, end_ms: int, rules: Rules) -> list[str]:
    """Moves all that `source` holds into `into`, and ends `source`, never to be reopened; names
    what people had said there."""
    _move(source, into, set(source.seen))
    carried = _carry(source, into)
    into.mass = into.mass or source.mass
    source.merged_into = into.id
    source.state, source.resolved_by = "resolved", actor
    source.resolved_end_ms, source.resolved_ms = end_ms, end_ms + rules.lateness_ms
    source.public_phase = phase_after(source.public_phase, "resolved")
    return carried


def take_in(source: Dossier, into: Dossier, end_ms: int) -> None:
    """Moves all that an incident that nobody was told of holds into another, which grows by it."""
    _move(source, into, set(source.seen))
    into.grown_ms = max(into.grown_ms, end_ms)


def _carry(source: Dossier, into: Dossier) -> list[str]:
    """Copies what people have said of `source` and not of `into`; says what, in words.

    Whether customers see it is decided for `into` as ever.
    """
    carried: list[str] = []
    for words, names in _SAID.items():
        if getattr(into, names[0]) is None and getattr(source, names[0]) is not None:
            for name in names:
                setattr(into, name, getattr(source, name))
            carried.append(words.format(source))
    return carried


def split(source: Dossier, services: set[str], name: str, end_ms: int, rules: Rules) -> Dossier:
    """A new dossier `name` with what `source` holds of these services, which it holds no more."""
    new = Dossier(
        id=name,
        opened_ms=end_ms + rules.lateness_ms,
        first_anomaly_ms=min(first for s, (first, _) in source.seen.items() if s in services),
        last_end_ms=0,
        grown_ms=end_ms,
        split_from=source.id,
    )
    _move(source, new, services)
    new.last_end_ms = new.last_end_ms or source.last_end_ms
    for service in services:
        source.seen.pop(service, None)
        source.drawn_in.pop(service, None)
        source.counts.pop(service, None)
        source.felt.pop(service, None)
    for key in [k for k, signal in source.signals.items() if signal.service in services]:
        del source.signals[key]
        source.trusted.pop(key, None)
        source.rare.pop(key, None)
    source.touched = True
    return new


def _move(source: Dossier, into: Dossier, services: set[str]) -> None:
    """Copies signals, services and counts; what both have counts once, from the earlier on."""
    for key, signal in source.signals.items():
        if signal.service in services:
            free = key if key not in into.signals else f"{key}@{source.id}"
            into.signals[free] = signal
            if key in source.rare:
                into.rare[free] = source.rare[key]
            if key in source.trusted:
                into.trusted[free] = None
                into.last_end_ms = max(into.last_end_ms, signal.last_ms)
                into.first_anomaly_ms = min(into.first_anomaly_ms, signal.first_ms)
    for service, (first, last) in source.seen.items():
        if service in services:
            known = into.seen.get(service, (first, last))
            into.seen[service] = (min(known[0], first), max(known[1], last))
    into.drawn_in |= {s: None for s in source.drawn_in if s in services}
    for service, count in source.counts.items():
        if service in services:
            had = into.counts.get(service, Count())
            into.counts[service] = max(had, count, key=lambda c: c.requests)
    into.felt |= {s: felt for s, felt in source.felt.items() if s in services - into.felt.keys()}
    into.pace_ms = into.pace_ms or source.pace_ms
    into.touched = True
