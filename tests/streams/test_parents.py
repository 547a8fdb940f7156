"""What follows from an open incident upstream wakes nobody, and nothing else changes by it."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.anomalies import Anomaly, AnomalyBatch, AnomalyKind, Call
from schemas.configuration import Incidents, Service
from schemas.incidents import Command, Incident, IncidentEvent
from schemas.silences import Maintenance
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import CALLS, START, anomaly, as_bytes, brief, stage
from tests.streams.incident_helpers import batches as batches_of

Step = tuple[str, int, str, str, str]
"""Of an incident: id, time, state, severity and visibility."""

LATE = 1_000
"""Seconds: longer after the parent last spread than two that began together are apart."""

FAR = ("portal", "front", "mobile", "app")
"""Web's caller, its caller and so on: the first is three hops from store, the last three more."""

CHAIN = (
    *CALLS,
    *(Call(caller, callee) for caller, callee in zip(FAR, ("web", *FAR), strict=False)),
)


def lasting(
    service: str = "store", kind: AnomalyKind = "saturation", *, start: int = 0, end: int = 1_800
) -> list[Anomaly]:
    return [anomaly(service, kind, at, since=start) for at in range(start, end, 60)]


def batches(found: Sequence[Anomaly], *, until: int) -> list[AnomalyBatch]:
    return batches_of(found, until=until, calls=CHAIN)


def course(
    found: Sequence[Anomaly], *, until: int = 4_000, made: IncidentStage | None = None
) -> dict[str, list[IncidentEvent]]:
    """The log of each incident, by the service that was out of order first."""
    logs: dict[str, list[IncidentEvent]] = {}
    for event in (made or stage()).process(batches(found, until=until)):
        logs.setdefault(event.incident_id, []).append(event)
    return {log[0].incident.services[0]: log for log in logs.values()}


def first(log: Sequence[IncidentEvent]) -> Incident:
    return log[0].incident


def test_a_late_symptom_far_away_is_logged_and_wakes_nobody() -> None:
    logs = course([*lasting(), *lasting("portal", "latency", start=LATE, end=1_300)])
    parent, child = first(logs["store"]), first(logs["portal"])
    assert (parent.suppressed_by, parent.silenced_by) == (None, None)
    assert (child.suppressed_by, child.silenced_by) == (parent.id, f"outage {parent.id}")
    assert f"It follows from {parent.id}" in logs["portal"][0].text
    assert child.severity >= parent.severity


def test_it_is_public_by_its_severity_as_ever() -> None:
    found = [*lasting(), *lasting("portal", "latency", start=LATE, end=1_300)]
    every = Incidents(public_severities=("P1", "P2", "P3", "P4"))
    child = first(course(found, made=stage(rules=every))["portal"])
    assert child.suppressed_by is not None
    assert child.visibility == "public"


def test_its_recovery_is_told_while_the_parent_goes_on() -> None:
    logs = course([*lasting(), *lasting("portal", "latency", start=LATE, end=1_060)], until=1_800)
    assert brief(logs["portal"]) == ["opened 1015", "updated 1165", "resolved 1315"]
    assert logs["store"][-1].incident.state == "identified"


def test_what_goes_on_is_told_the_moment_the_parent_is_out_of_order_no_more() -> None:
    found = [*lasting(end=1_100), *lasting("portal", "latency", start=LATE, end=2_000)]
    logs = course(found, until=2_000)
    told = [e for e in logs["portal"] if e.type == "unsilenced"]
    quiet = [e for e in logs["store"] if e.incident.state == "monitoring"]
    assert [e.time_ms for e in told] == [e.time_ms for e in quiet]
    assert told[0].incident.suppressed_by is None
    assert told[0].text.startswith(f"{logs['store'][0].incident_id} is out of order no more, and")


def test_what_is_quiet_itself_when_the_parent_ends_is_not_told_any_more() -> None:
    found = [*lasting(end=1_100), *lasting("portal", "latency", start=LATE, end=1_060)]
    types = [event.type for event in course(found)["portal"]]
    assert types == ["opened", "updated", "resolved"]


def test_suppression_is_transitive_and_goes_by_what_is_out_of_order_not_by_who_was_told() -> None:
    store, portal = lasting(end=3_000), lasting("portal", "latency", start=LATE, end=3_000)
    app = lasting("app", "latency", start=2 * LATE, end=3_000)
    logs = course([*store, *portal, *app], until=3_000)
    assert first(logs["portal"]).suppressed_by == first(logs["store"]).id
    assert first(logs["app"]).suppressed_by in (first(logs["store"]).id, first(logs["portal"]).id)
    window = Maintenance(
        name="work", matchers=("service=store",), start="2023-11-14T00:00", hours=99
    )
    logs = course([*store, *portal], made=stage(rules=Incidents(maintenance=(window,))))
    assert first(logs["store"]).silenced_by is not None
    assert first(logs["portal"]).suppressed_by == first(logs["store"]).id


