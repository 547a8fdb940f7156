"""Severity P1 to P4 as impact × urgency, every step of the arithmetic kept."""

from collections.abc import Mapping, Sequence

import msgspec

from schemas.classification import GradingStep
from schemas.configuration import GradingRules
from schemas.incidents import Grading, Severity
from streams.dossier import Dossier
from streams.harm import Harm, reached
from streams.words import clock, plural

DEFAULT = GradingRules()
TIER_POINTS = {1: 3, 2: 2, 3: 1, 4: 0}
UNKNOWN_TIER = 3
"""Of a service that the catalogue does not have."""
LASTING_STEPS_SECONDS = (300.0, 900.0)
"""What has lasted so long does not pass by itself."""


SIGN_WORDS: Mapping[str, str] = {
    "saturation": "a resource at its limit",
    "new_error_template": "new errors",
    "error_log_rate": "many errors",
    "code_path": "steps of its work left out",
    "report": "trouble that people report",
    "error_ratio": "failing requests",
    "silence": "no sign of life",
}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What severity is made of.

    `harm` is what users feel at one service, `tier` that service's tier, `customers` those of its
    customers who are known and `revenue_per_hour` what it earns, in `currency`; `spreading` says
    whether a further service was drawn in lately, `lasting_seconds` for how long signals were out
    of order.
    """

    services: int
    tier: int
    harm: Harm
    customers: int
    revenue_per_hour: float = 0.0
    currency: str = ""
    spreading: bool
    lasting_seconds: float


def grade(facts: Facts, rules: GradingRules = DEFAULT) -> Grading:
    """The grading of an incident. Any number of `Facts` getting worse never lowers it."""
    impact, impact_steps = _impact(facts, rules)
    urgency, urgency_steps = _urgency(facts)
    severity = rules.matrix[impact - 1][urgency - 1]
    last = GradingStep(
        name="severity",
        value=float(severity[1]),
        source="matrix of impact and urgency",
        result=f"impact {impact} × urgency {urgency} = {severity}",
    )
    return Grading(
        severity=severity,
        impact=impact,
        urgency=urgency,
        steps=(*impact_steps, *urgency_steps, last),
    )


def gravest(found: Sequence[Facts], rules: GradingRules = DEFAULT) -> Grading:
    """The grading from where it is gravest; of equals, from the most critical service whose users
    feel most.

    Each service is graded by itself: were one chosen first, a more critical neighbour whose users
    feel less could make it milder.
    """
    _, grading = min(
        ((facts, grade(facts, rules)) for facts in found),
        key=lambda pair: (
            pair[1].severity,
            pair[1].impact,
            pair[1].urgency,
            -TIER_POINTS[pair[0].tier] - pair[0].harm.points,
        ),
    )
    return grading


def _impact(facts: Facts, rules: GradingRules) -> tuple[int, list[GradingStep]]:
    harm = facts.harm
    tier = TIER_POINTS[facts.tier]
    spread = reached(facts.services, rules.service_steps)
    customers = reached(facts.customers, rules.customer_steps) if harm.points else 0
    revenue = reached(facts.revenue_per_hour, rules.revenue_steps) if harm.points else 0
    points = tier + harm.points + spread + customers + revenue
    impact = 1 if points >= 6 else 2 if points >= 2 else 3
    return impact, [
        scored("tier", facts.tier, f"catalogue: {harm.service}", tier),
        scored("users feel", harm.points, _felt(harm), harm.points),
        scored(
            "customers",
            facts.customers,
            f"catalogue; {_from(rules.customer_steps)}, if they feel it",
            customers,
        ),
        *_revenue(facts, rules, revenue),
        scored(
            "services",
            facts.services,
            f"services surely out of order; {_from(rules.service_steps)}",
            spread,
        ),
        GradingStep(
            name="impact",
            value=float(points),
            source="sum of the points above; 6 or more is 1, 2 or more is 2",
            result=f"impact {impact}",
        ),
    ]


def _revenue(facts: Facts, rules: GradingRules, points: int) -> list[GradingStep]:
    """The line for revenue at risk, where the catalogue says anything of it."""
    if not facts.revenue_per_hour:
        return []
    source = (
        f"{facts.currency} an hour at risk, catalogue: {facts.harm.service}; "
        f"{_from(rules.revenue_steps)}, if users feel it"
    )
    return [scored("revenue", facts.revenue_per_hour, source, points)]


def _from(steps: Sequence[float]) -> str:
    """The steps in words: `from 5 and 10`."""
    return f"from {' and '.join(f'{step:,.10g}' for step in steps)}" if steps else "not counted"


def _felt(harm: Harm) -> str:
    """The harm in words: what counts most of it."""
    if harm.points == 0:
        return f"nothing that users of {harm.service} would notice"
    if harm.failing_points == harm.points:
        return f"{harm.errors:,} of {harm.requests:,} requests fail at {harm.service}"
    if harm.reported_points == harm.points:
        return f"{harm.reported_ratio:.0%} of requests fail, as {harm.service} reports"
    if harm.slow_points == harm.points:
        return f"requests to {harm.service} take {harm.slow_seconds:.2g} s longer"
    if harm.lost_points == harm.points:
        return f"{harm.lost_ratio:.0%} of the requests to {harm.service} stay away"
    return f"nobody counted, but {harm.service} shows {SIGN_WORDS[harm.sign]}"


def _urgency(facts: Facts) -> tuple[int, list[GradingStep]]:
    felt = min(facts.harm.points, 2)
    trend = 2 if facts.spreading else 1
    # What is new counts as lasting later: else it would be urgent twice around the first step, and
    # trouble that does not change would be graded up and down again.
    lasting = max(reached(facts.lasting_seconds, LASTING_STEPS_SECONDS) - facts.spreading, 0)
    points = felt + trend + lasting
    urgency = 1 if points >= 4 else 2 if points >= 2 else 3
    words = "new, or still spreading" if facts.spreading else "going on"
    return urgency, [
        scored("trend", trend, f"trouble is {words}", trend),
        scored("users feel", felt, "as above, at most 2", felt),
        scored(
            "lasting",
            facts.lasting_seconds,
            "seconds; from 300 and 900, one less while new or spreading",
            lasting,
        ),
        GradingStep(
            name="urgency",
            value=float(points),
            source="sum of the points above; 4 or more is 1, 2 or more is 2",
            result=f"urgency {urgency}",
        ),
    ]


def scored(name: str, value: float, source: str, points: int) -> GradingStep:
    """A line that adds points."""
    return GradingStep(
        name=name,
        value=float(value),
        source=source,
        result=f"+{points}" if points else "0",
    )


def hold_severity(dossier: Dossier, graded: Grading, end_ms: int, hold_ms: int) -> None:
    """Writes a new grading into the dossier: a rise at once, a fall once it has lasted `hold_ms`.

    Severity that flickers wakes people for nothing; one that rises late wakes them too late.
    """
    held = dossier.severity
    if dossier.told is None or graded.severity <= held:
        dossier.severity, dossier.lower_since_ms = graded.severity, None
    elif dossier.lower_since_ms is None:
        dossier.lower_since_ms = end_ms
    elif end_ms - dossier.lower_since_ms >= hold_ms:
        dossier.severity, dossier.lower_since_ms = graded.severity, None
        dossier.falls += 1
    steps = list(graded.steps)
    if dossier.lower_since_ms is not None:
        steps.append(_held(dossier, dossier.lower_since_ms + hold_ms, hold_ms))
    dossier.grading = msgspec.structs.replace(graded, severity=dossier.severity, steps=tuple(steps))


def _held(dossier: Dossier, until_ms: int, hold_ms: int) -> GradingStep:
    """The line that says why the grade stays, and until when at the least."""
    why = "seconds for which a lower grade must last"
    if dossier.falls:
        why += f"; longer as it was lowered before, {plural(dossier.falls, 'time')}"
    return GradingStep(
        name="held",
        value=hold_ms / 1000,
        source=why,
        result=f"{dossier.severity} until {clock(until_ms)}",
    )


def with_override(grading: Grading, severity: Severity | None, by: str | None) -> Grading:
    """The grading with a last line that says who overruled it, if someone did."""
    if severity is None:
        return grading
    step = GradingStep(
        name="override", value=float(severity[1]), source=f"set by {by}", result=severity
    )
    return msgspec.structs.replace(grading, steps=(*grading.steps, step))
