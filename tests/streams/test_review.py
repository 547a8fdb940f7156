"""What the public is told of severe incidents waits for a second person, and leaves a trace."""

from schemas.configuration import Incidents
from schemas.incidents import Command, CommandType, IncidentEvent
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import START, anomaly, stage, told

REVIEWED = Incidents(review_severities=("P1", "P2", "P3", "P4"))


def say(
    made: IncidentStage, incident: str, kind: CommandType, actor: str = "ada", text: str = ""
) -> IncidentEvent:
    number = len(made.refused) + len(text) + START
    identity = f"{kind}/{actor}/{text}/{number}"
    command = Command(
        id=identity, type=kind, incident_id=incident, actor=actor, issued_ms=START, text=text
    )
    (event,) = made.command([command])
    return event


def opened(rules: Incidents = REVIEWED) -> tuple[IncidentStage, IncidentEvent]:
    made = stage(rules=rules)
    public = Incidents(public_severities=("P1", "P2", "P3", "P4"), review_severities=())
    assert told(anomaly(), until=30, made=stage(rules=public))[0].incident.visibility == "public"
    return made, told(anomaly(), until=30, made=made)[0]


def test_a_severity_that_is_reviewed_is_not_public_until_somebody_approves() -> None:
    rules = Incidents(
        public_severities=("P1", "P2", "P3", "P4"), review_severities=("P1", "P2", "P3", "P4")
    )
    made, first = opened(rules)
    assert (first.incident.visibility, first.incident.awaits_review) == ("internal", True)
    approved = say(made, first.incident_id, "approve", "grace")
    assert approved.type == "approved"
    assert (approved.incident.visibility, approved.incident.awaits_review) == ("public", False)
    assert approved.incident.approved_by == "grace"
    later = told(anomaly(at=60, score=40.0), until=400, made=made)
    assert {event.incident.visibility for event in later} == {"public"}


def test_a_public_message_waits_for_another_person_than_its_author() -> None:
    made, first = opened()
    proposed = say(made, first.incident_id, "public_message", "ada", "Orders are slow.")
    assert proposed.type == "proposed"
    assert proposed.incident.public_message is None
    assert proposed.incident.proposal is not None
    assert proposed.incident.visibility == "internal"
    own = say(made, first.incident_id, "approve", "ada")
    assert own.type == "noted" and "somebody else has to approve it" in own.text
    approved = say(made, first.incident_id, "approve", "grace")
    assert (approved.type, approved.incident.public_message) == (
        "public_message",
        "Orders are slow.",
    )
    assert approved.incident.proposal is None
    again = say(made, first.incident_id, "public_message", "ada", "Better now.")
    assert again.incident.public_message == "Orders are slow."


def test_a_workaround_and_a_conclusion_are_reviewed_too() -> None:
    made, first = opened()
    for kind, event_type in (("workaround", "workaround"), ("conclude", "follow_up")):
        assert say(made, first.incident_id, kind, "ada", "By phone.").type == "proposed"  # type: ignore[arg-type]
        assert say(made, first.incident_id, "approve", "grace", kind).type == event_type


def test_a_retraction_takes_the_message_back_and_leaves_a_trace() -> None:
    made, first = opened(Incidents())
    say(made, first.incident_id, "public_message", "ada", "All data is lost.")
    retracted = say(made, first.incident_id, "retract", "grace", "That was wrong.")
    assert (retracted.type, retracted.actor) == ("retracted", "grace")
    assert retracted.incident.public_message is None
    assert retracted.changes["public message"] == "All data is lost. → none"
    assert say(made, first.incident_id, "retract", "grace", "Again.").type == "noted"


def test_that_nothing_has_changed_stands_in_the_log() -> None:
    made, first = opened()
    said = say(made, first.incident_id, "no_change", "tocsin")
    assert (said.type, said.text, said.changes) == ("no_change", "Nothing has changed.", {})


def test_an_acknowledgement_can_be_given_back() -> None:
    made, first = opened()
    assert say(made, first.incident_id, "unacknowledge").type == "noted"
    say(made, first.incident_id, "acknowledge")
    back = say(made, first.incident_id, "unacknowledge", "grace", "ada is away")
    assert (back.type, back.incident.acknowledged_by) == ("unacknowledged", None)
    assert back.changes["acknowledged by"] == "ada → nobody"
