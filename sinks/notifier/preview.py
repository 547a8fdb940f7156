"""Every message that one incident can lead to, for every audience, segment and language. Pure.

From the latest state of an incident each stage of its life is made up again as it would have been
told; where a person has written nothing, a sample stands in.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

import msgspec

from schemas.configuration import Catalogue, Recipient
from schemas.incidents import EventType, Incident, IncidentEvent, PublicPhase, State
from schemas.oncall import Cadence
from sinks.notifier.cadence import make
from sinks.notifier.language import language
from sinks.notifier.messages import Ask, Stage
from sinks.notifier.words import PHASES, Phase, Writer

AUDIENCES: tuple[Literal["engineer", "manager", "support"], ...] = (
    "engineer",
    "manager",
    "support",
)

_STATES: Mapping[Stage, State] = {
    "opened": "investigating",
    "resolved": "resolved",
    "follow_up": "resolved",
    "final": "closed",
}
_TYPES: Mapping[Stage, EventType] = {
    "unacknowledged": "updated",
    "no_change": "updated",
    "retracted": "updated",
    "final": "closed",
}
"""The events that bring those stages that are no event themselves."""
_WRITTEN = ("public_message", "workaround", "reason", "solution")
_NEEDS: Mapping[Stage, tuple[str, ...]] = {
    "public_message": ("public_message",),
    "workaround": ("workaround",),
    "follow_up": ("reason", "solution"),
}
"""What only a person can give, and without which a stage is not told."""


class Preview(msgspec.Struct, frozen=True):
    """One message. `audience` is `customer:SEGMENT` for a customer segment; `sample` says that
    words which a person is to write are made up."""

    incident_id: str
    type: Stage
    stage: Phase
    audience: str
    segment: str | None
    language: str
    subject: str
    text: str
    sample: bool = False


def previews(
    incident: Incident,
    catalogue: Catalogue,
    writer: Writer,
    *,
    languages: Sequence[str],
    time_zone: str = "UTC",
    cadence: Cadence | None = None,
) -> Iterator[Preview]:
    """The messages, by audience, language and stage. Raises jinja2.TemplateError."""
    for reader in readers(incident, catalogue):
        for code in languages:
            recipient = msgspec.structs.replace(reader, language=code, time_zone=time_zone)
            for stage, phase in PHASES.items():
                event = event_at(incident, stage, code)
                said = writer.write(
                    Ask(
                        stage=stage,
                        recipient=recipient,
                        rule="preview",
                        event=event,
                        first=stage == "opened",
                        next_update_ms=promised_ms(event, cadence or Cadence()),
                    )
                )
                yield Preview(
                    incident_id=incident.id,
                    type=stage,
                    stage=phase,
                    audience=reader.name,
                    segment=reader.segment,
                    language=code,
                    subject=said.subject,
                    text=said.text,
                    sample=bool(samples(incident, stage)),
                )


def readers(incident: Incident, catalogue: Catalogue) -> Iterator[Recipient]:
    """One of each audience, and one of each customer segment that the incident touches."""
    for audience in AUDIENCES:
        yield Recipient(name=audience, channel="console", audience=audience)
    known = {s.name: s for s in catalogue.services}
    of_services = (s for name in incident.services if name in known for s in known[name].segments)
    segments = tuple(dict.fromkeys((*of_services, *incident.impact.segments)))
    for segment in segments or (None,):
        name = f"customer:{segment}" if segment else "customer"
        yield Recipient(name=name, channel="console", audience="customer", segment=segment)


def event_at(incident: Incident, stage: Stage, code: str) -> IncidentEvent:
    """The event that would bring a stage, with the incident as it would be then."""
    sample = language(code, "UTC").phrase
    state = _STATES.get(stage, "identified" if incident.causes else "investigating")
    is_over = state in ("resolved", "closed")
    phase: PublicPhase = "resolved" if state == "closed" else state
    last_ms = max(incident.opened_ms, incident.last_anomaly_ms)
    ended_ms = incident.resolved_ms or last_ms
    time_ms = incident.opened_ms if stage == "opened" else ended_ms if is_over else last_ms
    someone = sample("samples", "engineer")
    made_up = {field: sample("samples", field) for field in samples(incident, stage)}
    said = {field: made_up.get(field) or getattr(incident, field) for field in _WRITTEN}
    if stage != "public_message":
        said["public_message"] = None
    if stage == "opened":
        said["workaround"] = None
    then = msgspec.structs.replace(
        incident,
        state=state,
        public_phase=phase,
        visibility="public",
        acknowledged_by=(incident.acknowledged_by or someone) if stage == "acknowledged" else None,
        **said,
        resolved_ms=ended_ms if is_over else None,
        reopened=1 if stage == "reopened" else 0,
    )
    asks = stage in ("acknowledged", "public_message", "retracted", "workaround", "follow_up")
    return IncidentEvent(
        incident_id=incident.id,
        version=incident.version,
        type=_type_of(stage),
        time_ms=time_ms,
        actor=someone if asks else "tocsin",
        text=incident.summary,
        incident=then,
        changes=_changes(incident, stage),
    )


def samples(incident: Incident, stage: Stage) -> tuple[str, ...]:
    """What a person writes for a stage to be, and has not written yet."""
    return tuple(field for field in _NEEDS.get(stage, ()) if not getattr(incident, field))


def promised_ms(event: IncidentEvent, rules: Cadence) -> int | None:
    """The promise that a first message makes at this severity."""
    made = make(rules, None, event.incident.severity, event.time_ms, automatic=False)
    return made.due_ms if made else None


def _type_of(stage: Stage) -> EventType:
    own: EventType = next((name for name in get_args(EventType) if name == stage), "updated")
    return _TYPES.get(stage, own)


def _changes(incident: Incident, stage: Stage) -> dict[str, str]:
    if stage == "severity_changed":
        return {"severity": f"P4 → {incident.severity}"}
    if stage == "updated" and incident.causes:
        return {"state": "investigating → identified"}
    return {}
