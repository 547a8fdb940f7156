"""Incidents as the incident stage says them, for the tests of the sinks.

`cpu_fault()` and `network_fault()` each give a whole life: opened, updated, acknowledged,
resolved. The figures are like those of recorded faults of Train Ticket and Online Boutique.
"""

from collections import Counter

import msgspec

from schemas.classification import GradingStep
from schemas.incidents import (
    Cause,
    Delivery,
    DeliveryStatus,
    EventType,
    Grading,
    Impact,
    Incident,
    IncidentEvent,
    Signal,
)
from sinks.reading import DROPPED
from sinks.sink import Record

MINUTE_MS = 60_000
CPU_START_MS = 1_661_740_440_000  # 2022-08-29T02:34:00Z
NETWORK_START_MS = CPU_START_MS + 90 * MINUTE_MS


def cpu_incident(**changes: object) -> Incident:
    """A saturated service and the caller that became slow by it, as it is when opened."""
    start = CPU_START_MS
    incident = Incident(
        id="inc-cpu-01",
        environment="production",
        version=1,
        title="ts-order-service is out of CPU; ts-travel-service is slow",
        summary="CPU of ts-order-service is at its limit since 02:34 UTC; calls to it take longer.",
        severity="P2",
        grading=Grading(
            severity="P2",
            impact=2,
            urgency=1,
            steps=(
                GradingStep("affected requests", 0.42, "requests of 1 minute", "impact 2"),
                GradingStep("tier", 1.0, "catalogue: ts-order-service", "urgency 1"),
                GradingStep("severity", 2.0, "impact 2 × urgency 1", "P2"),
            ),
        ),
        impact=Impact(requests=1204, errors=96, error_ratio=0.0797, customers=310),
        state="investigating",
        public_phase="investigating",
        visibility="public",
        services=("ts-order-service", "ts-travel-service"),
        suspected_causes=("ts-order-service", "ts-travel-service"),
        causes=(
            Cause("ts-order-service", 0.81, ("first to change", "called by ts-travel-service")),
            Cause("ts-travel-service", 0.19, ("changed one window later",)),
        ),
        signals=(
            Signal(
                service="ts-order-service",
                series='cpu_usage_ratio{service="ts-order-service",instance="ts-order-0"}',
                kind="saturation",
                first_ms=start,
                last_ms=start + MINUTE_MS,
                score=11.4,
                value=0.97,
                expected=0.012,
                lower=0.0,
                upper=0.06,
                reason="0.97 where 0.00 to 0.06 was expected",
                instance="ts-order-0",
            ),
            Signal(
                service="ts-travel-service",
                series='log{service="ts-travel-service",template="Read timed out after <NUM> ms"}',
                kind="new_error_template",
                first_ms=start + MINUTE_MS,
                last_ms=start + MINUTE_MS,
                score=7.0,
                value=14.0,
                reason="an error line never seen before, 14 times",
                example="java.net.SocketTimeoutException: Read timed out after 5000 ms",
            ),
        ),
        opened_ms=start + 75_000,
        first_anomaly_ms=start,
        last_anomaly_ms=start + MINUTE_MS,
        updated_ms=start + 75_000,
    )
    return msgspec.structs.replace(incident, **changes)


def network_incident(**changes: object) -> Incident:
    """A network delay between two services, as it is when opened; not public."""
    start = NETWORK_START_MS
    incident = Incident(
        id="inc-net-01",
        environment="production",
        version=1,
        title="Calls from frontend to cartservice are delayed on the network",
        summary="The network between frontend and cartservice adds 1.2 s to each call.",
        severity="P3",
        grading=Grading(
            severity="P3",
            impact=2,
            urgency=2,
            steps=(
                GradingStep("affected requests", 0.11, "requests of 1 minute", "impact 2"),
                GradingStep("tier", 2.0, "catalogue: cartservice", "urgency 2"),
                GradingStep("severity", 4.0, "impact 2 × urgency 2", "P3"),
            ),
        ),
        impact=Impact(requests=530),
        state="investigating",
        public_phase="investigating",
        visibility="internal",
        services=("cartservice", "frontend"),
        suspected_causes=("cartservice",),
        causes=(Cause("cartservice", 1.0, ("network time to it rose, its own did not",)),),
        signals=(
            Signal(
                service="cartservice",
                series='network_seconds{service="cartservice",caller="frontend"}',
                kind="network",
                first_ms=start,
                last_ms=start + MINUTE_MS,
                score=9.2,
                value=1.21,
                expected=0.004,
                lower=0.001,
                upper=0.02,
                reason="1.21 s where 0.001 to 0.02 s was expected",
                operation="GetCart",
                caller="frontend",
            ),
        ),
        opened_ms=start + 75_000,
        first_anomaly_ms=start,
        last_anomaly_ms=start + MINUTE_MS,
        updated_ms=start + 75_000,
    )
    return msgspec.structs.replace(incident, **changes)


