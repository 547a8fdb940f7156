"""Which open incident a new one follows from, so that it wakes nobody: parents suppress children.

Three rules, all kept here and in `Ledger`:

- Only alerting, never measuring: what is suppressed is opened, correlated, graded, logged and shown
  as ever.
- Only creation, never resolution: whether an incident is suppressed is decided when it is opened or
  comes back; from then on that can only end, and its own end is told like any other.
- By the parent's true state, whether anybody was told of the parent or not. So a suppressed parent
  suppresses, too, and what follows from it is told once the parent is out of order no more.

Pure.
"""

from collections.abc import Iterable, Mapping

from schemas.incidents import Severity, Signal
from streams.dossier import Dossier
from streams.graph import ServiceGraph
from streams.lifecycle import Rules, is_quiet
from streams.signs import CARRIED, TELLS_NOTHING, meaning
from streams.together import TOGETHER_MS


def parent_of(
    child: Dossier,
    dossiers: Mapping[str, Dossier],
    graph: ServiceGraph,
    end_ms: int,
    rules: Rules,
) -> str | None:
    """The incident that all of this one follows from, the present one as long as it does; of
    several the gravest, then the oldest; None if there is none."""
    found = [
        parent
        for parent in dossiers.values()
        if _may_suppress(parent, child, end_ms, rules) and _explains(parent, child, graph)
    ]
    best = min(
        found,
        key=lambda p: (p.id != child.suppressed_by, severity_of(p), p.opened_ms, p.id),
        default=None,
    )
    return None if best is None else best.id


def joined_by(
    late: Dossier,
    dossiers: Mapping[str, Dossier],
    graph: ServiceGraph,
    end_ms: int,
    rules: Rules,
) -> Dossier | None:
    """The incident of which a new one is a late symptom: near by, it goes on and explains all of
    the new one. The gravest, then the oldest; None if there is none.

    Not one that is silenced, unless the new one is, too: with what nobody silenced it would be
    told. What is graver joins only if all of it is what a callee hands up, and nobody has graded
    the incident: what is worse would be slept through. A suppressed one is let go as it grows
    graver than its own parent, or stays as that explains both.
    """
    found = [
        parent
        for parent in dossiers.values()
        if _goes_on_before(parent, late, end_ms, rules)
        and (parent.silence is None or late.silence is not None)
        and (severity_of(parent) <= late.severity or _may_grow_worse(parent, late))
        and _is_near(parent, late, graph, rules)
        and _explains(parent, late, graph)
    ]
    return min(found, key=lambda p: (p.severity, p.opened_ms, p.id), default=None)


def _may_grow_worse(parent: Dossier, late: Dossier) -> bool:
    carried = all(meaning(signal) in CARRIED for signal in late.trusted_signals())
    return carried and parent.override is None


def _is_near(parent: Dossier, late: Dossier, graph: ServiceGraph, rules: Rules) -> bool:
    """Whether each service is at most so many hops from one that is surely out of order."""
    return all(
        not graph.near(name, rules.max_distance).keys().isdisjoint(parent.drawn_in)
        for name in late.drawn_in
    )


def severity_of(dossier: Dossier) -> Severity:
    """How grave it is, after people as after the matrix."""
    return dossier.override or dossier.severity


def _may_suppress(parent: Dossier, child: Dossier, end_ms: int, rules: Rules) -> bool:
    """Whether it was there before, is truly out of order now, and is no less grave, so that nobody
    sleeps through what is worse than they know of."""
    graver = severity_of(parent) <= severity_of(child)
    return graver and _goes_on_before(parent, child, end_ms, rules)


def _goes_on_before(parent: Dossier, child: Dossier, end_ms: int, rules: Rules) -> bool:
    return (
        (parent.opened_ms, parent.id) < (child.opened_ms, child.id)
        and not parent.is_over
        and not is_quiet(parent, end_ms, rules)
    )


def _explains(parent: Dossier, child: Dossier, graph: ServiceGraph) -> bool:
    """Whether each service of the child may be out of order because of one of the parent's."""
    since_ms: dict[str, int] = {}
    for signal in parent.trusted_signals():
        if meaning(signal) not in TELLS_NOTHING:
            known_ms = since_ms.get(signal.service, signal.first_ms)
            since_ms[signal.service] = min(known_ms, signal.first_ms)
    signs: dict[str, list[Signal]] = {}
    for signal in child.trusted_signals():
        signs.setdefault(signal.service, []).append(signal)
    return bool(signs) and all(
        any(
            min(s.first_ms for s in own) >= began_ms - TOGETHER_MS - parent.pace_ms
            and _reaches(source, service, own, graph)
            for source, began_ms in since_ms.items()
        )
        for service, own in signs.items()
    )


def _reaches(source: str, service: str, signs: Iterable[Signal], graph: ServiceGraph) -> bool:
    """Whether trouble of `source` would show so on `service`: a failing callee hands up failures
    and slowness, a failing caller fewer requests. Two that call each other explain nothing."""
    kinds = {meaning(sign) for sign in signs}
    above, below = graph.above(service), graph.below(service)
    if source in below and source not in above:
        return kinds <= CARRIED | {"traffic"}
    return source in above and source not in below and kinds <= {"traffic"}
