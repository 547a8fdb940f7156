"""Severity is impact × urgency, and worse facts never make it milder."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.anomalies import AnomalyKind
from schemas.configuration import GradingRules, Service
from schemas.incidents import Grading
from streams.classify import Facts, grade, gravest, hold_severity
from streams.dossier import Dossier
from streams.harm import Harm
from tests.streams.incident_helpers import anomaly, brief, stage, told

AROUND: dict[str, tuple[Any, ...]] = {
    "services": (1, 4, 5, 9, 10, 30),
    "tier": (4, 3, 2, 1),
    "errors": (0, 9, 10, 49, 50, 99, 100, 250, 999, 1_000, 1_250, 5_000),
    "slow_seconds": (0.0, 0.49, 0.5, 1.9, 2.0, 30.0),
    "lost_ratio": (0.0, 0.4, 0.5, 0.9, 1.0),
    "reported_ratio": (0.0, 0.05, 0.2, 0.25, 0.5, 1.0),
    "sign": ("", "saturation"),
    "customers": (0, 999, 1_000, 9_999, 10_000, 50_000),
    "revenue_per_hour": (0.0, 999.0, 1_000.0, 10_000.0, 50_000.0),
    "spreading": (False, True),
    "lasting_seconds": (0.0, 299.0, 300.0, 899.0, 900.0, 10_000.0),
}
"""Values of each fact at its steps and between them, the worse the later."""

facts = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in AROUND.items()})
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


@settings(max_examples=600, deadline=None)
@given(facts, st.sampled_from(sorted(AROUND)))
def test_severity_never_falls_when_one_fact_grows_worse(facts: dict[str, Any], name: str) -> None:
    """Nor do the points that it is made of, whatever the other facts are."""
    values = AROUND[name]
    for worse in values[values.index(facts[name]) + 1 :]:
        before, after = grade(made(facts)), grade(made(facts | {name: worse}))
        assert after.severity <= before.severity
        assert points(after)["impact"] >= points(before)["impact"]
        assert points(after)["urgency"] >= points(before)["urgency"]


def test_a_critical_neighbour_whose_users_feel_less_makes_nothing_milder() -> None:
    lasting = CALM | {"lasting_seconds": 400.0}
    failing = made(lasting | {"tier": 3, "errors": 4_000})
    slow = made(lasting | {"tier": 1, "slow_seconds": 0.7})
    assert [grade(facts).severity for facts in (failing, slow)] == ["P2", "P3"]
    assert gravest([slow, failing]) == gravest([failing, slow]) == grade(failing)


def points(grading: Grading) -> dict[str, float]:
    return {step.name: step.value for step in grading.steps}


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


@settings(max_examples=60, deadline=None)
@given(
    tier=st.sampled_from((1, 2, 3, 4)),
    kind=st.sampled_from(("saturation", "latency", "error_ratio", "silence")),
    every=st.sampled_from((10, 20, 30, 60)),
    spreads_at=st.sampled_from((None, 30, 60, 120, 200, 280)),
)
def test_trouble_that_does_not_change_is_never_graded_down_and_then_up_again(
    tier: int, kind: AnomalyKind, every: int, spreads_at: int | None
) -> None:
    """However critical, wherever it spread at first and however often its series report."""
    going_on = [anomaly("cart", kind, at=at, since=0) for at in range(0, 1_500, every)]
    if spreads_at is not None:
        later = range(spreads_at, 1_500, every)
        going_on += [anomaly("web", kind, at=at, since=spreads_at) for at in later]
    services = [Service(name="cart", tier=tier), Service(name="web", tier=tier)]
    grades = [e.incident.severity for e in told(*going_on, until=1_500, made=stage(*services))]
    fell = next((n for n in range(1, len(grades)) if grades[n] > grades[n - 1]), len(grades))
    assert all(after >= before for before, after in pairwise(grades[fell:])), grades
