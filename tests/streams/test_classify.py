"""Severity is impact × urgency, and worse facts never make it milder."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.classify import Facts, grade, hold_severity
from streams.dossier import Dossier
from tests.streams.incident_helpers import anomaly, told

facts = st.fixed_dictionaries(
    {
        "services": st.integers(1, 30),
        "tier": st.integers(1, 4),
        "errors": st.integers(0, 5_000),
        "error_ratio": st.floats(0, 1),
        "customers": st.integers(0, 50_000),
        "score": st.floats(6, 40),
        "spreading": st.booleans(),
        "active": st.booleans(),
    }
)


def made(values: dict[str, Any]) -> Facts:
    return Facts(tier_service="cart", score_series="depth", requests=10_000, **values)


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


def test_a_most_critical_service_that_fails_for_many_is_p1_and_one_small_quiet_service_p4() -> None:
    bad = {
        "services": 3,
        "tier": 1,
        "errors": 400,
        "error_ratio": 0.4,
        "customers": 5_000,
        "score": 30.0,
        "spreading": True,
        "active": True,
    }
    assert grade(made(bad)).severity == "P1"
    mild = bad | {"services": 1, "tier": 4, "errors": 0, "error_ratio": 0.0, "customers": 0}
    assert grade(made(mild | {"score": 7.0, "spreading": False})).severity == "P4"


def test_a_rise_counts_at_once_and_a_fall_only_after_it_has_lasted() -> None:
    bad = {
        "services": 9,
        "tier": 1,
        "errors": 0,
        "error_ratio": 0.0,
        "customers": 0,
        "score": 30.0,
        "spreading": True,
        "active": True,
    }
    mild = bad | {"services": 1, "tier": 4, "score": 7.0, "spreading": False}
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
    values = {
        "services": 2,
        "tier": 2,
        "errors": 5,
        "error_ratio": 0.1,
        "customers": 0,
        "score": 12.0,
        "spreading": False,
        "active": True,
    }
    grading = grade(made(values))
    assert [step.name for step in grading.steps][-1] == "severity"
    assert all(step.source and step.result for step in grading.steps)
    assert "catalogue: cart" in {step.source for step in grading.steps}
