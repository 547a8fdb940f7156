"""What belongs together though no call path joins it, by when and how it began."""

from collections.abc import Sequence
from itertools import pairwise

from schemas.anomalies import Anomaly, AnomalyKind
from streams.dossier import VAGUE, Dossier, began
from streams.graph import ServiceGraph

TOGETHER_MS = 90_000
"""What began this near may be one trouble: the time between two reports of a series that comes
once a minute, and a little."""

FELT: frozenset[AnomalyKind] = frozenset(("error_ratio", "latency"))
"""Kinds that tell what those feel who send requests."""

FORETOLD: frozenset[AnomalyKind] = frozenset(("novelty", "forecast"))
"""Kinds that say nothing of anything being out of order now."""

ALONE: frozenset[AnomalyKind] = frozenset(("saturation", "silence", "novelty", "forecast"))
"""Kinds that are a service's own: that others have them too says nothing."""


def is_unplaced(anomaly: Anomaly, graph: ServiceGraph) -> bool:
    """Whether requests of a service fail or are slow that is not in the graph, though others are:
    often a gateway or load balancer that reports for itself and is not traced."""
    return bool(graph) and anomaly.kind in FELT and anomaly.opens and anomaly.service not in graph


def is_front(anomaly: Anomaly, dossier: Dossier, graph: ServiceGraph) -> bool:
    """Whether one of the two may stand in front of the other: it is unknown to the graph, its
    requests fail or are slow, and both began together."""
    if not anomaly.opens or abs(began(anomaly) - dossier.first_anomaly_ms) > TOGETHER_MS:
        return False
    return is_unplaced(anomaly, graph) or bool(
        graph and dossier.drawn_in and not any(name in graph for name in dossier.drawn_in)
    )


def is_like(anomaly: Anomaly, dossier: Dossier, graph: ServiceGraph) -> bool:
    """Whether the incident has a service that does the same since the same time, and whose caller
    or callee is this one's too."""
    return anomaly.opens and any(
        signal.kind == anomaly.kind
        and signal.kind not in (*VAGUE, *ALONE)
        and abs(signal.first_ms - began(anomaly)) <= TOGETHER_MS
        and graph.share(signal.service, anomaly.service)
        for signal in dossier.trusted_signals()
    )


def fronts(anomalies: Sequence[Anomaly], graph: ServiceGraph) -> list[set[str]]:
    """Unplaced services, each with the service that surest went out of order together with it."""
    unplaced = {a.service: began(a) for a in anomalies if is_unplaced(a, graph)}
    placed = [a for a in anomalies if a.service in graph and a.kind not in (*VAGUE, *FORETOLD)]
    found: list[set[str]] = []
    for front, began_ms in unplaced.items():
        behind = [a for a in placed if abs(began(a) - began_ms) <= TOGETHER_MS]
        if behind:
            surest = max(behind, key=lambda a: (a.opens, a.score, a.series))
            found.append({front, surest.service})
    return found


def alike(anomalies: Sequence[Anomaly], graph: ServiceGraph) -> list[set[str]]:
    """Pairs of services that surely do the same since the same time, with a caller or a callee in
    common: what they share is the matter, or what reaches both."""
    sure = [a for a in anomalies if a.opens and a.kind not in (*VAGUE, *ALONE)]
    since_ms = {(a.kind, a.service): began(a) for a in reversed(sure)}
    around: dict[tuple[str, str, str], list[tuple[int, str]]] = {}
    for (kind, service), began_ms in since_ms.items():
        for side, names in (("to", graph.callers(service)), ("by", graph.callees(service))):
            for name in names:
                around.setdefault((kind, side, name), []).append((began_ms, service))
    return [
        {one, other}
        for sharing in around.values()
        for (one_ms, one), (other_ms, other) in pairwise(sorted(sharing))
        if other_ms - one_ms <= TOGETHER_MS
    ]
