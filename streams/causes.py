"""Ranks the services of an incident by how likely each is where the trouble comes from."""

import math
from collections.abc import Iterable, Mapping, Sequence

from schemas.anomalies import AnomalyKind
from schemas.incidents import Cause, Signal
from streams.graph import ServiceGraph
from streams.words import clock, plain, telling

OWN: Mapping[AnomalyKind, float] = {
    "saturation": 2.5,
    "network": 1.5,
    "new_error_template": 1.2,
    "latency": 0.8,
    "error_ratio": 0.8,
    "error_log_rate": 0.6,
    "level": 0.4,
    "silence": 0.4,
    "traffic": 0.2,
}
"""How much a kind of signal, seen on a service, points at that very service. A resource at its
limit is there and nowhere else; slowness and errors are passed on by whoever calls."""

CARRIED: frozenset[AnomalyKind] = frozenset(
    ("latency", "network", "error_ratio", "new_error_template", "error_log_rate")
)
"""Kinds that a failing callee hands up to its callers."""

ONSET_TOLERANCE_MS = 60_000
"""Onsets this near count as one: series report at their own moments, often once a minute."""

FULL_SCORE = 30.0
"""-log10 tail probability from which being further out says no more."""

MAX_CAUSES = 10

CLEAR_WEIGHT = 0.6
OWN_IS_CLEAR = 1.2


def rank(signals: Sequence[Signal], graph: ServiceGraph) -> tuple[Cause, ...]:
    """Causes with weights that sum to 1, likeliest first, each with its evidence in words.

    The points of a service: its own kinds of signal (`OWN`), how far out it is, whether it was
    first, how many of the others call it, and less if something that it calls is out of order
    too. Weights are the softmax of the points.
    """
    by_service: dict[str, list[Signal]] = {}
    for signal in signals:
        by_service.setdefault(signal.service, []).append(signal)
    if not by_service:
        return ()
    first_ms = min(s.first_ms for s in signals)
    found = [(*_judge(name, by_service, first_ms, graph), name) for name in sorted(by_service)]
    found.sort(key=lambda item: (-item[0], item[2]))
    found = found[:MAX_CAUSES]
    top = found[0][0]
    powers = [math.exp(points - top) for points, _, _ in found]
    total = sum(powers)
    weights = [round(power / total, 4) for power in powers]
    weights[0] = round(weights[0] + 1 - sum(weights), 4)
    return tuple(
        Cause(service=name, weight=weight, evidence=evidence)
        for weight, (_, evidence, name) in zip(weights, found, strict=True)
    )


def _judge(
    name: str, by_service: Mapping[str, Sequence[Signal]], first_ms: int, graph: ServiceGraph
) -> tuple[float, tuple[str, ...]]:
    """The points of one service, and why."""
    own = by_service[name]
    kinds = {s.kind for s in own}
    best = max(kinds, key=lambda kind: (OWN[kind], kind))
    points = OWN[best] + 0.2 * sum(OWN[kind] for kind in kinds - {best})
    shown = telling([s for s in own if s.kind == best])
    evidence = [plain(shown)]
    points += min(max(s.score for s in own), FULL_SCORE) / FULL_SCORE
    onset_ms = min(s.first_ms for s in own)
    if onset_ms - first_ms <= ONSET_TOLERANCE_MS:
        points += 0.8
        if len(by_service) > 1:
            evidence.append(f"among the first to change, at {clock(onset_ms)}")
    callers = [n for n in sorted(graph.above(name)) if n in by_service and n != name]
    callers = [n for n in callers if CARRIED & {s.kind for s in by_service[n]}]
    if callers:
        points += min(0.5 * len(callers), 1.5)
        evidence.append(f"called by {', '.join(callers[:4])}, also out of order")
    if "saturation" not in kinds:
        callees = [n for n in sorted(graph.below(name)) if n in by_service and n != name]
        callees = [n for n in callees if n not in graph.above(name)]
        if callees:
            points -= 1.2
            evidence.append(f"but it calls {', '.join(callees[:4])}, out of order itself")
    return points, tuple(evidence)


def is_clear(causes: Sequence[Cause], signals: Iterable[Signal]) -> bool:
    """Whether the first cause stands out, and by a sign that points at that very service."""
    if not causes or causes[0].weight < CLEAR_WEIGHT:
        return False
    return any(s.service == causes[0].service and OWN[s.kind] >= OWN_IS_CLEAR for s in signals)
