"""What becomes of a forecast: it comes true, or it is withdrawn; until then nobody is out. Pure."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from schemas.anomalies import Forecast
from schemas.classification import GradingStep
from schemas.configuration import GradingRules, Service
from schemas.incidents import Grading, Prediction, Severity, Signal
from schemas.times import duration
from streams.classify import DEFAULT, TIER_POINTS
from streams.dossier import Dossier

URGENT_MS = 3_600_000
SOON_MS = 6 * 3_600_000
WORST: Severity = "P2"
"""Nobody is out yet, so a forecast is never graded higher."""

Record = dict[str, int]
"""How many forecasts have come true, and how many were withdrawn, by these words."""


def is_prediction(dossier: Dossier) -> bool:
    """Whether there is nothing for certain in the incident but what will be."""
    return bool(dossier.trusted) and not dossier.is_out()


def is_withdrawn(dossier: Dossier) -> bool:
    """Whether what was forecast is not to be feared any more, and nothing else is amiss."""
    prediction = dossier.prediction
    return prediction is not None and prediction.status == "withdrawn" and is_prediction(dossier)


def follow(dossier: Dossier, record: Record, end_ms: int) -> None:
    """Brings the incident's prediction up to its signals, and the record up to what was decided."""
    before = dossier.prediction
    if before is None or (before.status == "withdrawn" and not dossier.is_over):
        if is_prediction(dossier) and (before is not None or dossier.told is None):
            dossier.prediction = _begun(dossier, record) or before
        return
    if before.status != "standing":
        return
    full = _reached(dossier)
    if full is not None:
        now = _decided(before, "came_true", full.first_ms, full.reason)
        dossier.grown_ms = end_ms
    elif (reason := _why_withdrawn(dossier)) is not None:
        now = _decided(before, "withdrawn", end_ms, reason)
    else:
        now = _updated(before, nearest(dossier))
        dossier.prediction = msgspec.structs.replace(now, out=dossier.is_out())
        return
    dossier.prediction = msgspec.structs.replace(now, out=dossier.is_out())
    record[now.status] = record.get(now.status, 0) + 1


def give_up(dossier: Dossier, record: Record, end_ms: int) -> None:
    """Withdraws what still stands when its incident is over."""
    if dossier.prediction is not None and dossier.prediction.status == "standing":
        reason = "nothing says so any more"
        if dossier.resolved_by is not None:
            reason = f"{dossier.resolved_by} resolved it before it could come true"
        dossier.prediction = _decided(dossier.prediction, "withdrawn", end_ms, reason)
        record["withdrawn"] = record.get("withdrawn", 0) + 1


def nearest(dossier: Dossier) -> tuple[Signal, Forecast] | None:
    """The forecast that stands and is to come true first."""
    standing = [(s, f) for s, f in _forecasts(dossier) if f.withdrawn is None]
    return min(standing, key=lambda found: (found[1].reached_ms, found[0].series), default=None)


def _forecasts(dossier: Dossier) -> list[tuple[Signal, Forecast]]:
    """The latest forecast of each series, in the order of when they were told."""
    latest: dict[str, tuple[Signal, Forecast]] = {}
    for signal in sorted(dossier.signals.values(), key=lambda s: (s.last_ms, s.series)):
        if signal.forecast is not None:
            latest.pop(signal.series, None)
            latest[signal.series] = signal, signal.forecast
    return list(latest.values())


def _begun(dossier: Dossier, record: Record) -> Prediction | None:
    first = nearest(dossier)
    if first is None:
        return None
    return Prediction(
        status="standing",
        service=first[0].service,
        series=first[0].series,
        forecast=first[1],
        came_true_before=record.get("came_true", 0),
        withdrawn_before=record.get("withdrawn", 0),
    )


def _updated(before: Prediction, now: tuple[Signal, Forecast] | None) -> Prediction:
    if now is None:
        return before
    signal, forecast = now
    return msgspec.structs.replace(
        before, service=signal.service, series=signal.series, forecast=forecast
    )


def _decided(
    before: Prediction, status: Literal["came_true", "withdrawn"], at_ms: int, reason: str
) -> Prediction:
    return msgspec.structs.replace(before, status=status, decided_ms=at_ms, reason=reason)


def _reached(dossier: Dossier) -> Signal | None:
    """A series of which it was forecast, and which is at its limit now."""
    forecast = {s.series for s in dossier.signals.values() if s.kind == "forecast"}
    full = [s for s in dossier.trusted_signals() if s.kind == "saturation" and s.series in forecast]
    return min(full, key=lambda s: (s.first_ms, s.series), default=None)


def _why_withdrawn(dossier: Dossier) -> str | None:
    """The reason, if every forecast of the incident has been withdrawn."""
    reasons = [forecast.withdrawn for _, forecast in _forecasts(dossier)]
    return None if None in reasons or not reasons else reasons[-1]


def grade_prediction(
    dossier: Dossier, catalogue: Mapping[str, Service], rules: GradingRules = DEFAULT
) -> Grading:
    """The grade of what has not happened yet: how critical its service is, and how soon it is."""
    known = [catalogue[name].tier for name in dossier.drawn_in if name in catalogue]
    tier = min(known, default=3)
    soonest = nearest(dossier)
    left_ms = max(soonest[1].reached_ms - soonest[0].last_ms, 0) if soonest else SOON_MS
    impact = 2 if TIER_POINTS[tier] >= 2 else 3
    urgency = 1 if left_ms <= URGENT_MS else 2 if left_ms <= SOON_MS else 3
    severity = max(rules.matrix[impact - 1][urgency - 1], WORST)
    steps = (
        GradingStep("tier", float(tier), "catalogue; 1 and 2 are impact 2", f"impact {impact}"),
        GradingStep("users feel", 0.0, "it is a forecast: nobody is out yet", "0"),
        GradingStep(
            "time left",
            left_ms / 1000,
            f"{duration(left_ms)}; within an hour is 1, within six is 2",
            f"urgency {urgency}",
        ),
        GradingStep(
            "severity",
            float(severity[1]),
            f"matrix of impact and urgency; a forecast is {WORST} at most",
            f"impact {impact} × urgency {urgency} = {severity}",
        ),
    )
    return Grading(severity=severity, impact=impact, urgency=urgency, steps=steps)
