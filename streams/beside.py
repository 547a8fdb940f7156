"""What only says that something is unusual, and so belongs to what is wrong beside it meanwhile."""

from collections.abc import Sequence

from schemas.anomalies import Anomaly
from streams.dossier import Dossier, began, pace_of
from streams.graph import ServiceGraph
from streams.signs import is_vague
from streams.together import FORETOLD, TOGETHER_MS


def is_beside(anomaly: Anomaly, dossier: Dossier, graph: ServiceGraph, hops: int) -> bool:
    """Whether it is vague, and at most so many hops from what is out of order in the incident, in
    whichever direction calls go.

    Trouble goes along call paths; but what only says that something is unusual does not say that
    there is other trouble, too.
    """
    if not anomaly.opens or not is_vague(anomaly):
        return False
    around = graph.around(anomaly.service, hops)
    return any(name in around for name in dossier.drawn_in)


def vague_ties(anomalies: Sequence[Anomaly], graph: ServiceGraph, hops: int) -> list[set[str]]:
    """Services that only show something unusual, each with one that went out of order at the same
    time: rather one that says what is wrong, then the nearest by calls, then by time.

    One tie each, so that two that say what is wrong are never joined by a vague one between them.
    """
    sure = [a for a in anomalies if a.opens and a.kind not in FORETOLD]
    plain = {a.service for a in sure if not is_vague(a)}
    since_ms: dict[str, int] = {}
    pace_ms: dict[str, int] = {}
    for anomaly in sure:
        name, began_ms = anomaly.service, began(anomaly)
        since_ms[name] = min(since_ms.get(name, began_ms), began_ms)
        pace_ms[name] = max(pace_ms.get(name, 0), pace_of(anomaly))
    found: list[set[str]] = []
    for service, began_ms in since_ms.items():
        if service in plain:
            continue
        near = [
            (name not in plain, distance, abs(since_ms[name] - began_ms), name)
            for name, distance in graph.around(service, hops).items()
            if name in since_ms
            and abs(since_ms[name] - began_ms) <= TOGETHER_MS + max(pace_ms[service], pace_ms[name])
        ]
        if near:
            found.append({service, min(near)[-1]})
    return found
