"""Severity P1 to P4 as impact × urgency, every step of the arithmetic kept."""

from collections.abc import Mapping

import msgspec

from schemas.incidents import Grading, GradingStep, Severity
from streams.dossier import Dossier
from streams.harm import Harm, reached

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
SERVICE_STEPS = (5, 10)
CUSTOMER_STEPS = (1_000, 10_000)
LASTING_STEPS_SECONDS = (300.0, 900.0)
"""What has lasted so long does not pass by itself."""


SIGN_WORDS: Mapping[str, str] = {
    "saturation": "a resource at its limit",
    "new_error_template": "new errors",
    "error_log_rate": "many errors",
    "error_ratio": "failing requests",
    "silence": "no sign of life",
}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What severity is made of.

    `harm` is what users feel at the service where that weighs most, `tier` that service's tier
    and `customers` those of its customers who are known; `spreading` says whether a further
    service was drawn in lately, `lasting_seconds` for how long signals were out of order.
    """

    services: int
    tier: int
    harm: Harm
    customers: int
    spreading: bool
    lasting_seconds: float


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


def weight(tier: int, harm: Harm) -> int:
    """How much the trouble of one service weighs: how critical it is and what its users feel."""
    return TIER_POINTS[tier] + harm.points


def _impact(facts: Facts) -> tuple[int, list[GradingStep]]:
    harm = facts.harm
    tier = TIER_POINTS[facts.tier]
    spread = reached(facts.services, SERVICE_STEPS)
    customers = reached(facts.customers, CUSTOMER_STEPS) if harm.points else 0
    points = tier + harm.points + spread + customers
    impact = 1 if points >= 6 else 2 if points >= 2 else 3
    return impact, [
        _step("tier", facts.tier, f"catalogue: {harm.service}", tier),
        _step("users feel", harm.points, _felt(harm), harm.points),
        _step(
            "customers",
            facts.customers,
            "catalogue; from 1,000 and 10,000, if they feel it",
            customers,
        ),
        _step("services", facts.services, "services surely out of order; from 5 and 10", spread),
        GradingStep(
            name="impact",
            value=float(points),
            source="sum of the points above; 6 or more is 1, 2 or more is 2",
            result=f"impact {impact}",
        ),
    ]


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
    lasting = reached(facts.lasting_seconds, LASTING_STEPS_SECONDS)
    points = felt + trend + lasting
    urgency = 1 if points >= 4 else 2 if points >= 2 else 3
    words = "new, or still spreading" if facts.spreading else "going on"
    return urgency, [
        _step("trend", trend, f"trouble is {words}", trend),
        _step("users feel", felt, "as above, at most 2", felt),
        _step("lasting", facts.lasting_seconds, "seconds; from 300 and 900", lasting),
        GradingStep(
            name="urgency",
            value=float(points),
            source="sum of the points above; 4 or more is 1, 2 or more is 2",
            result=f"urgency {urgency}",
        ),
    ]


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
