"""Recorded faults, replayed: what is told of each is kept as text to be read and compared.

`pytest tests/streams/test_golden.py --update-golden` writes the texts anew; read the difference.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.commands.replay import runs
from deploy.configuration import load
from schemas.incidents import IncidentEvent
from streams.explain import explain
from streams.files import read_events
from streams.pipeline import Pipeline
from streams.scoring import read_faults, score
from streams.words import clock

DEMO = Path(__file__).parents[2] / "deploy" / "demo"
RECORDING = DEMO / "recording"
GOLDEN = Path(__file__).parent / "golden"
FAULTS = {
    "frontend_cpu": ("frontend", "cpu_consumed"),
    "cartservice_network": ("cartservice", "network_delay"),
    "checkoutservice_cpu": ("checkoutservice", "cpu_contention"),
}


@pytest.fixture(scope="module")
def log() -> list[IncidentEvent]:
    """All that is told of the demo's recording, with the demo's configuration."""
    pipeline = Pipeline(load(DEMO / "tocsin.yaml"))
    events: list[IncidentEvent] = []
    for run in runs(read_events(sorted(RECORDING.glob("*.jsonl.gz")))):
        events += pipeline.process(run).events
    return events + pipeline.finish().events


def story(log: Sequence[IncidentEvent], service: str, kind: str) -> str:
    """The events of the incidents that were opened in a fault's time, and each one explained."""
    faults = read_faults((RECORDING / "faults.csv").read_text(encoding="utf-8"))
    found = [
        v for v in score(log, faults).verdicts if (v.fault.service, v.fault.kind) == (service, kind)
    ]
    assert len(found) == 1, f"the recording has {len(found)} faults {kind} at {service}, not one"
    verdict = found[0]
    own = [event for event in log if event.incident_id in verdict.incidents]
    lines = [f"{clock(verdict.fault.at_ms)}  {kind} injected at {service}"]
    lines += [_line(event) for event in own]
    parts = ["\n".join(lines) + "\n"]
    for name in verdict.incidents:
        parts.append(explain([event for event in own if event.incident_id == name]))
    return f"\n{'=' * 100}\n\n".join(parts)


def _line(event: IncidentEvent) -> str:
    incident = event.incident
    suspects = ", ".join(incident.suspected_causes[:3])
    return (
        f"{clock(event.time_ms)}  {incident.id} v{event.version}  {event.type:<16}  "
        f"{incident.severity} {incident.state:<13}  suspected: {suspects or 'nobody'}"
    )


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_recorded_fault_is_told_as_it_was_read_and_approved(
    name: str, log: list[IncidentEvent], update_golden: bool
) -> None:
    told = story(log, *FAULTS[name])
    golden = GOLDEN / f"{name}.txt"
    if update_golden:
        golden.write_text(told, encoding="utf-8")
    assert told == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_recorded_fault_is_one_incident_with_the_culprit_first(
    name: str, log: list[IncidentEvent]
) -> None:
    service, kind = FAULTS[name]
    faults = read_faults((RECORDING / "faults.csv").read_text(encoding="utf-8"))
    [verdict] = [
        v
        for v in score(log, faults).verdicts
        if v.fault.kind == kind and v.fault.service == service
    ]
    assert len(verdict.incidents) == 1
    assert verdict.rank == 1