def test_what_follows_from_two_is_held_until_both_are_over() -> None:
    store, portal = lasting(end=2_100), lasting("portal", "saturation", start=LATE, end=3_000)
    app = lasting("app", "latency", start=2 * LATE, end=4_000)
    log = course([*store, *portal, *app])["app"]
    parents = [e.incident.suppressed_by for e in log if "follows from" in e.changes]
    assert first(log).suppressed_by == course([*store])["store"][0].incident_id
    assert len(parents) == 2, "first from the one to the other, then from nothing"
    assert parents[-1] is None


@pytest.mark.parametrize(
    ("service", "kind"),
    [("cart", "saturation"), ("search", "latency"), ("smtp", "latency"), ("cart", "silence")],
)
def test_what_has_a_sign_of_its_own_or_depends_on_nothing_that_fails_is_told(
    service: str, kind: AnomalyKind
) -> None:
    child = first(course([*lasting(), *lasting(service, kind, start=LATE)])[service])
    assert child.suppressed_by is None


GRAVE = Service(name="cart", tier=1, customers=50_000)


@pytest.mark.parametrize("start", [320, 400, 600, LATE, 1_700])
@pytest.mark.parametrize(
    ("service", "kind"), [("cart", "latency"), ("cart", "traffic"), ("web", "error_ratio")]
)
def test_a_late_symptom_near_by_joins_its_incident(
    service: str, kind: AnomalyKind, start: int
) -> None:
    logs = course([*lasting(), *lasting(service, kind, start=start)])
    assert list(logs) == ["store"]
    joined = [e for e in logs["store"] if service in e.incident.services]
    assert START + start * 1_000 <= joined[0].time_ms <= START + (start + 15) * 1_000
    assert first(logs["store"]).services == ("store",)


def test_what_shows_late_below_a_failing_caller_joins_it_too() -> None:
    logs = course([*lasting("cart", "error_ratio"), *lasting("store", "traffic", start=LATE)])
    assert list(logs) == ["cart"]


def test_a_late_symptom_of_an_incident_that_is_silenced_follows_from_it_and_does_not_end_that() -> (
    None
):
    window = Maintenance(
        name="work", matchers=("service=store",), start="2023-11-14T00:00", hours=99
    )
    rules = Incidents(maintenance=(window,))
    logs = course([*lasting(), *lasting("cart", "latency", start=LATE)], made=stage(rules=rules))
    assert first(logs["cart"]).suppressed_by == first(logs["store"]).id
    assert {e.incident.silenced_by for e in logs["store"]} == {first(logs["store"]).silenced_by}
    assert first(logs["store"]).silenced_by is not None


def test_one_outage_is_one_incident_whether_or_not_children_are_suppressed() -> None:
    found = [*lasting(), *lasting("cart", "latency", start=LATE)]
    made = stage(rules=Incidents(suppress_children=False))
    assert list(course(found, made=made)) == ["store"]


@pytest.mark.parametrize("start", [320, 400, 600, LATE])
def test_a_late_symptom_that_is_graver_makes_the_one_outage_worse_at_once(start: int) -> None:
    found = [*lasting(), *lasting("cart", "error_ratio", start=start)]
    logs = course(found, made=stage(GRAVE))
    assert list(logs) == ["store"]
    risen = next(e for e in logs["store"] if "cart" in e.incident.services)
    assert brief([risen]) == [f"severity_changed {start + 15}"]
    assert risen.incident.severity < first(logs["store"]).severity


def test_what_is_graver_than_a_parent_that_somebody_has_graded_is_told_itself() -> None:
    made = stage(GRAVE)
    found = batches([*lasting(), *lasting("cart", "error_ratio", start=LATE)], until=1_800)
    (event,) = made.process(found[:2])
    mild = Command(
        id="c1",
        type="set_severity",
        incident_id=event.incident_id,
        actor="ada",
        issued_ms=START,
        severity="P4",
    )
    made.command([mild])
    opened = [e.incident for e in made.process(found[2:]) if e.type == "opened"]
    assert [(i.services, i.suppressed_by) for i in opened] == [(("cart",), None)]


def test_what_was_told_already_is_never_suppressed_afterwards() -> None:
    found = [*lasting("portal", "latency"), *lasting(start=LATE)]
    assert {e.incident.suppressed_by for e in course(found)["portal"]} == {None}


