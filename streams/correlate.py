"""Which anomalies belong together: near in time and joined by the service graph."""

from collections.abc import Iterable, Sequence

from schemas.anomalies import Anomaly
from streams.dossier import Dossier, began, sign_of
from streams.graph import ServiceGraph
from streams.lifecycle import Rules, monitor_after_ms


def home(
    anomaly: Anomaly, dossiers: Iterable[Dossier], graph: ServiceGraph, rules: Rules, end_ms: int
) -> Dossier | None:
    """The incident that an anomaly belongs to, or None.

    The nearest wins: the same service, then by hops to a service that is out of order in the
    incident; of equals, the one heard of last.
    """
    best: tuple[int, int, str] | None = None
    found = None
    for dossier in dossiers:
        nearness = _nearness(anomaly, dossier, graph, rules, end_ms)
        if nearness is None:
            continue
        key = (nearness, -dossier.last_end_ms, dossier.id)
        if best is None or key < best:
            best, found = key, dossier
    return found


def _nearness(
    anomaly: Anomaly, dossier: Dossier, graph: ServiceGraph, rules: Rules, end_ms: int
) -> int | None:
    """0 for the same service, then hops; None if the anomaly is not this incident's.

    A neighbour belongs to it if it went out of order near the time at which trouble last spread,
    not hours into it. An incident that has gone quiet takes back only what its likely cause showed
    before. Anything else is news: it may be the first sign of the next outage next door.
    """
    if dossier.is_over:
        return None
    if end_ms - dossier.last_end_ms >= monitor_after_ms(dossier, rules):
        return 0 if recurs(anomaly, dossier) else None
    if anomaly.service in dossier.seen:
        return 0
    if began(anomaly) - dossier.grown_ms > rules.gap_ms:
        return None
    return _hops(anomaly, dossier, graph, rules, end_ms)


def _hops(
    anomaly: Anomaly, dossier: Dossier, graph: ServiceGraph, rules: Rules, end_ms: int
) -> int | None:
    """Hops from the anomaly to the nearest service that is out of order in the incident."""
    if edge_caller(anomaly) in dossier.callers():
        return 1
    hops = graph.near(anomaly.service, rules.max_distance)
    near = min((hops[name] for name in hops if name in dossier.seen), default=None)
    if near is None and dossier.mass and end_ms - dossier.opened_ms <= rules.gap_ms:
        return rules.max_distance + 1
    return near


def recurs(anomaly: Anomaly, dossier: Dossier) -> bool:
    """Whether the likely cause shows again what it showed most strongly.

    Symptoms alone do not tell: a caller is slow in the same way whichever of its callees fails.
    """
    return anomaly.opens and sign_of(anomaly) == dossier.main_sign()


def edge_caller(anomaly: Anomaly) -> str | None:
    """The caller, if the anomaly is one of the edge between it and the service."""
    return anomaly.caller if anomaly.kind == "network" else None


def groups(
    anomalies: Sequence[Anomaly], graph: ServiceGraph, max_distance: int
) -> list[list[Anomaly]]:
    """Splits anomalies into sets joined by service, by a caller whose calls lose time on the way,
    or by at most `max_distance` hops.

    The sets, and the anomalies in them, keep the order of first appearance.
    """
    services = dict.fromkeys(a.service for a in anomalies)
    edges: dict[str, set[str]] = {}
    for anomaly in anomalies:
        if (caller := edge_caller(anomaly)) is not None:
            edges.setdefault(caller, set()).add(anomaly.service)
    group_of: dict[str, int] = {}
    for number, service in enumerate(services):
        frontier = [service]
        while frontier:
            here = frontier.pop()
            if here in group_of or here not in services:
                continue
            group_of[here] = number
            frontier += graph.near(here, max_distance)
            for callees in edges.values():
                if here in callees:
                    frontier += sorted(callees)
    found: dict[int, list[Anomaly]] = {}
    for anomaly in anomalies:
        found.setdefault(group_of[anomaly.service], []).append(anomaly)
    return list(found.values())
