"""Incidents that people put together or take apart."""

from typing import Any

import pytest

from schemas.incidents import Command, CommandType, Incident, IncidentEvent
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import START, anomaly, as_bytes, batches, stage


def ask(kind: CommandType, incident: str, text: str = "", **fields: Any) -> Command:
    return Command(
        id=f"{kind} {incident} {fields}",
        type=kind,
        incident_id=incident,
        actor="ada",
        issued_ms=START,
        text=text,
        **fields,
    )


def two() -> tuple[IncidentStage, dict[str, Incident]]:
    """A stage with an incident of `cart`, which drew in `web`, and one of `mail`."""
    made = stage()
    made.process(batches([anomaly("cart"), anomaly("web", "latency"), anomaly("mail")], until=20))
    return made, {incident.services[0]: incident for incident in made.incidents()}


def texts(events: list[IncidentEvent]) -> list[tuple[str, str, str]]:
    return [(e.incident_id, e.type, e.text) for e in events]


def test_a_merged_incident_ends_and_goes_on_in_the_other() -> None:
    made, found = two()
    cart, mail = found["cart"], found["mail"]
    events = made.command([ask("merge", mail.id, into=cart.id)])
    assert texts(events) == [
        (mail.id, "resolved", f"ada merged it into {cart.id}; it goes on there."),
        (cart.id, "updated", f"ada merged {mail.id} into it."),
    ]
    assert events[0].incident.merged_into == cart.id
    assert set(events[1].incident.services) == {"cart", "web", "mail"}
    assert len(events[1].incident.signals) == 3


def test_a_merged_incident_takes_along_what_people_said_and_the_log_names_it() -> None:
    made, found = two()
    cart, mail = found["cart"], found["mail"]
    made.command([ask("set_severity", mail.id, severity="P1"), ask("acknowledge", mail.id)])
    made.command([ask("workaround", mail.id, "by phone"), ask("public_message", mail.id, "Soon")])
    made.command([ask("expect", mail.id, expected_ms=START + 1), ask("conclude", mail.id, "x")])
    event = made.command([ask("merge", mail.id, into=cart.id)])[1]
    now = event.incident
    assert (now.severity, now.severity_override_by, now.acknowledged_by) == ("P1", "ada", "ada")
    assert now.acknowledged_ms is not None
    assert (now.workaround, now.expected_resolution_ms) == ("by phone", START + 1)
    assert event.text.endswith(
        "From there come the severity P1 set by ada, the acknowledgement by ada, "
        "the public message, the workaround, when it should be over, the reason."
    )
    assert (now.public_message, now.reason, now.solution) == ("Soon", "x", None)


def test_what_people_said_of_the_incident_that_goes_on_stays() -> None:
    made, found = two()
    cart, mail = found["cart"], found["mail"]
    made.command([ask("set_severity", mail.id, severity="P1"), ask("workaround", mail.id, "one")])
    made.command([ask("set_severity", cart.id, severity="P4"), ask("workaround", cart.id, "two")])
    event = made.command([ask("merge", mail.id, into=cart.id)])[1]
    assert (event.incident.severity, event.incident.workaround) == ("P4", "two")
    assert event.text == f"ada merged {mail.id} into it."


def test_what_comes_later_of_a_merged_incident_belongs_to_the_other() -> None:
    made, found = two()
    made.command([ask("merge", found["mail"].id, into=found["cart"].id)])
    later = made.process(batches([anomaly("mail", at=30), anomaly("cart", at=30)], until=40))
    assert {e.incident_id for e in later if e.type in ("opened", "reopened")} == set()
    assert [i.state for i in made.incidents() if i.id == found["mail"].id] == ["resolved"]


def test_services_that_are_split_off_are_an_incident_of_their_own_from_then_on() -> None:
    made, found = two()
    cart = found["cart"]
    events = made.command([ask("split", cart.id, services=("web",))])
    new = events[1].incident
    assert texts(events) == [
        (cart.id, "updated", f"ada took web out of it, as {new.id}."),
        (new.id, "opened", f"ada took web out of {cart.id}."),
    ]
    assert events[0].incident.services == ("cart",)
    assert (new.services, new.split_from) == (("web",), cart.id)
    assert new.severity in ("P1", "P2", "P3", "P4")
    made.process(batches([anomaly("web", "latency", at=30), anomaly("cart", at=30)], until=40))
    services = {i.id: i.services for i in made.incidents()}
    assert services[cart.id] == ("cart",)
    assert services[new.id] == ("web",)


def test_what_is_split_off_can_be_merged_back() -> None:
    made, found = two()
    cart = found["cart"]
    new = made.command([ask("split", cart.id, services=("web",))])[1].incident
    back = made.command([ask("merge", new.id, into=cart.id)])[1].incident
    assert set(back.services) == set(cart.services)
    assert {s.series for s in back.signals} == {s.series for s in cart.signals}


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        ("merge", {"into": "INC-NOWHERE"}, "there is no open incident INC-NOWHERE"),
        ("merge", {}, "there is no open incident (`into` is empty)"),
        ("merge", {"into": "itself"}, "an incident cannot be merged into itself"),
        ("split", {"services": ("mail",)}, "`services` must be some of cart, web"),
        ("split", {}, "`services` must be some of cart, web"),
        ("split", {"services": ("cart", "web")}, "nothing would be left"),
    ],
)
def test_what_cannot_be_regrouped_is_refused_with_the_reason(
    kind: CommandType, changes: dict[str, object], why: str
) -> None:
    made, found = two()
    cart = found["cart"]
    if changes.get("into") == "itself":
        changes = {"into": cart.id}
    before = made.snapshot()
    events = made.command([ask(kind, cart.id, **changes)])  # type: ignore[arg-type]
    assert [e.type for e in events] == ["noted"]
    assert why in events[0].text
    assert [refusal.reason for _, refusal in made.refused] == ["no_effect"]
    assert len(made.incidents()) == 2
    assert before != made.snapshot()  # the refusal stands in the log


def test_a_regrouping_survives_a_restart_and_a_repeat_changes_nothing() -> None:
    made, found = two()
    merge = ask("merge", found["mail"].id, into=found["cart"].id)
    made.command([merge])
    again = stage()
    again.restore(made.snapshot())
    assert made.command([merge]) == again.command([merge]) == []
    more = batches([anomaly("mail", at=30)], until=1_000)
    assert as_bytes(made.process(more)) == as_bytes(again.process(more))
