"""How far an incident reaches: a part of one service, the service, several, or a region. Pure."""

from collections.abc import Mapping, Sequence

from schemas.anomalies import AnomalyKind
from schemas.classification import GradingStep, Scope
from schemas.configuration import Service
from schemas.incidents import Signal
from streams.dossier import Dossier
from streams.words import plural, some

REGION_SHARE = 0.8
REGION_LEAST = 3
"""A region is out if so many of its services are, and this share of those in the catalogue."""

REQUESTS: frozenset[AnomalyKind] = frozenset(("latency", "error_ratio", "network"))
"""Kinds that tell of requests, which have an operation and a caller."""


def scope_of(
    dossier: Dossier, catalogue: Mapping[str, Service]
) -> tuple[Scope, tuple[GradingStep, ...]]:
    """How far it reaches by what is surely out of order, and the facts that say so."""
    names = tuple(dossier.drawn_in) or tuple(dossier.affected())
    step = GradingStep(
        name="services",
        value=float(len(names)),
        source=f"surely out of order: {some(names)}",
        result=plural(len(names), "service"),
    )
    if regions := _regions(names, catalogue):
        return "region", (step, *regions)
    if len(names) > 1:
        return "services", (step,)
    scope, within = _within(dossier.trusted_signals())
    return scope, (step, *within)


def _within(signals: Sequence[Signal]) -> tuple[Scope, tuple[GradingStep, ...]]:
    """The part of one service that is out, if all signals are of that part.

    The series of a whole service are out of order with those of its operations, so they tell
    nothing against it where a single operation stands out.
    """
    instances = sorted({s.instance for s in signals if s.instance})
    operations = sorted({s.operation for s in signals if s.operation})
    callers = sorted({s.caller for s in signals if s.caller})
    if len(instances) == 1 and all(s.instance for s in signals):
        return "instance", (_only("instance", f"all signals are of {instances[0]}"),)
    if len(operations) == 1 and all(s.kind in REQUESTS for s in signals):
        return "operation", (_only("operation", f"none but {operations[0]} stands out"),)
    found = (("instance", instances), ("operation", operations), ("caller", callers))
    return "service", tuple(
        GradingStep(f"{name}s", float(len(named)), some(named), plural(len(named), name))
        for name, named in found
        if named
    )


def _only(part: str, source: str) -> GradingStep:
    return GradingStep(f"{part}s", 1.0, source, f"one {part}")


def _regions(names: Sequence[str], catalogue: Mapping[str, Service]) -> tuple[GradingStep, ...]:
    """The regions of which so much is out that it is the region's outage."""
    there: dict[str, set[str]] = {}
    for service in catalogue.values():
        for region in service.regions:
            there.setdefault(region, set()).add(service.name)
    steps = []
    for region, services in sorted(there.items()):
        out = len(services & set(names))
        if out >= REGION_LEAST and out >= REGION_SHARE * len(services):
            source = f"{out} of the {len(services)} services that the catalogue has in {region}"
            steps.append(GradingStep("region", out / len(services), source, f"{region} is out"))
    return tuple(steps)
