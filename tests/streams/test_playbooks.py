"""A playbook is tried first, once, and nobody is woken unless it fails or does not help."""

from typing import Any

import pytest

from schemas.anomalies import Anomaly, ServiceTraffic
from schemas.configuration import Incidents, Playbook
from schemas.incidents import Command, IncidentEvent
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import START, anomaly, as_bytes, batches, stage


def made(**changes: Any) -> IncidentStage:
    known: dict[str, Any] = {"name": "restart", "command": ("restart",), "hold_seconds": 120}
    playbook = Playbook(**(known | {"severities": ("P1", "P2", "P3", "P4")} | changes))
    return stage(rules=Incidents(playbooks=(playbook,)))


def result(incident: str, solution: str = "worked", number: int = 1) -> Command:
    return Command(
        id=f"p{number}",
        type="playbook_result",
        incident_id=incident,
        actor="playbook restart",
        issued_ms=START,
        text="it said so",
        solution=solution,
    )


def lasting(until: int) -> list[Anomaly]:
    return [anomaly("cart", at=at, since=0) for at in range(0, until, 10)]


def told(events: list[IncidentEvent]) -> list[tuple[str, str | None, str | None]]:
    return [(e.type, e.incident.silenced_by, e.incident.playbook_result) for e in events]


def test_what_a_playbook_cures_wakes_nobody_and_is_logged_as_such() -> None:
    one = made(hold_seconds=600)
    events = one.process(batches([anomaly("cart")], until=20))
    assert told(events) == [("opened", "playbook restart", "running")]
    assert events[0].incident.visibility == "internal"
    incident = events[0].incident_id
    (noted,) = one.command([result(incident)])
    assert (noted.type, noted.actor, noted.text) == ("noted", "playbook restart", "it said so")
    ended = one.process(batches([], until=400))
    assert told(ended)[-1] == ("resolved", "playbook restart", "worked")
    assert ended[-1].text.endswith("The playbook restart had been run.")


def test_a_playbook_that_fails_lets_the_alert_go_at_once() -> None:
    one = made()
    (event,) = one.process(batches(lasting(20), until=20))
    one.command([result(event.incident_id, "failed")])
    events = one.process(batches([anomaly("cart", at=20, since=0)], until=30))
    assert told(events) == [("unsilenced", None, "failed")]


def test_what_a_playbook_does_not_cure_in_time_is_told() -> None:
    events = made().process(batches(lasting(300), until=300))
    unsilenced = [e for e in events if e.type == "unsilenced"]
    assert [(e.time_ms - START) // 1000 for e in unsilenced] == [135]
    assert unsilenced[0].incident.silenced_by is None


def test_what_is_quiet_when_the_hold_ends_is_not_told_as_out_of_order() -> None:
    events = made(hold_seconds=600).process(batches(lasting(360), until=900))
    assert told(events)[-1] == ("resolved", "playbook restart", "running")
    assert "unsilenced" not in [e.type for e in events]


def test_what_is_quiet_when_its_playbook_fails_is_told() -> None:
    one = made(hold_seconds=600)
    event = one.process(batches(lasting(60), until=250))[0]
    one.command([result(event.incident_id, "failed")])
    events = one.process(batches([], until=260)[1:])
    assert told(events) == [("unsilenced", None, "failed")]


def test_what_comes_back_after_its_hold_ended_in_quiet_is_told() -> None:
    back = [anomaly("cart", at=at) for at in (400, 410)]
    events = made(hold_seconds=300).process(batches([*lasting(120), *back], until=430))
    unsilenced = [(e.time_ms - START) // 1000 for e in events if e.type == "unsilenced"]
    assert unsilenced == [415]


def test_what_is_split_off_starts_no_playbook() -> None:
    one = made()
    (event,) = one.process(batches([anomaly("cart"), anomaly("web", "latency")], until=20))
    split = Command(
        id="x1",
        type="split",
        incident_id=event.incident_id,
        actor="ada",
        issued_ms=START,
        services=("web",),
    )
    new = one.command([split])[1].incident
    assert (new.split_from, new.playbook) == (event.incident_id, None)


MILD = ("P3", "P4")


def test_a_playbook_holds_back_nothing_that_grows_graver_than_it_is_for() -> None:
    """Nor again once it is milder."""
    one = made(severities=MILD, hold_seconds=600)
    failing = [anomaly("cart", "error_ratio", at=at, since=60) for at in range(60, 200, 10)]
    traffic = [(at, ServiceTraffic("cart", 1_000, 900)) for at in range(60, 200, 10)]
    events = one.process(batches([*lasting(500), *failing], until=500, traffic=traffic))
    first = next(e for e in events if e.incident.severity not in MILD)
    assert (first.type, first.incident.silenced_by) == ("unsilenced", None)
    assert "silenced" not in [e.type for e in events]


def test_a_playbook_holds_back_nothing_that_people_call_graver() -> None:
    one = made(severities=MILD, hold_seconds=600)
    (event,) = one.process(batches(lasting(20), until=20))
    asked = Command(
        id="s1",
        type="set_severity",
        incident_id=event.incident_id,
        actor="ada",
        issued_ms=START,
        severity="P1",
    )
    one.command([asked])
    (next_one,) = one.process(batches([anomaly("cart", at=20, since=0)], until=30)[-1:])
    assert told([next_one]) == [("unsilenced", None, "running")]


@pytest.mark.parametrize(
    "changes", [{"services": ("mail",)}, {"kinds": ("latency",)}, {"severities": ("P1",)}]
)
def test_an_incident_that_the_rule_is_not_for_has_no_playbook(changes: dict[str, Any]) -> None:
    events = made(**changes).process(batches([anomaly("cart")], until=20))
    assert told(events) == [("opened", None, None)]


def test_a_playbook_is_not_tried_again_when_the_trouble_comes_back() -> None:
    one = made()
    events = one.process(batches([anomaly("cart"), anomaly("cart", at=400)], until=420))
    assert [told([e])[0][:2] for e in events if e.type in ("opened", "reopened")] == [
        ("opened", "playbook restart"),
        ("reopened", None),
    ]


@pytest.mark.parametrize(
    ("rules", "solution", "says"),
    [(made(), "maybe", "must be worked or failed"), (stage(), "worked", "has no playbook")],
)
def test_a_result_that_cannot_be_is_refused(rules: IncidentStage, solution: str, says: str) -> None:
    (event,) = rules.process(batches([anomaly("cart")], until=20))
    (answer,) = rules.command([result(event.incident_id, solution)])
    assert says in answer.text


def test_the_hold_survives_a_restart() -> None:
    one, again = made(), made()
    one.process(batches(lasting(20), until=20))
    again.restore(one.snapshot())
    more = batches([a for a in lasting(300) if a.window_start_ms >= START + 20_000], until=300)
    events = one.process(more)
    assert "unsilenced" in [e.type for e in events]
    assert as_bytes(events) == as_bytes(again.process(more))
