"""Writes the incident that a dossier amounts to, and says in words what changed since the last."""

from collections.abc import Mapping

from schemas.classification import Classification
from schemas.configuration import Service
from schemas.incidents import EventType, Impact, Incident, Signal
from schemas.times import duration, stamp
from streams.classify import UNKNOWN_TIER, Facts, with_override
from streams.dossier import RUN_GAP_MS, Dossier, ordered
from streams.forecast_words import prediction_changes, record_words
from streams.harm import harms_of
from streams.lifecycle import FLAPS_FROM
from streams.outlook import category_of
from streams.words import clock, number, summary, title

MAX_SERVICES = 200
BESIDE_NEWS = {"technical severity": "technical", "business impact": "business", "scope": "scope"}
"""What the log calls a dimension of the classification. It stands beside other news, and is none by
itself."""
_SAID = (
    ("severity set by", "severity_override_by", "tocsin"),
    ("public message", "public_message", "none"),
    ("workaround", "workaround", "none"),
    ("reason", "reason", "none"),
    ("solution", "solution", "none"),
    ("follows from", "suppressed_by", "nothing"),
    ("acknowledged by", "acknowledged_by", "nobody"),
)
"""What the log calls a field whose change is told as it is, and what it says where it is empty."""


def impact_of(dossier: Dossier, catalogue: Mapping[str, Service], currency: str) -> Impact:
    """What the incident has touched so far.

    One request passes several services, so requests and errors are those of the service with the
    most, not their sum; customers likewise.
    """
    affected = sorted(dossier.affected())
    counts = [dossier.counts[name] for name in affected if name in dossier.counts]
    known = [catalogue[name] for name in affected if name in catalogue]
    revenue = float(max((s.revenue_per_hour for s in known), default=0.0))
    ratios = [c.errors / c.requests for c in counts if c.requests]
    return Impact(
        requests=max((c.requests for c in counts), default=0),
        errors=max((c.errors for c in counts), default=0),
        error_ratio=round(max(ratios, default=0.0), 6),
        customers=max((s.customers for s in known), default=0),
        segments=tuple(sorted({name for s in known for name in s.segments})),
        regions=tuple(sorted({name for s in known for name in s.regions})),
        revenue_per_hour=revenue,
        currency=currency if revenue else "",
    )


def facts_of(
    dossier: Dossier, catalogue: Mapping[str, Service], currency: str, *, grows: bool
) -> list[Facts]:
    """What its severity is made of, as seen from each service that is affected."""
    return [
        Facts(
            services=len(dossier.drawn_in),
            tier=_tier(harm.service, catalogue),
            harm=harm,
            customers=known.customers if known else 0,
            revenue_per_hour=known.revenue_per_hour if known else 0.0,
            currency=currency,
            spreading=grows,
            lasting_seconds=(dossier.last_end_ms - dossier.out_ms()) / 1000,
        )
        for harm in harms_of(dossier)
        for known in [catalogue.get(harm.service)]
    ]


def _tier(name: str, catalogue: Mapping[str, Service]) -> int:
    return catalogue[name].tier if name in catalogue else UNKNOWN_TIER


def draft(dossier: Dossier, environment: str, time_ms: int) -> Incident:
    """The incident as it is to be published, one version after what was told last."""
    causes = dossier.causes
    signals = ordered(dossier.signals.values())
    services = _services(dossier)
    telling = dossier.trusted_signals() or signals
    unusual = sorted(dossier.seen.keys() - set(dossier.affected()))
    return Incident(
        id=dossier.id,
        environment=environment,
        version=dossier.told.version + 1 if dossier.told else 1,
        title=title(telling, services, causes),
        summary=summary(
            telling, services, causes, dossier.impact, dossier.since_ms(), unusual=unusual
        )
        + record_words(dossier.prediction),
        severity=dossier.override or dossier.severity,
        severity_override_by=dossier.override_by,
        grading=with_override(dossier.grading, dossier.override, dossier.override_by),
        impact=dossier.impact,
        state=dossier.state,
        public_phase=dossier.public_phase,
        visibility=dossier.visibility,
        services=services,
        suspected_causes=tuple(c.service for c in causes),
        causes=causes,
        signals=signals,
        opened_ms=dossier.opened_ms,
        first_anomaly_ms=dossier.since_ms(),
        last_anomaly_ms=dossier.last_end_ms,
        updated_ms=time_ms,
        resolved_ms=dossier.resolved_ms,
        closed_ms=dossier.closed_ms,
        acknowledged_ms=dossier.acknowledged_ms,
        acknowledged_by=dossier.acknowledged_by,
        public_message=dossier.public_message,
        workaround=dossier.workaround,
        expected_resolution_ms=dossier.expected_resolution_ms,
        reason=dossier.reason,
        solution=dossier.solution,
        proposal=dossier.proposal,
        awaits_review=dossier.awaits_review,
        approved_by=dossier.approved_by,
        reopened=dossier.reopened,
        flapping=dossier.reopened >= FLAPS_FROM,
        stale=dossier.stale,
        category=dossier.category_set or category_of(telling, dossier.cause),
        category_by=dossier.category_by,
        outlook=dossier.outlook,
        merged_into=dossier.merged_into,
        split_from=dossier.split_from,
        playbook=dossier.playbook,
        playbook_result=dossier.playbook_result,
        silenced_by=dossier.silenced_by,
        silenced_until_ms=dossier.silence.ends_ms if dossier.silence else None,
        silences=tuple(dossier.silences),
        suppressed_by=dossier.suppressed_by,
        prediction=dossier.prediction,
        false_alarm_by=dossier.false_alarm_by,
        feedback=dossier.feedback,
        classification=dossier.classification,
    )


