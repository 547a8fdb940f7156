"""What people report, and what was changed, counts as evidence."""

from typing import Any

import pytest

from schemas.configuration import Service
from schemas.incidents import Command, CommandType, IncidentEvent
from schemas.naming import service_in
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import (
    MINUTE,
    SECOND,
    START,
    anomaly,
    as_bytes,
    batches,
    brief,
    stage,
)

SHOP = (Service(name="cart", public_name="Shopping cart"), Service(name="mail"))


def ask(kind: CommandType, text: str = "", *, number: int = 1, **fields: Any) -> Command:
    known: dict[str, Any] = {
        "id": f"r{number}",
        "incident_id": "",
        "actor": "ada",
        "issued_ms": START,
    }
    return Command(type=kind, text=text, **(known | fields))


def opened(events: list[IncidentEvent]) -> list[IncidentEvent]:
    return [event for event in events if event.type == "opened"]


def test_who_reports_or_changes_begins_no_line_of_their_own() -> None:
    made = stage(*SHOP)
    made.process(batches([], until=10))
    made.command([ask("change", "two\nlines", service="cart", actor="bo\nb", number=2)])
    made.command([ask("report", "cart is slow", service="cart", actor="eve\nWhy it is P1")])
    [event] = opened(made.process(batches([], until=60)))
    assert event.incident.signals[0].reason == "eve Why it is P1 reports: cart is slow"
    assert "bo b changed it" in (said := " ".join(event.incident.causes[0].evidence))
    assert said.endswith("two lines")


def test_a_report_opens_an_incident_of_the_service_that_it_names() -> None:
    made = stage(*SHOP)
    made.process(batches([], until=10))
    made.command([ask("report", "customers cannot pay", service="cart")])
    (event,) = made.process(batches([], until=20))
    assert brief([event]) == ["opened 25"]
    incident = event.incident
    assert (incident.services, incident.title) == (
        ("cart",),
        "cart is reported to be in trouble: ada reports: customers cannot pay",
    )
    assert incident.signals[0].kind == "report"


def test_what_rests_on_reports_alone_is_not_public_until_it_is_approved_or_borne_out() -> None:
    made = stage(*SHOP)
    made.process(batches([], until=10))
    made.command([ask("report", "customers cannot pay", service="cart")])
    (event,) = made.process(batches([], until=20))
    severity = ask("set_severity", incident_id=event.incident_id, severity="P2", number=2)
    (graded,) = made.command([severity])
    assert (graded.incident.visibility, graded.incident.awaits_review) == ("internal", True)
    events = made.process(batches([anomaly("cart", at=20)], until=30))
    assert events[-1].incident.visibility == "public"


@pytest.mark.parametrize(
    "text", ["the shopping cart is empty", "Cart: error 500", "mail? no, the Shopping Cart"]
)
def test_the_service_is_found_in_the_words(text: str) -> None:
    made = stage(*SHOP)
    made.process(batches([], until=10))
    made.command([ask("report", text)])
    (event,) = made.process(batches([], until=20))
    assert event.incident.services == ("cart",)


def test_of_services_with_one_public_name_a_report_is_about_the_most_critical() -> None:
    shop = (
        Service(name="till", tier=1, public_name="Checkout"),
        Service(name="rates", tier=2, public_name="Checkout"),
        Service(name="zoo", tier=2, public_name="Checkout"),
    )
    assert service_in("the checkout is broken", shop) == "till"


def test_a_report_of_no_known_service_is_refused_with_the_way_out() -> None:
    made = stage(*SHOP)
    made.command([ask("report", "my carton is late")])
    ((_, refusal),) = made.refused
    assert "needs a `service`" in refusal.text
    assert made.process(batches([], until=20)) == []


def test_a_report_of_a_service_that_nothing_knows_is_refused_and_one_that_was_called_is_not() -> (
    None
):
    made = stage(*SHOP)
    made.process(batches([], until=10))
    made.command([ask("report", "it is slow", service="crat")])
    ((_, refusal),) = made.refused
    assert "the catalogue has no service 'crat'; it has cart, mail" in refusal.text
    made.command([ask("report", "it is slow", service="smtp", number=2)])
    made.command([ask("report", "it is slow", service="shopping cart", number=3)])
    (one, other) = opened(made.process(batches([], until=20)))
    assert {one.incident.services, other.incident.services} == {("smtp",), ("cart",)}


def test_a_report_joins_the_incident_that_is_open() -> None:
    made = stage(*SHOP)
    made.process(batches([anomaly("cart")], until=20))
    made.command([ask("report", "customers cannot pay", service="cart")])
    events = made.process(batches([], until=30))
    assert [e.type for e in events] == ["updated"]
    assert "report" in events[0].changes["signals"]
    assert len(made.incidents()) == 1