def event(
    incident: Incident,
    type: EventType,
    *,
    actor: str = "tocsin",
    text: str = "",
    changes: dict[str, str] | None = None,
    command_id: str | None = None,
) -> IncidentEvent:
    """The event after which the incident is as given; its version and time are the incident's."""
    return IncidentEvent(
        incident_id=incident.id,
        version=incident.version,
        type=type,
        time_ms=incident.updated_ms,
        actor=actor,
        text=text or incident.title,
        incident=incident,
        changes=changes or {},
        command_id=command_id,
    )


def life(opened: Incident, name: str = "ada") -> list[IncidentEvent]:
    """Opened, updated (one minute later), acknowledged (two) and resolved (ten)."""
    replace = msgspec.structs.replace
    at = opened.opened_ms
    updated = replace(
        opened,
        version=2,
        updated_ms=at + MINUTE_MS,
        last_anomaly_ms=opened.last_anomaly_ms + MINUTE_MS,
        state="identified",
        public_phase="identified",
    )
    acknowledged = replace(
        updated,
        version=3,
        updated_ms=at + 2 * MINUTE_MS,
        acknowledged_ms=at + 2 * MINUTE_MS,
        acknowledged_by=name,
    )
    resolved = replace(
        acknowledged,
        version=4,
        updated_ms=at + 10 * MINUTE_MS,
        state="resolved",
        public_phase="resolved",
        resolved_ms=at + 10 * MINUTE_MS,
    )
    return [
        event(opened, "opened"),
        event(
            updated,
            "updated",
            text=f"Likely cause: {opened.suspected_causes[0]}",
            changes={"state": "investigating → identified"},
        ),
        event(
            acknowledged,
            "acknowledged",
            actor=name,
            text="I am looking at it",
            changes={"acknowledged by": f"nobody → {name}"},
            command_id=f"command-{opened.id}",
        ),
        event(
            resolved,
            "resolved",
            text="Quiet for 5 minutes",
            changes={"state": "identified → resolved"},
        ),
    ]


def cpu_fault() -> list[IncidentEvent]:
    """The life of the CPU fault's incident, version 1 to 4."""
    return life(cpu_incident())


def network_fault() -> list[IncidentEvent]:
    """The life of the network fault's incident, version 1 to 4."""
    return life(network_incident(), name="grace")


def delivery(
    of: IncidentEvent,
    status: DeliveryStatus = "sent",
    *,
    recipient: str = "on-call",
    channel: str = "slack",
    time_ms: int | None = None,
    attempt: int = 1,
    detail: str = "",
    due_ms: int | None = None,
) -> Delivery:
    """A step in telling one recipient of an event."""
    return Delivery(
        message_id=f"{of.id}/{recipient}/{channel}",
        event_id=of.id,
        incident_id=of.incident_id,
        status=status,
        time_ms=of.time_ms + 1500 if time_ms is None else time_ms,
        recipient=recipient,
        audience="engineer",
        channel=channel,
        rule="everyone",
        subject=of.incident.title,
        attempt=attempt,
        detail=detail,
        failure="unreachable" if status == "failed" else None,
        due_ms=due_ms,
    )


NO_EVENTS = (None, b"", b"{", b"[]", b'{"incident_id":"\xff"}', b'{"x":' + b"[" * 100_000)
"""Values that are no incident event: missing, broken, of another shape, not UTF-8, too deep."""


def record(
    value: IncidentEvent | Delivery, offset: int, topic: str | None = None, partition: int = 0
) -> Record:
    """The value as a record of its topic, keyed by incident id."""
    default = "incident-events" if isinstance(value, IncidentEvent) else "deliveries"
    return Record(
        topic=topic or f"tocsin.{default}.v1",
        partition=partition,
        offset=offset,
        timestamp_ms=value.time_ms,
        key=value.incident_id.encode(),
        value=msgspec.json.encode(value),
    )


def dropped(sink: str) -> Counter[str]:
    """How many records a sink has left out until now, by reason."""
    return Counter(
        {
            sample.labels["reason"]: int(sample.value)
            for family in DROPPED.collect()
            for sample in family.samples
            if sample.name.endswith("_total") and sample.labels["sink"] == sink
        }
    )