def _services(dossier: Dossier) -> tuple[str, ...]:
    """The services that are affected; the likeliest cause stays among them."""
    names = dossier.affected()
    kept = names[:MAX_SERVICES]
    first = dossier.cause
    if first is not None and first not in kept:
        kept[-1] = first
    return tuple(kept)


def changes(old: Incident, new: Incident) -> dict[str, str]:
    """What a reader would call a change, as `before → after`; empty if there is none."""
    found: dict[str, str] = {}
    for name in ("severity", "state", "public_phase", "visibility", "category"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            found[name] = f"{before} → {after}"
    found.update(_reclassified(old.classification, new.classification))
    added = [name for name in new.services if name not in old.services]
    if added:
        found["services"] = f"{', '.join(old.services)} → also {', '.join(added)}"
    if old.suspected_causes[:1] != new.suspected_causes[:1]:
        found["likely cause"] = f"{_first(old)} → {_first(new)}"
    fresh = _fresh(old, new)
    if fresh:
        found["signals"] = f"{len(old.signals)} → also {', '.join(sorted(fresh))}"
    for label, name, nothing in _SAID:
        before, after = getattr(old, name) or nothing, getattr(new, name) or nothing
        if before != after:
            found[label] = f"{before} → {after}"
    if old.expected_resolution_ms != new.expected_resolution_ms:
        found["expected to be over"] = (
            f"{_by(old.expected_resolution_ms)} → {_by(new.expected_resolution_ms)}"
        )
    found.update(prediction_changes(old.prediction, new.prediction, new.updated_ms))
    if old.false_alarm_by != new.false_alarm_by:
        found["false alarm"] = f"no → says {new.false_alarm_by}"
    return found


def _reclassified(old: Classification | None, new: Classification | None) -> dict[str, str]:
    """The dimensions that people do not set and that are other now; see `BESIDE_NEWS`."""
    if old is None or new is None:
        return {}
    pairs = [(label, getattr(old, name), getattr(new, name)) for label, name in BESIDE_NEWS.items()]
    return {label: f"{before} → {after}" for label, before, after in pairs if before != after}


def _by(time_ms: int | None) -> str:
    return "not known" if time_ms is None else f"by {stamp(time_ms)} UTC"


def _first(incident: Incident) -> str:
    if not incident.causes:
        return "unknown"
    cause = incident.causes[0]
    return f"{cause.service} ({number(cause.weight, '%')})"


def _fresh(old: Incident, new: Incident) -> set[str]:
    """Kinds of signal that a service had not shown, or shows again after a long while."""
    last_ms: dict[str, int] = {}
    for signal in old.signals:
        label = _label(signal)
        last_ms[label] = max(last_ms.get(label, 0), signal.last_ms)
    fresh = set()
    for signal in new.signals:
        label = _label(signal)
        if label not in last_ms:
            fresh.add(label)
        elif signal.first_ms - last_ms[label] > RUN_GAP_MS:
            fresh.add(f"{label} again")
    return fresh


def _label(signal: Signal) -> str:
    return f"{signal.service} {signal.kind.replace('_', ' ')}"


def event_text(
    event_type: EventType,
    incident: Incident,
    changed: Mapping[str, str],
    before: Incident | None = None,
) -> str:
    """One sentence for the log; `before` is the incident as it was told last."""
    text = _happened(event_type, incident, changed)
    if event_type == "unsilenced" and before is not None:
        text = f"{_what_ended(before)}, and it is still out of order. {text}"
    if event_type in ("reopened", "silenced", "unsilenced") and "severity" in changed:
        text += f" Severity: {changed['severity']}."
    return text


def _happened(event_type: EventType, incident: Incident, changed: Mapping[str, str]) -> str:
    match event_type:
        case "opened":
            text = f"{incident.severity}: {incident.summary}"
            if incident.silenced_by:
                text += f" {_silence_of(incident)}"
        case "reopened":
            text = f"Back again after being resolved. {incident.summary}"
            if incident.flapping:
                text += (
                    f" It flaps, and has come back {incident.reopened} times: from now on it must "
                    "stay quiet for longer before it is called resolved."
                )
        case "resolved" if incident.stale:
            text = (
                "Stale: it goes on unchanged since "
                f"{stamp(incident.first_anomaly_ms)} UTC, and nobody has taken it."
            )
        case "resolved" if incident.prediction and incident.prediction.status == "withdrawn":
            text = f"The forecast is withdrawn: {incident.prediction.reason}. Nobody was out."
        case "resolved":
            text = (
                f"Nothing out of order since {clock(incident.last_anomaly_ms)}; it lasted "
                f"{duration(incident.last_anomaly_ms - incident.first_anomaly_ms)}."
            )
            if incident.playbook_result == "worked":
                text += f" The playbook {incident.playbook} had been run."
        case "silenced":
            text = _silence_of(incident)
        case "unsilenced":
            text = incident.summary
        case "closed":
            text = "Closed: it has not come back."
        case _:
            text = _changes_text(changed)
    return text


def _silence_of(incident: Incident) -> str:
    if incident.silenced_until_ms is None:
        return (
            f"It follows from {incident.suppressed_by}, which is out of order upstream, and wakes "
            "nobody while that lasts."
        )
    until = stamp(incident.silenced_until_ms or 0)
    return f"Silenced by {incident.silenced_by} until {until} UTC: it wakes nobody."


def _what_ended(before: Incident) -> str:
    if before.suppressed_by is not None:
        return f"{before.suppressed_by} is out of order no more"
    return f"{before.silenced_by} holds it back no more"


def _changes_text(changed: Mapping[str, str]) -> str:
    told = dict(changed)
    if told.get("public_phase") == told.get("state"):
        told.pop("public_phase", None)
    return "; ".join(f"{name.replace('_', ' ')}: {text}" for name, text in told.items()) + "."
