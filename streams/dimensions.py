"""Classifies an incident in dimensions beside its grade, each with its arithmetic. Pure.

Technical severity, business impact and scope are read off the same signals and counts as the
grade, and the catalogue. How hard the recovery will be and how long it lasts is what closed
incidents teach, or what somebody said; where nothing is known, that is said.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from schemas.classification import (
    BusinessImpact,
    Classification,
    GradingStep,
    TechnicalSeverity,
)
from schemas.configuration import GradingRules, Service
from schemas.outlook import Outlook
from schemas.times import duration, stamp
from streams.classify import DEFAULT, SIGN_WORDS, TIER_POINTS, UNKNOWN_TIER, scored
from streams.dossier import Dossier
from streams.harm import Harm, harms_of, reached
from streams.outlook import COVERAGE, Lessons
from streams.scope import scope_of
from streams.words import some

Steps = tuple[GradingStep, ...]

TECHNICAL: tuple[TechnicalSeverity, ...] = ("none", "minor", "major", "critical")
BUSINESS: tuple[BusinessImpact, ...] = ("none", "low", "medium", "high")
BUSINESS_STEPS = (1, 3, 5)


def classification_of(
    dossier: Dossier,
    catalogue: Mapping[str, Service],
    currency: str,
    rules: GradingRules = DEFAULT,
) -> Classification:
    """What facts alone say; what is learned is added by `with_outlook`."""
    harm = max(harms_of(dossier), key=lambda each: each.points)
    technical, technical_steps = _technical(harm)
    business, business_steps = _business(dossier, harm, catalogue, currency, rules)
    scope, scope_steps = scope_of(dossier, catalogue)
    return Classification(
        technical=technical,
        business=business,
        scope=scope,
        steps={"technical": technical_steps, "business": business_steps, "scope": scope_steps},
    )


def _technical(harm: Harm) -> tuple[TechnicalSeverity, Steps]:
    """The worst that requests suffer at any one service."""
    level, at = TECHNICAL[harm.points], harm.service
    sign = SIGN_WORDS[harm.sign] if harm.sign else ""
    felt = (
        ("failing", harm.errors, f"of {harm.requests:,} requests counted at {at}"),
        ("reported", harm.reported_ratio, f"share that fails as {at} reports, at worst"),
        ("slower", harm.slow_seconds, f"seconds a request to {at}, at worst"),
        ("missing", harm.lost_ratio, f"share of the requests to {at}, at worst"),
        ("sign", 1 if sign else 0, f"{at} shows {sign}"),
    )
    points = (
        harm.failing_points,
        harm.reported_points,
        harm.slow_points,
        harm.lost_points,
        1 if sign else 0,
    )
    steps = [
        GradingStep(name, float(value), source, f"{got} of 3")
        for (name, value, source), got in zip(felt, points, strict=True)
        if value
    ]
    source = "the most of the above; 1 is minor, 2 major, 3 critical"
    return level, (*steps, GradingStep("technical", float(harm.points), source, level))


def _business(
    dossier: Dossier,
    harm: Harm,
    catalogue: Mapping[str, Service],
    currency: str,
    rules: GradingRules,
) -> tuple[BusinessImpact, Steps]:
    """What the services that are out of order are worth, if anybody feels it."""
    impact = dossier.impact
    known = [catalogue[name] for name in dossier.affected() if name in catalogue]
    first = min(known, key=lambda s: (s.tier, s.name), default=None)
    tier = first.tier if first else UNKNOWN_TIER
    points = [
        TIER_POINTS[tier],
        reached(impact.customers, rules.customer_steps),
        reached(impact.revenue_per_hour, rules.revenue_steps),
    ]
    total = sum(points) if harm.points else 0
    level = BUSINESS[reached(total, BUSINESS_STEPS)]
    rule = "sum of the points above; 1 is low, 3 medium, 5 high"
    steps = [
        *_requests(dossier),
        scored("tier", tier, _catalogued(first) or "the catalogue has none of it", points[0]),
        *_customers(dossier, known, points[1]),
        *_revenue(dossier, known, currency, points[2]),
        GradingStep(
            name="business",
            value=float(total),
            source=rule if harm.points else "users notice nothing so far: no points count",
            result=level,
        ),
    ]
    return level, tuple(steps)


def _requests(dossier: Dossier) -> Steps:
    """How many requests passed the service with most of them while it was out of order."""
    counts = {name: dossier.counts[name] for name in dossier.affected() if name in dossier.counts}
    if not dossier.impact.requests:
        return ()
    name = max(sorted(counts), key=lambda service: counts[service].requests)
    failed = max(sorted(counts), key=lambda service: counts[service].errors)
    errors = f"{counts[failed].errors:,} failed" + (f" at {failed}" if failed != name else "")
    return (
        GradingStep(
            name="requests",
            value=float(dossier.impact.requests),
            source=f"counted at {name} while it was out of order",
            result=errors if dossier.impact.errors else "none counted as failed",
        ),
    )


def _customers(dossier: Dossier, known: Sequence[Service], points: int) -> Steps:
    """Whom it touches, as far as the catalogue says."""
    impact, steps = dossier.impact, []
    if impact.customers:
        most = _catalogued(_most(known, lambda service: service.customers))
        steps.append(scored("customers", impact.customers, most, points))
    for name, values in (("segments", impact.segments), ("regions", impact.regions)):
        if values:
            named = some([service.name for service in known if getattr(service, name)])
            step = GradingStep(name, float(len(values)), f"catalogue: {named}", ", ".join(values))
            steps.append(step)
    return tuple(steps)


def _revenue(dossier: Dossier, known: Sequence[Service], currency: str, points: int) -> Steps:
    amount = dossier.impact.revenue_per_hour
    if not amount:
        return ()
    most = _catalogued(_most(known, lambda service: service.revenue_per_hour))
    return (scored("revenue", amount, f"{currency} an hour at risk, {most}", points),)


def _most(services: Iterable[Service], amount: Callable[[Service], float]) -> Service:
    return max(services, key=lambda service: (amount(service), service.name))


def _catalogued(service: Service | None) -> str:
    return f"catalogue: {service.name}" if service else ""


def with_outlook(found: Classification, dossier: Dossier, lessons: Lessons) -> Classification:
    """The classification with how hard the recovery is and how long it lasts, as learned when it
    was opened or as people say."""
    outlook, expected_ms = dossier.outlook, dossier.expected_resolution_ms
    nothing = GradingStep(
        name="learned from",
        value=float(len(lessons)),
        source=f"closed incidents; before {lessons.least} of them nothing is said",
        result="nothing is known yet",
    )
    lasts_ms = outlook.lasts_ms if outlook else None
    recovery = _learned_recovery(outlook) if outlook else (nothing,)
    lasts = _learned_duration(outlook) if outlook else (nothing,)
    if expected_ms is not None:
        lasts_ms = max(expected_ms - dossier.since_ms(), 0)
        source = "seconds from its first sign, as a person said"
        ends = f"until {stamp(expected_ms)} UTC"
        lasts = (*lasts, GradingStep("expected", lasts_ms / 1000, source, ends))
    return msgspec.structs.replace(
        found,
        recovery=outlook.complexity.value if outlook else None,
        lasts_ms=lasts_ms,
        steps={**found.steps, "recovery": recovery, "duration": lasts},
    )


def _learned_recovery(outlook: Outlook) -> Steps:
    guess = outlook.complexity
    how = "the most frequent of" if "complexity" in outlook.plain else "from"
    source = f"share of such guesses that were right; {how} {outlook.examples} closed incidents"
    return (GradingStep("sure", guess.sure, source, guess.value.replace("_", " ")),)


def _learned_duration(outlook: Outlook) -> Steps:
    how = "the median of" if "duration" in outlook.plain else "from"
    about = GradingStep(
        name="lasts",
        value=outlook.lasts_ms / 1000,
        source=f"seconds; {how} {outlook.examples} closed incidents",
        result=f"about {duration(outlook.lasts_ms)}",
    )
    if outlook.lasts_from_ms is None or outlook.lasts_to_ms is None:
        return (about,)
    span = f"{duration(outlook.lasts_from_ms)} to {duration(outlook.lasts_to_ms)}"
    return about, GradingStep("sure", COVERAGE, "share of such incidents within the span", span)
