"""Severity P1 to P4 as impact × urgency, every step of the arithmetic kept."""

from collections.abc import Mapping

import msgspec

from schemas.incidents import Grading, GradingStep, Severity
from streams.dossier import Dossier

MATRIX: Mapping[tuple[int, int], Severity] = {
    (1, 1): "P1",
    (1, 2): "P2",
    (1, 3): "P3",
    (2, 1): "P2",
    (2, 2): "P3",
    (2, 3): "P4",
    (3, 1): "P3",
    (3, 2): "P4",
    (3, 3): "P4",
}
"""Impact and urgency, 1 (worst) to 3, to severity: the usual ITIL matrix, its last two as one."""

TIER_POINTS = {1: 3, 2: 2, 3: 1, 4: 0}
SERVICE_STEPS = (2, 4, 8)
RATIO_STEPS = (0.01, 0.05, 0.25)
ERROR_STEPS = (10, 100, 1000)
CUSTOMER_STEPS = (100, 1_000, 10_000)
SCORE_STEPS = (10.0, 20.0)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What severity is made of. `tier` is the most critical one touched, `spreading` whether a
    further service was drawn in lately, `active` whether anything is still out of order."""

    services: int
    tier: int
    tier_service: str
    errors: int
    requests: int
    error_ratio: float
    customers: int
    score: float
    score_series: str
    spreading: bool
    active: bool


def grade(facts: Facts) -> Grading:
    """The grading of an incident. Any number of `Facts` getting worse never lowers it."""
    impact, impact_steps = _impact(facts)
    urgency, urgency_steps = _urgency(facts)
    severity = MATRIX[impact, urgency]
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


def _impact(facts: Facts) -> tuple[int, list[GradingStep]]:
    tier = TIER_POINTS[facts.tier]
    spread = _reached(facts.services, SERVICE_STEPS)
    failing = max(
        min(_reached(facts.error_ratio, RATIO_STEPS), _reached(facts.errors, ERROR_STEPS)), 0
    )
    customers = _reached(facts.customers, CUSTOMER_STEPS)
    points = tier + spread + failing + customers
    impact = 1 if points >= 5 else 2 if points >= 3 else 3
    return impact, [
        _step("tier", facts.tier, f"catalogue: {facts.tier_service}", tier),
        _step("services", facts.services, "services with signals", spread),
        _step(
            "error ratio",
            facts.error_ratio,
            f"{facts.errors:,} of {facts.requests:,} requests while out of order",
            failing,
        ),
        _step("customers", facts.customers, "catalogue: customers of the services", customers),
        GradingStep(
            name="impact",
            value=float(points),
            source="sum of the points above; 5 or more is 1, 3 or more is 2",
            result=f"impact {impact}",
        ),
    ]


def _urgency(facts: Facts) -> tuple[int, list[GradingStep]]:
    tier = max(TIER_POINTS[facts.tier] - 1, 0)
    trend = (1 if facts.active else 0) + (1 if facts.active and facts.spreading else 0)
    score = _reached(facts.score, SCORE_STEPS)
    points = tier + trend + score
    urgency = 1 if points >= 4 else 2 if points >= 2 else 3
    words = "spreading" if trend == 2 else "going on" if trend else "quiet"
    return urgency, [
        _step("trend", trend, f"signals are {words}", trend),
        _step("tier", facts.tier, f"catalogue: {facts.tier_service}", tier),
        _step("score", facts.score, f"furthest out: {facts.score_series}", score),
        GradingStep(
            name="urgency",
            value=float(points),
            source="sum of the points above; 4 or more is 1, 2 or more is 2",
            result=f"urgency {urgency}",
        ),
    ]


def _reached(value: float, steps: tuple[float, ...]) -> int:
    """How many of the steps the value reaches."""
    return sum(value >= step for step in steps)


def _step(name: str, value: float, source: str, points: int) -> GradingStep:
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
    steps = list(graded.steps)
    if dossier.severity != graded.severity:
        steps.append(
            GradingStep(
                name="held",
                value=hold_ms / 1000,
                source="seconds for which a lower grade must last",
                result=f"{dossier.severity} stays for now",
            )
        )
    dossier.grading = msgspec.structs.replace(graded, severity=dossier.severity, steps=tuple(steps))


def with_override(grading: Grading, severity: Severity | None, by: str | None) -> Grading:
    """The grading with a last line that says who overruled it, if someone did."""
    if severity is None:
        return grading
    step = GradingStep(
        name="override", value=float(severity[1]), source=f"set by {by}", result=severity
    )
    return msgspec.structs.replace(grading, steps=(*grading.steps, step))
