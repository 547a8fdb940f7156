"""Makes anomalies and stages for the tests of the incident stage."""

from collections.abc import Sequence

import msgspec

from schemas.anomalies import Anomaly, AnomalyBatch, AnomalyKind, Call, ServiceTraffic
from schemas.configuration import Catalogue, Incidents, Service, Windows
from schemas.incidents import IncidentEvent
from streams.incidents import IncidentStage

SECOND = 1_000
MINUTE = 60_000
START = 1_700_000_000_000 // MINUTE * MINUTE
WINDOW = 10 * SECOND
LATENESS = 5 * SECOND
CALLS = (Call("web", "cart"), Call("cart", "store"), Call("web", "search"), Call("mail", "smtp"))
SHARD = "shard/0"


def anomaly(
    service: str = "cart",
    kind: AnomalyKind = "saturation",
    at: int = 0,
    *,
    score: float = 20.0,
    series: str | None = None,
    caller: str | None = None,
    since: int | None = None,
    opens: bool = True,
) -> Anomaly:
    """An anomaly in the window that begins `at` seconds after the start."""
    names = {"saturation": "cpu_usage_ratio", "latency": "duration_seconds", "level": "depth"}
    start = START + at * SECOND
    return Anomaly(
        series=series or f'{names.get(kind, kind)}{{service="{service}"}}',
        service=service,
        kind=kind,
        window_start_ms=start,
        window_end_ms=start + WINDOW,
        since_ms=start if since is None else START + since * SECOND,
        score=score,
        value=0.99,
        expected=0.08,
        lower=0.05,
        upper=0.12,
        reason="far above what was expected",
        caller=caller,
        opens=opens,
    )


def batches(
    anomalies: Sequence[Anomaly],
    *,
    until: int,
    calls: Sequence[Call] = CALLS,
    traffic: Sequence[tuple[int, ServiceTraffic]] = (),
) -> list[AnomalyBatch]:
    """One batch a window with anything in it, and an empty one `until` seconds after the start."""
    ends = {a.window_end_ms for a in anomalies}
    ends |= {START + at * SECOND + WINDOW for at, _ in traffic}
    ends |= {START, START + until * SECOND}
    return [
        AnomalyBatch(
            source=SHARD,
            window_end_ms=end,
            anomalies=tuple(a for a in anomalies if a.window_end_ms == end),
            calls=tuple(calls) if end == START else (),
            traffic=tuple(t for at, t in traffic if START + at * SECOND + WINDOW == end),
        )
        for end in sorted(ends)
    ]


def stage(*services: Service, rules: Incidents | None = None) -> IncidentStage:
    """A stage with one shard and ten-second windows."""
    return IncidentStage(
        "test", [SHARD], Windows(), rules or Incidents(), Catalogue(services=services)
    )


def told(*anomalies: Anomaly, until: int, made: IncidentStage | None = None) -> list[IncidentEvent]:
    """All that a stage says of these anomalies."""
    return (made or stage()).process(batches(anomalies, until=until))


def brief(events: Sequence[IncidentEvent]) -> list[str]:
    """Types of events with their seconds after the start."""
    return [f"{event.type} {(event.time_ms - START) // SECOND}" for event in events]


def as_bytes(events: Sequence[IncidentEvent]) -> bytes:
    """Events as they go on the wire."""
    return msgspec.json.encode(events)