def test_what_began_before_the_parent_does_not_follow_from_it() -> None:
    early = [anomaly("portal", "latency", at, since=-600) for at in range(LATE, 1_800, 60)]
    assert first(course([*lasting(), *early])["portal"]).suppressed_by is None


def test_a_parent_that_somebody_resolves_suppresses_no_more() -> None:
    made = stage()
    found = batches([*lasting(), *lasting("portal", "latency", start=LATE)], until=1_800)
    before = [b for b in found if b.window_end_ms <= START + 1_500_000]
    parent = made.process(before)[0].incident_id
    resolve = Command(
        id="c1", type="resolve", incident_id=parent, actor="ada", issued_ms=START, text="done"
    )
    made.command([resolve])
    rest = made.process(found[len(before) :])
    assert next(e.type for e in rest if e.incident.suppressed_by is None) == "unsilenced"


def test_it_can_be_turned_off() -> None:
    found = [*lasting(), *lasting("portal", "latency", start=LATE)]
    made = stage(rules=Incidents(suppress_children=False))
    assert first(course(found, made=made)["portal"]).suppressed_by is None


def episodes(*services: str) -> st.SearchStrategy[list[Anomaly]]:
    return st.builds(
        lambda service, kind, start, windows: lasting(
            service, kind, start=start * 10, end=start * 10 + windows * 60
        ),
        st.sampled_from(services),
        st.sampled_from(("saturation", "latency", "error_ratio", "level", "traffic", "silence")),
        st.integers(0, 250),
        st.integers(1, 30),
    )


late = st.builds(
    lambda service, start, windows: lasting(
        service, "latency", start=start * 10, end=start * 10 + windows * 60
    ),
    st.sampled_from(("app", "portal", "cart")),
    st.integers(32, 150),
    st.integers(1, 20),
)
history = st.tuples(
    st.integers(8, 40).map(lambda windows: lasting(end=windows * 60)),
    late,
    st.lists(episodes("app", "portal", "web", "cart", "store", "search", "smtp"), max_size=3).map(
        lambda more: [anomaly for episode in more for anomaly in episode]
    ),
).map(lambda parts: list({a.id: a for part in parts for a in part}.values()))
"""A parent that lasts, a late symptom of a caller, and whatever else."""


@settings(max_examples=40, deadline=None)
@given(history)
def test_suppression_hides_no_incident_no_grade_and_no_recovery(found: list[Anomaly]) -> None:
    """But for who is woken, a history with suppression is the same as one without."""

    def told(rules: Incidents) -> tuple[list[Step], list[IncidentEvent]]:
        events = stage(rules=rules).process(batches(found, until=9_000))
        steps: dict[str, list[Step]] = {}
        for event in events:
            now = event.incident
            seen = (now.state, now.severity, now.visibility)
            log = steps.setdefault(now.id, [])
            if not log or log[-1][2:] != seen:
                log.append((now.id, event.time_ms, *seen))
        return [step for log in steps.values() for step in log], events

    bare, _ = told(Incidents(suppress_children=False))
    suppressed, events = told(Incidents())
    assert sorted(suppressed) == sorted(bare)
    now: dict[str, Incident] = {}
    last = {event.incident_id: event.incident for event in events}
    for event in events:
        before = now.get(event.incident_id)
        if before is not None and event.type not in ("opened", "reopened"):
            # It is decided at the beginning; from then on it can only pass to a further parent and
            # end, and its end is told.
            assert event.incident.suppressed_by is None or before.suppressed_by is not None
            if event.incident.state != before.state == "resolved":
                assert event.type == "closed"
            if before.state not in ("resolved", "closed") and event.incident.resolved_ms:
                assert event.type == "resolved"
        now[event.incident_id] = event.incident
        if event.type in ("opened", "reopened") and (parent := event.incident.suppressed_by):
            assert last[parent].opened_ms <= event.incident.opened_ms
            ended_ms = last[parent].resolved_ms
            assert ended_ms is None or ended_ms > event.time_ms
            assert now[parent].state in ("investigating", "identified")


@settings(max_examples=25, deadline=None)
@given(history, st.integers(0, 60))
def test_a_restart_changes_nothing_of_what_is_suppressed(found: list[Anomaly], cut: int) -> None:
    whole = batches(found, until=5_000)
    straight, before, after = stage(), stage(), stage()
    events = before.process(whole[:cut])
    after.restore(before.snapshot())
    events += after.process(whole[cut:])
    assert as_bytes(events) == as_bytes(straight.process(whole))
