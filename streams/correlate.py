"""Which anomalies belong together: near in time and joined by the service graph."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.anomalies import Anomaly
from schemas.incidents import Prediction
from streams.beside import is_beside, vague_ties
from streams.dossier import Dossier, began, sign_of
from streams.graph import ServiceGraph
from streams.lifecycle import Rules, is_quiet
from streams.reports import Change
from streams.shared import has_shared_change, has_shared_line, shared
from streams.together import TOGETHER_MS, alike, fronts, is_front, is_like

SILENT_TOGETHER = 3
"""Services that fall silent at once for one reason: their telemetry, not each of them, is lost."""


class Links(NamedTuple):
    """By what services can belong together: who calls whom, and what was changed lately."""

    graph: ServiceGraph
    changes: Sequence[Change] = ()


def home(
    anomaly: Anomaly, dossiers: Iterable[Dossier], links: Links, rules: Rules, end_ms: int
) -> Dossier | None:
    """The incident that an anomaly belongs to, or None.

    The nearest wins: the same service, then by hops to a service that is out of order in the
    incident; of equals, the one heard of last.
    """
    best: tuple[int, int, str] | None = None
    found = None
    for dossier in dossiers:
        nearness = _nearness(anomaly, dossier, links, rules, end_ms)
        if nearness is None:
            continue
        key = (nearness, -dossier.last_end_ms, dossier.id)
        if best is None or key < best:
            best, found = key, dossier
    return found


def _nearness(
    anomaly: Anomaly, dossier: Dossier, links: Links, rules: Rules, end_ms: int
) -> int | None:
    """0 for the same service, then hops; None if the anomaly is not this incident's.

    Novelty is evidence on a service that is surely out of order, and no reason to draw in another.
    Nor is a forecast: nobody is out yet.
    """
    if not _takes_in(anomaly, dossier, rules, end_ms):
        return None
    if anomaly.kind == "novelty":
        return 0 if anomaly.service in dossier.drawn_in and dossier.is_out() else None
    if anomaly.service in dossier.seen:
        return 0
    if anomaly.kind == "forecast" or (
        dossier.prediction is not None and not _is_due(dossier.prediction, began(anomaly))
    ):
        return None
    if not _is_in_time(anomaly, dossier, links.graph, rules):
        return None
    return _hops(anomaly, dossier, links, rules, end_ms)


def _is_in_time(anomaly: Anomaly, dossier: Dossier, graph: ServiceGraph, rules: Rules) -> bool:
    """Whether a neighbour went out of order near the time at which trouble last spread, not hours
    into it. But people write when they find the time: of a caller, whose users feel it."""
    if anomaly.kind == "report" and not dossier.drawn_in.keys().isdisjoint(
        graph.callees(anomaly.service)
    ):
        return True
    gap_ms = max(rules.gap_ms, 2 * dossier.pace_ms)
    earliest_ms = dossier.first_anomaly_ms - gap_ms
    return earliest_ms <= began(anomaly) <= dossier.grown_ms + gap_ms


def _takes_in(anomaly: Anomaly, dossier: Dossier, rules: Rules, end_ms: int) -> bool:
    """Whether the incident is open and goes on.

    One that has gone quiet takes in nothing but what its likely cause itself shows, by which the
    trouble is not over: what comes elsewhere may be the first sign of the next outage next door
    (but see `is_same_trouble`). Between people and telemetry either may be late: a report goes to
    what is only watched, and telemetry to what rests on reports alone. What only corroborates must
    have begun before the last sure sign was over.
    """
    if dossier.is_over:
        return False
    if is_quiet(dossier, end_ms, rules):
        if anomaly.kind == "report":
            return anomaly.service in dossier.seen
        goes_on = anomaly.service == dossier.cause or _is_only_reported(dossier)
        return anomaly.opens and anomaly.kind != "forecast" and goes_on
    over_ms = dossier.last_end_ms + dossier.pace_ms + TOGETHER_MS
    return anomaly.opens or began(anomaly) <= over_ms


def _is_only_reported(dossier: Dossier) -> bool:
    """Whether nothing but people's reports says for certain that it is out of order."""
    trusted = dossier.trusted_signals()
    return bool(trusted) and all(signal.kind == "report" for signal in trusted)


def _is_due(prediction: Prediction, time_ms: int) -> bool:
    """Whether what was forecast may have happened: until then it draws in no neighbour."""
    return prediction.status == "came_true" or time_ms >= prediction.forecast.earliest_ms


