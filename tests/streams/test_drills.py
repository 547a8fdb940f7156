"""Drills go through the log of incidents and touch nothing else."""

import msgspec

from schemas.incidents import Command
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import anomaly, stage, told
from tests.streams.test_incidents import command

NOW_MS = 1_764_000_000_000


def drill(number: int = 1, **changes: object) -> Command:
    made = Command(
        id=f"drill-{number}",
        type="drill",
        incident_id="",
        actor="ada",
        issued_ms=NOW_MS,
        service="cart",
        severity="P1",
    )
    return msgspec.structs.replace(made, **changes)


def test_a_drill_is_opened_acknowledged_and_resolved_by_commands_before_any_telemetry() -> None:
    made = stage()
    (opened,) = made.command([drill()])
    name = opened.incident_id
    assert name.startswith("DRILL-")
    assert opened.incident.drill
    assert (opened.incident.severity, opened.incident.services) == ("P1", ("cart",))
    assert opened.incident.visibility == "internal"
    asked = [command("acknowledge", name, number=2), command("resolve", name, number=3)]
    events = made.command(asked)
    assert [event.type for event in events] == ["acknowledged", "resolved"]
    assert [event.version for event in events] == [2, 3]
    assert events[0].incident.acknowledged_by == "ada"
    assert made.command([command("note", name, text="late", number=4)]) == []


def test_a_repeated_command_begins_no_second_drill() -> None:
    made = stage()
    assert len(made.command([drill(), drill()])) == 1


def test_customers_are_told_only_if_it_is_asked_for() -> None:
    (opened,) = stage().command([drill(to_customers=True)])
    assert opened.incident.visibility == "public"


def test_true_trouble_of_the_same_service_is_an_incident_of_its_own() -> None:
    made = stage()
    (drilled,) = made.command([drill(service="cart")])
    events = told(anomaly(), until=30, made=made)
    assert {event.incident_id for event in events}.isdisjoint({drilled.incident_id})
    assert not any(event.incident.drill for event in events)
    assert drilled.incident_id not in {incident.id for incident in made.incidents()}


def test_a_drill_outlives_a_restart() -> None:
    made: IncidentStage = stage()
    (opened,) = made.command([drill()])
    again = stage()
    again.restore(made.snapshot())
    (over,) = again.command([command("resolve", opened.incident_id)])
    assert over.incident.state == "resolved"


def test_drills_that_nobody_ends_are_bounded() -> None:
    made = stage()
    first, *_ = made.command([drill(number) for number in range(25)])
    assert made.command([command("resolve", first.incident_id, number=99)]) == []
