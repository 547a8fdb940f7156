"""Tells the whole story of one incident from its log, in text that can be read aloud."""

from collections.abc import Mapping, Sequence

from schemas.classification import Classification, DimensionName, GradingStep
from schemas.incidents import Incident, IncidentEvent, Signal
from schemas.printable import one_line
from schemas.times import clock, duration, stamp
from streams.words import number, plain, plural

MAX_SIGNALS = 20
DIMENSIONS: Mapping[DimensionName, str] = {
    "technical": "technical severity",
    "business": "business impact",
    "scope": "scope",
    "recovery": "recovery complexity",
    "duration": "expected duration",
}


def explain(events: Sequence[IncidentEvent]) -> str:
    """Why the incident was opened, how it was graded, what is suspected, and what happened when.

    `events` are those of one incident in any order. Raises `ValueError` if there are none, or if
    they are of several incidents.
    """
    names = sorted({event.incident_id for event in events})
    if len(names) != 1:
        raise ValueError(f"explain needs the log of one incident, got {', '.join(names) or 'none'}")
    log = sorted(events, key=lambda event: event.version)
    now = log[-1].incident
    parts = [_head(now), _why(log[0].incident), _signals(now), _grading(now)]
    if now.classification is not None:
        parts.append(_classification(now.classification))
    parts.append(_causes(now))
    if now.feedback:
        parts.append(_feedback(now))
    return "\n\n".join([*parts, _timeline(log)]) + "\n"


def _head(incident: Incident) -> str:
    lines = [
        f"{incident.id}  {incident.severity}  {incident.state}",
        one_line(incident.title),
        "",
        one_line(incident.summary),
        "",
        f"first anomaly  {stamp(incident.first_anomaly_ms)} UTC",
        f"opened         {stamp(incident.opened_ms)} UTC"
        f"  ({duration(incident.opened_ms - incident.first_anomaly_ms)} later)",
    ]
    if incident.resolved_ms is not None:
        lines.append(
            f"resolved       {stamp(incident.resolved_ms)} UTC"
            f"  (lasted {duration(incident.last_anomaly_ms - incident.first_anomaly_ms)})"
        )
    if incident.acknowledged_by:
        lines.append(f"acknowledged   by {one_line(incident.acknowledged_by)}")
    return "\n".join(lines)


def _why(first: Incident) -> str:
    lines = [
        f"{_signal(s)}\n          {one_line(s.reason)}".rstrip() for s in _worst(first.signals)
    ]
    return _block("Why it was opened", lines)


def _signals(now: Incident) -> str:
    title = f"What was out of order ({plural(len(now.signals), 'signal')})"
    lines = [_signal(s) for s in _worst(now.signals)]
    if len(now.signals) > MAX_SIGNALS:
        lines.append(f"… and {len(now.signals) - MAX_SIGNALS} more")
    return _block(title, lines)


def _worst(signals: Sequence[Signal]) -> list[Signal]:
    """The furthest out, then in the order in which they began."""
    worst = sorted(signals, key=lambda s: (-s.score, s.series))[:MAX_SIGNALS]
    return sorted(worst, key=lambda s: (s.first_ms, -s.score, s.series))


def _signal(signal: Signal) -> str:
    return (
        f"{clock(signal.first_ms)}  {signal.service}: {one_line(plain(signal))}"
        f"  [{signal.kind.replace('_', ' ')}, score {signal.score:.1f}]\n"
        f"          {one_line(signal.series)}"
    )


def _grading(now: Incident) -> str:
    lines = _steps(now.grading.steps)
    if now.state in ("monitoring", "resolved", "closed"):
        lines.append("That is how bad it was while it went on; what is quiet is not graded anew.")
    return _block(f"Why it is {now.severity}", lines)


def _steps(steps: Sequence[GradingStep]) -> list[str]:
    """The lines of an arithmetic, each number with what it gave and where it came from."""
    return [
        one_line(step.name).ljust(12)
        + f" {_exact(step.value):>8}   {one_line(step.result):<34} {one_line(step.source)}"
        for step in steps
    ]


def _exact(value: float) -> str:
    """A number that others are reckoned from: counts to the last one."""
    return f"{value:,.0f}" if value.is_integer() else number(value)


def _classification(found: Classification) -> str:
    values = {
        "technical": found.technical,
        "business": found.business,
        "scope": found.scope,
        "recovery": (found.recovery or "not known").replace("_", " "),
        "duration": "not known" if found.lasts_ms is None else duration(found.lasts_ms),
    }
    lines = []
    for name, steps in found.steps.items():
        lines.append(f"{DIMENSIONS[name]}: {values[name]}")
        lines += [f"  {line}" for line in _steps(steps)]
    return _block("How it is classified", lines)


def _causes(now: Incident) -> str:
    lines = [
        f"{number(cause.weight, '%'):>6}  {cause.service}\n"
        + "\n".join(f"          - {one_line(line)}" for line in cause.evidence)
        for cause in now.causes
    ]
    return _block("Suspected causes", lines or ["none"])


def _feedback(now: Incident) -> str:
    lines = []
    for bar in now.feedback:
        way = "higher" if bar.shift > 0 else "lower"
        what = "anything" if bar.kind == "any" else f"{bar.kind.replace('_', ' ')} {bar.measure}"
        trust = "; needs no confirmation" if bar.trusted else ""
        lines.append(
            f"{bar.service}: {what} opens from {abs(bar.shift):.1f} {way}{trust}\n"
            f"          {one_line(bar.reason)}"
        )
    return _block("What people's feedback changed", lines)


def _timeline(log: Sequence[IncidentEvent]) -> str:
    lines = []
    for event in log:
        lines.append(
            f"{clock(event.time_ms)}  {event.type.replace('_', ' ')}, by {one_line(event.actor)}"
        )
        if event.text:
            lines.append(f"          {one_line(event.text)}")
        if event.actor != "tocsin":
            lines += [
                f"          {name.replace('_', ' ')}: {one_line(change)}"
                for name, change in event.changes.items()
            ]
    return _block("Timeline", lines)


def _block(title: str, lines: Sequence[str]) -> str:
    return f"{title}\n" + "\n".join(f"  {line}".rstrip() for line in lines)
