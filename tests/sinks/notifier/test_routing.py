"""Routing: who is told by which rule, what follows, and what is withheld."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.anomalies import Forecast
from schemas.configuration import Catalogue, Recipient, Route, Service
from schemas.incidents import EventType, IncidentEvent, Prediction, Severity
from sinks.notifier.routing import Router, matches, public_names
from tests.sinks.examples import cpu_incident, event, network_incident
from tests.sinks.notifier.conftest import CATALOGUE

SEVERITIES: tuple[Severity, ...] = ("P1", "P2", "P3", "P4")
EVENTS: tuple[EventType, ...] = (
    "opened",
    "updated",
    "severity_changed",
    "acknowledged",
    "noted",
    "public_message",
    "resolved",
    "reopened",
    "closed",
)
AUDIENCES = ("engineer", "manager", "support", "customer")


def router(*recipients: Recipient, routes: tuple[Route, ...] | None = None) -> Router:
    everyone = Route(name="everyone", recipients=tuple(r.name for r in recipients))
    return Router(
        routes if routes is not None else (everyone,),
        {recipient.name: recipient for recipient in recipients},
        CATALOGUE,
    )


def someone(audience: Any = "engineer", name: str = "", segment: str | None = None) -> Recipient:
    return Recipient(name=name or audience, channel="console", audience=audience, segment=segment)


def test_every_matching_route_adds_recipients_and_the_first_is_the_rule() -> None:
    a, b, c = someone(name="a"), someone(name="b"), someone(name="c")
    routes = (
        Route(name="major", recipients=("a", "b"), severities=("P1", "P2")),
        Route(name="orders", recipients=("b", "c"), services=("ts-order-*",)),
        Route(name="carts", recipients=("c",), services=("cart*",)),
    )
    found = router(a, b, c, routes=routes).decide(event(cpu_incident(), "opened"), {})
    assert [(made.recipient.name, made.rule) for made in found] == [
        ("a", "major"),
        ("b", "major"),
        ("c", "orders"),
    ]


def test_only_engineers_hear_of_a_forecast_until_something_is_out_of_order() -> None:
    forecast = Forecast(limit=1.0, reached_ms=2, earliest_ms=1, latest_ms=3)
    ahead = Prediction(status="standing", service="orders", series="disk", forecast=forecast)
    decide = router(*(someone(audience) for audience in AUDIENCES)).decide
    before = decide(event(cpu_incident(prediction=ahead), "opened"), {})
    assert [made.withheld for made in before] == [None, *["a forecast: nobody is out yet"] * 3]
    true = msgspec.structs.replace(ahead, status="came_true", out=True)
    after = decide(event(cpu_incident(prediction=true), "severity_changed"), {"engineer": "all"})
    assert [(made.stage, made.withheld) for made in after[1:]] == [("opened", None)] * 3


def test_a_route_to_nobody_is_refused_before_any_incident() -> None:
    routes = (Route(name="all", recipients=("a", "boss")),)
    with pytest.raises(ValueError, match=r"notifier\.routes: no recipient is named boss"):
        router(someone(name="a"), routes=routes)


def test_the_end_goes_to_all_who_were_told_and_to_nobody_else() -> None:
    told, other = someone(name="told"), someone(name="other")
    routes = (Route(name="all", recipients=("told", "other"), severities=("P1",)),)
    decide = router(told, other, routes=routes).decide
    resolved = event(cpu_incident(severity="P4"), "resolved")
    assert [made.recipient.name for made in decide(resolved, {"told": "first rule"})] == ["told"]
    assert decide(resolved, {"told": "first rule"})[0].rule == "first rule"
    resolved_p1 = event(cpu_incident(severity="P1"), "resolved")
    assert [made.recipient.name for made in decide(resolved_p1, {"told": "all"})] == ["told"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["manager", "support", "customer"]),
        ({"severity": "P3"}, []),
        ({"false_alarm_by": "ada"}, []),
        ({"merged_into": "INC-2"}, []),
        ({"drill": True}, []),
    ],
)
def test_a_closing_report_goes_to_all_but_engineers_who_were_told_of_a_severe_incident(
    changes: dict[str, Any], expected: list[str]
) -> None:
    people = [someone(audience) for audience in AUDIENCES]
    told = dict.fromkeys(AUDIENCES, "everyone")
    closed = event(cpu_incident(state="closed", **changes), "closed")
    found = router(*people).decide(closed, told)
    assert [made.recipient.name for made in found] == expected
    assert {made.stage for made in found} <= {"final"}
    assert router(*people).decide(closed, {}) == ()


def test_a_route_for_ends_alone_needs_no_beginning() -> None:
    routes = (Route(name="ends", recipients=("engineer",), events=("resolved",)),)
    found = router(someone(), routes=routes).decide(event(cpu_incident(), "resolved"), {})
    assert [made.rule for made in found] == ["ends"]


def test_who_first_hears_by_a_rise_in_severity_gets_the_opening_words() -> None:
    (made,) = router(someone()).decide(event(cpu_incident(), "severity_changed"), {})
    assert (made.stage, made.first) == ("opened", True)
    (again,) = router(someone()).decide(
        event(cpu_incident(), "severity_changed"), {"engineer": "x"}
    )
    assert (again.stage, again.first) == ("severity_changed", False)


def test_others_hear_that_somebody_has_it_but_customers_and_that_person_do_not() -> None:
    people = [someone(audience) for audience in AUDIENCES]
    told = dict.fromkeys(AUDIENCES, "everyone")
    incident = cpu_incident(acknowledged_by="engineer")
    found = router(*people).decide(event(incident, "acknowledged", actor="engineer"), told)
    assert [made.recipient.name for made in found] == ["manager", "support"]


def test_engineers_are_not_nagged_once_somebody_has_it() -> None:
    routes = (Route(name="all", recipients=("engineer", "manager"), events=("updated",)),)
    decide = router(someone(), someone("manager"), routes=routes).decide
    told = {"engineer": "all", "manager": "all"}
    found = decide(event(cpu_incident(acknowledged_by="ada"), "updated"), told)
    assert {made.recipient.name: made.withheld for made in found} == {
        "engineer": "already acknowledged by ada",
        "manager": None,
    }


def test_customers_without_a_public_name_or_of_an_internal_incident_are_not_told() -> None:
    decide = router(someone("customer")).decide
    assert [made.withheld for made in decide(event(cpu_incident(), "opened"), {})] == [None]
    internal = cpu_incident(visibility="internal")
    assert [made.withheld for made in decide(event(internal, "opened"), {})] == [
        "the incident is internal"
    ]
    nameless = network_incident(visibility="public")
    assert [made.withheld for made in decide(event(nameless, "opened"), {})] == [
        "no affected service has a public name"
    ]


@pytest.mark.parametrize(("segment", "expected"), [("retail", 1), ("public sector", 0), (None, 1)])
def test_a_segment_hears_of_what_touches_it(segment: str | None, expected: int) -> None:
    decide = router(someone("customer", segment=segment)).decide
    assert len(decide(event(cpu_incident(), "opened"), {})) == expected


def test_old_news_is_withheld_but_never_the_end_of_what_was_told() -> None:
    decide = router(someone()).decide
    (opened,) = decide(event(cpu_incident(), "opened"), {}, stale=True)
    assert opened.withheld == "the event is too old to be news"
    (resolved,) = decide(event(cpu_incident(), "resolved"), {"engineer": "all"}, stale=True)
    assert resolved.withheld is None


names = st.sampled_from(["a", "b", "c", "d"])
recipients = st.dictionaries(
    names,
    st.tuples(st.sampled_from(AUDIENCES), st.sampled_from([None, "retail", "other"])),
    min_size=1,
).map(
    lambda made: tuple(
        someone(audience, name, segment) for name, (audience, segment) in made.items()
    )
)
services = st.sampled_from(["ts-order-service", "ts-travel-service", "cartservice", "unknown"])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Router, IncidentEvent, dict[str, str], bool]:
    people = draw(recipients)
    some = st.lists(st.sampled_from([r.name for r in people]), unique=True).map(tuple)
    routes = draw(
        st.lists(
            st.builds(
                Route,
                name=st.sampled_from(["one", "two"]),
                recipients=some,
                severities=st.lists(st.sampled_from(SEVERITIES), unique=True).map(tuple),
                services=st.sampled_from([("*",), ("ts-*",), ("cart*",), ()]),
                events=st.lists(
                    st.sampled_from([e for e in EVENTS if e not in ("noted", "closed")])
                ).map(tuple),
            ),
            max_size=4,
        )
    )
    incident = cpu_incident(
        severity=draw(st.sampled_from(SEVERITIES)),
        services=tuple(draw(st.lists(services, min_size=1, unique=True))),
        visibility=draw(st.sampled_from(["internal", "public"])),
        acknowledged_by=draw(st.sampled_from([None, "ada"])),
    )
    told = dict.fromkeys(draw(some), "before")
    made = event(incident, draw(st.sampled_from(EVENTS)))
    return router(*people, routes=tuple(routes)), made, told, draw(st.booleans())


@settings(deadline=None)
@given(cases())
def test_nobody_is_told_twice_or_without_a_rule(
    case: tuple[Router, IncidentEvent, dict[str, str], bool],
) -> None:
    made, incident_event, told, stale = case
    found = made.decide(incident_event, told, stale=stale)
    assert found == made.decide(incident_event, told, stale=stale)
    assert len({decision.recipient.name for decision in found}) == len(found)
    for decision in found:
        is_routed = any(
            route.name == decision.rule
            and decision.recipient.name in route.recipients
            and matches(route, incident_event, incident_event.type)  # type: ignore[arg-type]
            for route in made.routes
        )
        assert is_routed or decision.rule == told.get(decision.recipient.name)


@settings(deadline=None)
@given(cases())
def test_whoever_a_matching_route_names_is_told_or_it_is_said_why_not(
    case: tuple[Router, IncidentEvent, dict[str, str], bool],
) -> None:
    made, incident_event, told, _ = case
    if incident_event.type not in ("opened", "reopened"):
        return
    names_found = {decision.recipient.name for decision in made.decide(incident_event, told)}
    for route in made.routes:
        if matches(route, incident_event, incident_event.type):
            expected = {name for name in route.recipients if not made.recipients[name].segment}
            assert expected <= names_found


@settings(deadline=None)
@given(cases())
def test_customers_never_hear_of_services_without_public_names(
    case: tuple[Router, IncidentEvent, dict[str, str], bool],
) -> None:
    made, incident_event, told, stale = case
    for decision in made.decide(incident_event, told, stale=stale):
        if decision.recipient.audience == "customer" and decision.withheld is None:
            assert public_names(incident_event.incident, CATALOGUE)
            assert incident_event.incident.visibility == "public" or not decision.first


@settings(deadline=None)
@given(cases())
def test_everyone_who_was_told_hears_of_the_end(
    case: tuple[Router, IncidentEvent, dict[str, str], bool],
) -> None:
    made, incident_event, told, stale = case
    ended = msgspec.structs.replace(incident_event, type="resolved")
    found = {d.recipient.name: d for d in made.decide(ended, told, stale=stale)}
    for name in told:
        reason = found[name].withheld
        assert reason in (None, "no affected service has a public name")


def test_a_service_counts_once_among_public_names() -> None:
    catalogue = Catalogue(
        services=(
            Service(name="a", public_name="Shop"),
            Service(name="b", public_name="Shop"),
            Service(name="c"),
        )
    )
    assert public_names(cpu_incident(services=("a", "b", "c")), catalogue) == ("Shop",)