def _hops(
    anomaly: Anomaly, dossier: Dossier, links: Links, rules: Rules, end_ms: int
) -> int | None:
    """Hops from the anomaly to the nearest service that is out of order in the incident."""
    if edge_caller(anomaly) in dossier.callers():
        return 1
    if anomaly.kind == "silence" and len(dossier.silent()) >= SILENT_TOGETHER:
        return 1
    graph = links.graph
    hops = graph.near(anomaly.service, rules.max_distance)
    near = min((hops[name] for name in hops if name in dossier.seen), default=None)
    if near is not None:
        return near
    in_mass = dossier.mass and end_ms - dossier.opened_ms <= rules.gap_ms
    joined = (
        in_mass
        or is_front(anomaly, dossier, graph)
        or is_like(anomaly, dossier, graph)
        or has_shared_line(anomaly, dossier)
        or has_shared_change(anomaly, dossier, links.changes)
        or is_beside(anomaly, dossier, graph, 2 * rules.max_distance)
    )
    return rules.max_distance + 1 if joined else None


def is_same_trouble(group: Sequence[Anomaly], dossier: Dossier, *, surely: bool) -> bool:
    """Whether the likely cause of an incident shows again what it showed before.

    All that the group says for certain of that service must have been there before: a sign of a
    new kind means that something else is wrong now. `surely` asks also that what was strongest
    before is there again. Symptoms elsewhere do not tell: a caller is slow in the same way
    whichever of its callees fails. People's reports are of the trouble that there was on their
    service, as they are slower than telemetry.
    """
    if all(anomaly.kind == "report" for anomaly in group):
        was_real = dossier.is_out() and dossier.false_alarm_by is None
        return was_real and all(anomaly.service in dossier.seen for anomaly in group)
    own = {sign_of(a) for a in group if a.opens and a.service == dossier.cause}
    before = [s for s in dossier.trusted_signals() if s.service == dossier.cause]
    if not own or not own <= {sign_of(signal) for signal in before}:
        return False
    strongest = max(before, key=lambda s: (s.score, s.series, s.kind))
    return not surely or sign_of(strongest) in own


def edge_caller(anomaly: Anomaly) -> str | None:
    """The caller, if the anomaly is one of the edge between it and the service."""
    return anomaly.caller if anomaly.kind == "network" else None


def groups(anomalies: Sequence[Anomaly], links: Links, max_distance: int) -> list[list[Anomaly]]:
    """Splits anomalies into sets joined by service, by a caller whose calls lose time on the way,
    by silence of several at once, by doing the same at once beside one another, by the same line
    of error or the same change, or by at most `max_distance` hops.

    Novelty joins nothing: it goes with what else there is of its service, or stays by itself. The
    sets, and the anomalies in them, keep the order of first appearance.
    """
    services = dict.fromkeys(a.service for a in anomalies if a.kind != "novelty")
    tied = _ties(anomalies, links, max_distance)
    group_of: dict[str, int] = {}
    for number, service in enumerate(services):
        frontier = [service]
        while frontier:
            here = frontier.pop()
            if here in group_of or here not in services:
                continue
            group_of[here] = number
            frontier += links.graph.near(here, max_distance)
            for together in tied.get(here, ()):
                frontier += sorted(together)
    found: dict[int, list[Anomaly]] = {}
    for anomaly in anomalies:
        number = group_of.setdefault(anomaly.service, len(group_of))
        found.setdefault(number, []).append(anomaly)
    return list(found.values())


def _ties(
    anomalies: Sequence[Anomaly], links: Links, max_distance: int
) -> dict[str, list[set[str]]]:
    """By service, the sets of services that it belongs to by anything but call paths."""
    graph = links.graph
    edges: dict[str, set[str]] = {}
    for anomaly in anomalies:
        if (caller := edge_caller(anomaly)) is not None:
            edges.setdefault(caller, set()).add(anomaly.service)
    linked = list(edges.values())
    silent = {a.service for a in anomalies if a.opens and a.kind == "silence"}
    if len(silent) >= SILENT_TOGETHER:
        linked.append(silent)
    linked += [*fronts(anomalies, graph), *alike(anomalies, graph)]
    linked += shared(anomalies, links.changes)
    linked += vague_ties(anomalies, graph, 2 * max_distance)
    tied: dict[str, list[set[str]]] = {}
    for together in linked:
        for name in sorted(together):
            tied.setdefault(name, []).append(together)
    return tied
