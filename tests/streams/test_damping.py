"""A grade that swings does not flutter, one that grows is not delayed, and neither is silent."""

from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.anomalies import ServiceTraffic
from schemas.configuration import Incidents, Service, Windows
from schemas.incidents import Grading, IncidentEvent, Severity
from streams.classify import hold_severity
from streams.dossier import Dossier
from streams.explain import explain
from streams.lifecycle import MOST_DOUBLINGS, Rules, hold_ms
from streams.words import clock
from tests.streams.incident_helpers import MINUTE, SECOND, START, anomaly, batches, stage, told

RULES = Rules.of(Windows(), Incidents())
LONGEST_MS = RULES.resolve_ms << MOST_DOUBLINGS
TOLD = told(anomaly(), until=20)[0].incident

runs = st.lists(st.tuples(st.sampled_from(get_args(Severity)), st.integers(1, 60)), max_size=60)
"""Grades that facts give, and for how many minutes each."""


def held(found: Sequence[tuple[Severity, int]]) -> list[tuple[Severity, Severity]]:
    """What the facts give and what stands, minute by minute."""
    dossier = Dossier(id="x", opened_ms=0, first_anomaly_ms=0, last_end_ms=0, grown_ms=0)
    seen, minute = [], 0
    for severity, minutes in found:
        graded = Grading(severity=severity, impact=1, urgency=1, steps=())
        for _ in range(minutes):
            hold_severity(dossier, graded, minute * MINUTE, hold_ms(dossier, RULES))
            dossier.told = TOLD
            seen.append((severity, dossier.severity))
            minute += 1
    return seen


@settings(max_examples=200, deadline=None)
@given(runs)
def test_what_stands_is_never_milder_than_the_facts_and_follows_a_lasting_fall(
    found: list[tuple[Severity, int]],
) -> None:
    lasting = 0
    for (before, _), (facts, stands) in pairwise([*held(found)]):
        assert stands <= facts
        lasting = lasting + 1 if facts == before else 0
        if lasting * MINUTE > LONGEST_MS:
            assert stands == facts


@settings(max_examples=200, deadline=None)
@given(runs)
def test_a_grade_falls_the_more_rarely_the_more_often_it_has_fallen(
    found: list[tuple[Severity, int]],
) -> None:
    stands = [severity for _, severity in held(found)]
    fell = [at for at, (one, other) in enumerate(pairwise(stands), 1) if other > one]
    for number, (one, other) in enumerate(pairwise(fell), 1):
        wait_ms = RULES.resolve_ms << min(number, MOST_DOUBLINGS)
        assert (other - one) * MINUTE >= wait_ms


@pytest.mark.parametrize(("minutes", "changes"), [(1, 0), (6, 2), (11, 4), (30, 6)])
def test_an_impact_that_swings_for_a_day_changes_the_grade_a_few_times_only(
    minutes: int, changes: int
) -> None:
    """It may fall after 5, then 10, 20 and 40 minutes; undamped it would with every swing."""
    swing: list[tuple[Severity, int]] = [("P2", minutes), ("P3", minutes)]
    stands = [severity for _, severity in held(swing * (24 * 60 // (2 * minutes)))]
    assert sum(one != other for one, other in pairwise(stands)) == changes


def swinging(cycles: int) -> list[IncidentEvent]:
    """Failures of a tier-1 service that go above 5 % of all requests and below, by turns."""
    made = stage(Service(name="cart", tier=1))
    going_on = [anomaly("cart", "level", at, score=30.0) for at in range(0, cycles * 720, 60)]
    traffic, requests, errors = [], 0, 0
    for at in range(0, cycles * 720, 60):
        failing = at % 720 < 360
        # As many as bring the share to 8 %, or to 3 %.
        more = max(round(errors / 0.03) - requests, 0) if not failing else 0
        bad = max(round((0.08 * requests - errors) / 0.92), 100) if failing else 0
        requests, errors = requests + more + bad, errors + bad
        traffic.append((at, ServiceTraffic("cart", more + bad, bad)))
    return made.process(batches(going_on, until=cycles * 720 + 10, traffic=traffic))


def test_an_incident_whose_failures_come_and_go_is_regraded_few_times_and_never_in_silence() -> (
    None
):
    events = swinging(cycles=10)
    swings = {step.result for e in events for step in e.incident.grading.steps}
    assert {"+2", "+1"} <= swings
    regraded = [e for e in events if e.type == "severity_changed"]
    assert 1 <= len(regraded) <= 4
    for before, after in pairwise(events):
        if before.incident.severity != after.incident.severity:
            assert after.changes["severity"]
            assert "Graded anew" in after.text or "It has been milder" in after.text


def test_while_a_grade_is_held_explain_says_by_which_rule_and_until_when() -> None:
    made = stage(Service(name="cart", tier=1))
    going_on = [anomaly("cart", at=at) for at in range(0, 240, 10)]
    news = anomaly("web", "latency", 200)
    failed, well = ServiceTraffic("cart", 1_000, 900), ServiceTraffic("cart", 90_000, 0)
    traffic = [(0, failed), (100, well)]
    events = made.process(batches([*going_on, news], until=240, traffic=traffic))
    assert "severity_changed" not in [event.type for event in events]
    lower_since_ms = START + 110 * SECOND
    until = clock(lower_since_ms + RULES.resolve_ms)
    severity = events[0].incident.severity
    [line] = [text for text in explain(events).splitlines() if text.startswith("  held")]
    assert f"{severity} until {until}" in line
    assert "seconds for which a lower grade must last" in line
