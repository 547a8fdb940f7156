"""The explanation of an incident answers what, why, how bad and what then, from its log alone."""

import pytest

from schemas.incidents import Command
from streams.explain import explain
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import START, anomaly, stage, told


def story() -> str:
    made: IncidentStage = stage()
    return explain(told(anomaly("store"), anomaly("cart", "latency", 60), until=1_000, made=made))


def test_it_shows_why_it_was_opened_and_what_was_expected() -> None:
    opening = story().split("Why it was opened")[1].split("What was out of order")[0]
    assert "store: CPU usage saturated at 99 %, expected 5 % to 12 %" in opening
    assert "score 20.0" in opening
    assert "cart" not in opening


def test_it_shows_every_step_of_the_grading_and_the_causes_with_evidence() -> None:
    text = story()
    assert "impact 2 × urgency 2 = P3" in text
    assert "called by cart, also out of order" in text


def test_it_shows_the_timeline_in_order() -> None:
    timeline = story().split("Timeline")[1]
    places = [timeline.index(word) for word in ("opened", "updated", "resolved")]
    assert places == sorted(places)


def test_what_people_wrote_begins_no_line_of_its_own() -> None:
    made: IncidentStage = stage()
    events = told(anomaly("store"), until=30, made=made)
    [note] = made.command(
        [
            Command(
                id="c1",
                type="note",
                incident_id=events[0].incident_id,
                actor="eve\nWhy it is P1",
                issued_ms=START,
                text="seen\nTimeline\x1b[2J\u202e",
            )
        ]
    )
    text = explain([*events, note])
    assert "by eve Why it is P1\n            seen Timeline\ufffd[2J\ufffd\n" in text
    assert sum(line == "Timeline" for line in text.splitlines()) == 1


def test_the_logs_of_two_incidents_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="one incident"):
        explain(told(anomaly("cart"), anomaly("smtp"), until=30))
    with pytest.raises(ValueError, match="none"):
        explain([])
