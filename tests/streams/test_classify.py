"""Severity is impact × urgency, and worse facts never make it milder."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.configuration import GradingRules, Service
from streams.classify import Facts, grade, hold_severity
from streams.dossier import Dossier
from streams.harm import Harm
from tests.streams.incident_helpers import anomaly, brief, stage, told

facts = st.fixed_dictionaries(
    {
        "services": st.integers(1, 30),
        "tier": st.integers(1, 4),
        "errors": st.integers(0, 5_000),
        "slow_seconds": st.floats(0, 30),
        "lost_ratio": st.floats(0, 1),
        "reported_ratio": st.floats(0, 1),
        "sign": st.sampled_from(("", "saturation")),
        "customers": st.integers(0, 50_000),
        "revenue_per_hour": st.floats(0, 50_000),
        "spreading": st.booleans(),
        "lasting_seconds": st.floats(0, 10_000),
    }
)
CALM: dict[str, Any] = {
    "services": 1,
    "tier": 3,
    "errors": 0,
    "slow_seconds": 0.0,
    "lost_ratio": 0.0,
    "reported_ratio": 0.0,
    "sign": "",
    "customers": 0,
    "spreading": False,
    "lasting_seconds": 30.0,
}


def test_revenue_at_risk_counts_if_users_feel_it_and_its_line_says_so() -> None:
    earns = CALM | {"revenue_per_hour": 12_000.0, "currency": "EUR"}
    felt = {"slow_seconds": 1.0}
    assert grade(made(CALM | felt)).severity == "P3"
    assert grade(made(earns)).severity == grade(made(CALM)).severity
    grading = grade(made(earns | felt))
    line = next(step for step in grading.steps if step.name == "revenue")
    assert (line.value, line.result) == (12_000.0, "+2")
    assert "EUR an hour at risk" in line.source
    assert line.source.endswith("from 1,000 and 10,000, if users feel it")


def test_the_matrix_and_the_steps_are_ones_own() -> None:
    strict = GradingRules(matrix=(("P1", "P1", "P1"), ("P1", "P1", "P2"), ("P2", "P3", "P4")))
    lax = GradingRules(service_steps=(), customer_steps=())
    many = CALM | {"slow_seconds": 1.0, "customers": 50_000, "services": 20}
    assert grade(made(many), strict).severity <= grade(made(many)).severity
    assert grade(made(many), lax).impact > grade(made(many)).impact


FELT = ("errors", "slow_seconds", "lost_ratio", "reported_ratio", "sign")


def made(values: dict[str, Any]) -> Facts:
    felt = {name: values[name] for name in FELT}
    rest = {name: value for name, value in values.items() if name not in felt}
    return Facts(harm=Harm(service="cart", requests=5_000, **felt), **rest)


@given(facts, facts)
def test_severity_never_falls_when_the_facts_grow_worse(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    worse = {name: max(one[name], other[name]) for name in one} | {
        "tier": min(one["tier"], other["tier"])
    }
    before, after = grade(made(one)), grade(made(worse))
    assert after.severity <= before.severity
    assert after.impact <= before.impact
    assert after.urgency <= before.urgency


@pytest.mark.parametrize(
    ("what", "severity"),
    [
        ({"tier": 1, "errors": 4_000, "customers": 4_000, "spreading": True}, "P1"),
        (
            {"tier": 1, "slow_seconds": 2.5, "customers": 4_000, "services": 5, "spreading": True},
            "P1",
        ),
        ({"tier": 1, "slow_seconds": 0.7, "customers": 4_000, "spreading": True}, "P3"),
        ({"tier": 1, "slow_seconds": 2.5, "customers": 4_000, "lasting_seconds": 400}, "P1"),
        ({"tier": 2, "slow_seconds": 0.3, "customers": 4_000, "spreading": True}, "P3"),
        ({"tier": 2, "slow_seconds": 3.0, "services": 6, "spreading": True}, "P2"),
        ({"tier": 3, "sign": "saturation", "spreading": True}, "P3"),
        ({"tier": 3, "spreading": True}, "P4"),
        ({"tier": 4, "sign": "saturation", "spreading": True}, "P4"),
        ({"tier": 4, "errors": 4_000, "spreading": True}, "P2"),
    ],
)
def test_severity_follows_what_users_feel_and_how_critical_the_service_is(
    what: dict[str, Any], severity: str
) -> None:
    assert grade(made(CALM | what)).severity == severity


def test_how_far_out_a_signal_is_says_how_sure_it_is_and_not_how_bad() -> None:
    mild = told(anomaly(score=7.0), anomaly(at=10, score=7.0), until=20)[0].incident
    sure = told(anomaly(score=60.0), anomaly(at=10, score=60.0), until=20)[0].incident
    assert mild.severity == sure.severity


def test_what_lasts_grows_more_urgent_by_itself() -> None:
    going_on = [anomaly(at=at) for at in range(0, 1_000, 60)]
    events = told(*going_on, until=970, made=stage(Service(name="cart", tier=1)))
    assert [(e.type, e.incident.severity) for e in (events[0], events[-1])] == [
        ("opened", "P3"),
        ("severity_changed", "P2"),
    ]
    assert brief(events)[-1] == f"severity_changed {900 + 10 + 5}"


def test_a_rise_counts_at_once_and_a_fall_only_after_it_has_lasted() -> None:
    bad = CALM | {"services": 9, "tier": 1, "slow_seconds": 3.0, "spreading": True}
    mild = CALM | {"tier": 4}
    dossier = Dossier(id="x", opened_ms=0, first_anomaly_ms=0, last_end_ms=0, grown_ms=0)
    hold_severity(dossier, grade(made(mild)), 0, 300)
    first = dossier.severity
    dossier.told = told(anomaly(), until=20)[0].incident
    seen = []
    for end_ms, values in ((10, bad), (20, mild), (310, mild), (320, mild)):
        hold_severity(dossier, grade(made(values)), end_ms, 300)
        seen.append(dossier.severity)
    assert (first, seen) == ("P4", ["P1", "P1", "P1", "P4"])


def test_every_number_is_kept_with_its_source() -> None:
    grading = grade(made(CALM | {"tier": 2, "errors": 400, "lasting_seconds": 400.0}))
    assert [step.name for step in grading.steps][-1] == "severity"
    assert all(step.source and step.result for step in grading.steps)
    sources = {step.source for step in grading.steps}
    assert {"catalogue: cart", "400 of 5,000 requests fail at cart"} <= sources
