"""Drills: incidents that are none, led through the same log so that everything behind is tried.

A drill lives apart from the casebook: no anomaly can join it, so it can hide no true trouble, and
nothing is learned from it.
"""

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from schemas.classification import GradingStep
from schemas.configuration import Service
from schemas.incidents import (
    Command,
    EventType,
    Grading,
    Impact,
    Incident,
    IncidentEvent,
)
from streams.identity import CROCKFORD

PREFIX = "DRILL-"
MAX_HELD = 20
"""Drills at once; of more, the oldest is forgotten."""

replace = msgspec.structs.replace


class Drills:
    """Begins, answers and ends drills. Pure; `held` is the state, by id."""

    def __init__(
        self, environment: str, catalogue: Mapping[str, Service], held: dict[str, Incident]
    ) -> None:
        self._environment = environment
        self._catalogue = catalogue
        self._held = held

    def concerns(self, command: Command) -> bool:
        """Whether a command begins a drill, or is about one."""
        return command.type == "drill" or command.incident_id.startswith(PREFIX)

    def take(self, command: Command) -> list[IncidentEvent]:
        """What a command leads to; nothing if it is about a drill that is over."""
        if command.type == "drill":
            return [self._begin(command)]
        known = self._held.get(command.incident_id)
        if known is None:
            return []
        return [self._go_on(command, known)]

    def _begin(self, command: Command) -> IncidentEvent:
        incident = _drawn_up(command, self._environment, self._catalogue)
        self._held[incident.id] = incident
        if len(self._held) > MAX_HELD:
            del self._held[next(iter(self._held))]
        text = f"{command.actor} began a drill of {incident.services[0]}."
        return _event(command, incident, "opened", text)

    def _go_on(self, command: Command, known: Incident) -> IncidentEvent:
        made = replace(known, version=known.version + 1, updated_ms=command.issued_ms)
        if command.type == "acknowledge":
            made = replace(made, acknowledged_by=command.actor, acknowledged_ms=command.issued_ms)
            self._held[made.id] = made
            return _event(command, made, "acknowledged", f"{command.actor} is on it.")
        if command.type == "resolve":
            made = replace(
                made,
                state="resolved",
                public_phase="resolved",
                resolved_ms=command.issued_ms,
                last_anomaly_ms=command.issued_ms,
            )
            del self._held[made.id]
            return _event(command, made, "resolved", command.text or "The drill is over.")
        self._held[made.id] = made
        return _event(command, made, "noted", command.text)


def _drawn_up(command: Command, environment: str, catalogue: Mapping[str, Service]) -> Incident:
    name = command.service or "a service"
    service = catalogue.get(name)
    severity = command.severity or "P2"
    at_ms = command.issued_ms
    step = GradingStep("drill", 0.0, f"as {command.actor} said", severity)
    return Incident(
        id=_id(environment, command.id),
        environment=environment,
        version=1,
        title=f"DRILL: {name} is only said to be in trouble",
        summary=f"{command.actor} began a drill of {name}: nothing is wrong.",
        severity=severity,
        grading=Grading(severity, impact=2, urgency=2, steps=(step,)),
        impact=Impact(
            customers=service.customers if service else 0,
            segments=service.segments if service else (),
            regions=service.regions if service else (),
        ),
        state="investigating",
        public_phase="investigating",
        visibility="public" if command.to_customers else "internal",
        services=(name,),
        suspected_causes=(),
        causes=(),
        signals=(),
        opened_ms=at_ms,
        first_anomaly_ms=at_ms,
        last_anomaly_ms=at_ms,
        updated_ms=at_ms,
        drill=True,
    )


def _event(command: Command, incident: Incident, kind: EventType, text: str) -> IncidentEvent:
    return IncidentEvent(
        incident_id=incident.id,
        version=incident.version,
        type=kind,
        time_ms=command.issued_ms,
        actor=command.actor,
        text=text,
        incident=incident,
        command_id=command.id,
    )


def _id(environment: str, command_id: str) -> str:
    about = f"{environment}\0{command_id}".encode()
    number = int.from_bytes(blake2b(about, digest_size=5).digest(), "big")
    return PREFIX + "".join(CROCKFORD[number >> shift & 31] for shift in range(35, -1, -5))