def after(made: IncidentStage, seconds: int, service: str, number: int = 1) -> list[IncidentEvent]:
    """What a report so many seconds after the start leads to at once."""
    made.command([ask("report", "customers cannot pay", service=service, number=number)])
    return made.process(batches([], until=seconds)[1:])


def test_a_report_joins_the_incident_of_its_service_that_is_only_watched() -> None:
    made = stage(*SHOP)
    events = made.process(batches([anomaly("cart")], until=200))
    assert events[-1].incident.state == "monitoring"
    (event,) = after(made, 210, "cart")
    assert (event.type, event.incident.state) == ("updated", "identified")
    assert "report" in event.changes["signals"]


def test_a_report_of_what_was_resolved_a_while_ago_reopens_it_and_much_later_opens_another() -> (
    None
):
    made = stage(*SHOP)
    events = made.process(batches([anomaly("cart")], until=400))
    assert events[-1].type == "resolved"
    (event,) = after(made, 480, "cart")
    assert (event.type, event.incident_id) == ("reopened", events[0].incident_id)
    (*_, late) = after(made, 10_000, "cart", number=2)
    assert (late.type, late.incident_id == event.incident_id) == ("opened", False)


def test_a_report_of_what_was_called_no_incident_opens_one() -> None:
    made = stage(*SHOP)
    (event,) = made.process(batches([anomaly("cart")], until=20))
    made.command([ask("not_an_incident", incident_id=event.incident_id, number=2)])
    (other,) = after(made, 60, "cart")
    assert (other.type, other.incident_id == event.incident_id) == ("opened", False)


@pytest.mark.parametrize(("service", "joins"), [("web", True), ("store", False), ("mail", False)])
def test_a_report_of_a_caller_joins_however_long_the_outage_is(service: str, joins: bool) -> None:
    """Its callees, and those that have nothing to do with it, are another matter by then."""
    made = stage(*SHOP)
    lasting = [anomaly("cart", at=at, since=0) for at in range(0, 420, 10)]
    made.process(batches(lasting, until=420))
    events = after(made, 430, service)
    assert [e.type for e in events] == ["updated" if joins else "opened"]


def test_telemetry_bears_out_a_report_that_has_become_quiet() -> None:
    made = stage(*SHOP)
    made.process(batches([], until=0))
    (first,) = after(made, 10, "cart")
    late = [anomaly("cart", at=at, since=200) for at in (200, 210)]
    events = made.process(batches(late, until=220)[1:])
    assert {e.incident_id for e in events} == {first.incident_id}
    assert events[-1].incident.visibility == "public"


def test_reports_keep_no_time_that_an_incident_would_wait_for() -> None:
    made = stage(*SHOP)
    made.process(batches([], until=0))
    events = [*after(made, 10, "cart"), *after(made, 270, "cart", number=2)]
    events += made.process(batches([], until=2_000)[1:])
    assert brief(events)[-1] == f"resolved {270 + 300 + 5}"


def test_reports_wait_through_a_restart_and_a_repeat_counts_once() -> None:
    made, again = stage(*SHOP), stage(*SHOP)
    made.process(batches([], until=10))
    report = ask("report", "customers cannot pay", service="cart")
    made.command([report, report])
    again.restore(made.snapshot())
    more = batches([], until=400)
    events = made.process(more)
    assert len(opened(events)) == 1
    assert as_bytes(events) == as_bytes(again.process(more))


def causes(*changes: Command) -> list[tuple[str, float, tuple[str, ...]]]:
    made = stage()
    made.process(batches([], until=0))
    made.command(changes)
    made.process(batches([anomaly("cart", "latency"), anomaly("web", "latency")], until=20))
    return [(c.service, c.weight, c.evidence) for c in made.incidents()[0].causes]


def test_what_was_changed_shortly_before_is_likelier_to_be_the_cause_and_the_evidence_says_so() -> (
    None
):
    plain = causes()
    change = ask("change", "deploy 1.4.2", services=("web",), from_ms=START - 3 * MINUTE)
    weighed = causes(change)
    before = {service: weight for service, weight, _ in plain}
    after = {service: weight for service, weight, _ in weighed}
    assert after["web"] > before["web"]
    assert sum(after.values()) == pytest.approx(1)
    (evidence,) = [e for service, _, e in weighed if service == "web"]
    assert evidence[-1].startswith("ada changed it at ")
    assert evidence[-1].endswith("3 min before: deploy 1.4.2")


@pytest.mark.parametrize(
    "fields",
    [
        {"services": ("web",), "from_ms": START - 120 * MINUTE},
        {"services": ("web",), "from_ms": START + 10 * MINUTE},
        {"services": ("mail",), "from_ms": START - 3 * SECOND},
    ],
)
def test_what_was_changed_long_before_later_or_elsewhere_explains_nothing(
    fields: dict[str, Any],
) -> None:
    assert causes(ask("change", "deploy", **fields)) == causes()
