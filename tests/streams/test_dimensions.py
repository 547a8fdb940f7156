"""An incident is classified in dimensions; each number says where it came from."""

from typing import Any

import msgspec
import pytest

from schemas.anomalies import Anomaly, ServiceTraffic
from schemas.classification import Classification, DimensionName
from schemas.configuration import Incidents, Service
from schemas.incidents import Command, Incident
from streams.explain import explain
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import SECOND, START, anomaly, batches, stage, told

replace = msgspec.structs.replace
SHOP = (
    Service(name="web", tier=2, regions=("eu", "us"), customers=9_000, segments=("retail",)),
    Service(name="cart", tier=1, regions=("eu",), revenue_per_hour=12_000),
    Service(name="store", regions=("eu",)),
    Service(name="search", regions=("us",)),
    Service(name="mail", regions=("us",)),
)


def classified(*anomalies: Anomaly, made: IncidentStage | None = None) -> Classification:
    found = told(*anomalies, until=40, made=made)[-1].incident.classification
    assert found is not None
    return found


def lines(found: Classification, name: DimensionName) -> dict[str, tuple[float, str, str]]:
    return {step.name: (step.value, step.source, step.result) for step in found.steps[name]}


def part(instance: str | None = None, at: int = 0, **fields: Any) -> Anomaly:
    series = f'cpu_usage_ratio{{service="cart",instance="{instance}"}}'
    return replace(anomaly(at=at, series=series if instance else None), instance=instance, **fields)


def request(**labels: str) -> Anomaly:
    named = "".join(f',{name}="{value}"' for name, value in labels.items())
    series = f'duration_seconds{{service="cart"{named}}}'
    return replace(anomaly(kind="latency", series=series), **labels)


@pytest.mark.parametrize(
    ("anomalies", "scope", "says"),
    [
        ([part("cart-0")], "instance", ("instances", "all signals are of cart-0")),
        ([part("cart-0"), part("cart-1")], "service", ("instances", "cart-0, cart-1")),
        ([part("cart-0"), part(None)], "service", ("instances", "cart-0")),
        (
            [request(operation="Pay"), request()],
            "operation",
            ("operations", "none but Pay stands out"),
        ),
        (
            [request(operation="Pay"), request(operation="Add"), request()],
            "service",
            ("operations", "Add, Pay"),
        ),
        ([request(operation="Pay"), part("cart-0")], "service", ("operations", "Pay")),
        (
            [anomaly("cart"), anomaly("web", "latency")],
            "services",
            ("services", "surely out of order: cart, web"),
        ),
        (
            [anomaly("cart"), anomaly("web", "latency"), anomaly("store")],
            "region",
            ("region", "3 of the 3 services that the catalogue has in eu"),
        ),
    ],
)
def test_the_scope_is_as_wide_as_what_is_surely_out_of_order(
    anomalies: list[Anomaly], scope: str, says: tuple[str, str]
) -> None:
    found = classified(*anomalies, made=stage(*SHOP))
    assert found.scope == scope
    assert lines(found, "scope")[says[0]][1] == says[1]


def test_what_only_stands_out_a_little_widens_nothing() -> None:
    weak = anomaly("web", "latency", score=4.0, opens=False)
    assert classified(anomaly("cart"), weak, made=stage(*SHOP)).scope == "service"


def test_a_scope_that_widens_stands_in_the_log_and_is_no_news_by_itself() -> None:
    later = anomaly("web", "latency", 10)
    events = told(part("cart-0"), part("cart-1", at=10), later, until=40, made=stage(*SHOP))
    assert [e.changes.get("scope") for e in events] == [None, "instance → services"]


def test_what_is_technically_worse_and_worth_more_stands_in_the_log_and_is_no_news_by_itself() -> (
    None
):
    mild = replace(anomaly("cart", "latency"), value=0.3, expected=0.2)
    worse = replace(anomaly("cart", "latency", at=10, score=30.0), value=0.9, expected=0.2)
    later = anomaly("web", "level", 20)
    events = told(mild, worse, later, until=40, made=stage(Service(name="cart", tier=2)))
    assert [e.type for e in events] == ["opened", "updated"], "the second window is no news"
    assert events[1].changes["technical severity"] == "none → minor"
    assert events[1].changes["business impact"] == "none → low"


def test_technical_severity_and_business_impact_say_which_count_and_which_entry() -> None:
    made = stage(*SHOP)
    failing = replace(anomaly("cart", "error_ratio"), series='errors{service="cart"}')
    slow = replace(anomaly("web", "latency"), value=1.5, expected=0.2)
    traffic = [(0, ServiceTraffic("cart", 5_000, 400)), (0, ServiceTraffic("web", 9_000, 0))]
    events = made.process(batches([failing, slow], until=20, traffic=traffic))
    found = events[-1].incident.classification
    assert found is not None
    assert (found.technical, found.business) == ("major", "high")
    assert lines(found, "technical") == {
        "failing": (400.0, "of 5,000 requests counted at cart", "2 of 3"),
        "sign": (1.0, "cart shows failing requests", "1 of 3"),
        "technical": (2.0, "the most of the above; 1 is minor, 2 major, 3 critical", "major"),
    }
    assert lines(found, "business") == {
        "requests": (9_000.0, "counted at web while it was out of order", "400 failed at cart"),
        "tier": (1.0, "catalogue: cart", "+3"),
        "customers": (9_000.0, "catalogue: web", "+1"),
        "segments": (1.0, "catalogue: web", "retail"),
        "regions": (2.0, "catalogue: web, cart", "eu, us"),
        "revenue": (12_000.0, "EUR an hour at risk, catalogue: cart", "+2"),
        "business": (6.0, "sum of the points above; 1 is low, 3 medium, 5 high", "high"),
    }


def test_what_nobody_feels_has_no_business_impact_and_says_why() -> None:
    vague = anomaly("cart", "level", score=30.0)
    found = classified(vague, made=stage(*SHOP))
    assert (found.technical, found.business) == ("none", "none")
    assert "users notice nothing" in lines(found, "business")["business"][1]


def test_a_milder_window_that_is_surer_takes_nothing_back() -> None:
    worst = replace(anomaly("cart", "latency", score=9.0), value=2.6, expected=0.2)
    surer = replace(anomaly("cart", "latency", 10, score=30.0), value=1.2, expected=0.2)
    found = classified(worst, surer, anomaly("web", "latency", 20))
    assert found.technical == "major"
    assert lines(found, "technical")["slower"][0] == pytest.approx(2.4)


def test_recovery_and_duration_are_unknown_until_enough_were_closed_and_then_say_how_sure() -> None:
    made = stage(rules=Incidents(outlook_after_incidents=3, close_after_seconds=600))
    found = []
    for number in range(5):
        at = number * 4_000
        many = [anomaly(at=at + after, since=at) for after in range(0, 120, 10)]
        events = made.process(batches(many, until=at + 3_000))
        opened: Incident = next(e.incident for e in events if e.type == "opened")
        assert opened.classification is not None
        found.append(opened.classification)
    assert [c.recovery for c in found] == [None, None, None, "self_healing", "self_healing"]
    assert [lines(c, "recovery").get("learned from") for c in found[:3]] == [
        (n, "closed incidents; before 3 of them nothing is said", "nothing is known yet")
        for n in (0.0, 1.0, 2.0)
    ]
    sure, source, result = lines(found[4], "recovery")["sure"]
    assert 0 < sure < 1
    assert (source, result) == (
        "share of such guesses that were right; the most frequent of 4 closed incidents",
        "self healing",
    )
    assert found[4].lasts_ms == pytest.approx(110 * SECOND, rel=0.2)
    assert lines(found[4], "duration")["lasts"][1] == "seconds; the median of 4 closed incidents"


def test_a_persons_word_on_the_end_counts_before_what_was_learned() -> None:
    made = stage()
    opened = made.process(batches([anomaly()], until=20))[0].incident
    expect = Command(
        id="c",
        type="expect",
        incident_id=opened.id,
        actor="ada",
        issued_ms=START,
        expected_ms=START + 1_800 * SECOND,
    )
    found = made.command([expect])[0].incident.classification
    assert found is not None
    assert found.lasts_ms == 1_800 * SECOND
    assert (
        lines(found, "duration")["expected"][1] == "seconds from its first sign, as a person said"
    )


def test_explain_prints_each_dimension_with_its_arithmetic() -> None:
    text = explain(told(part("cart-0"), until=400, made=stage(*SHOP)))
    block = text.split("How it is classified")[1].split("Suspected causes")[0]
    for line in (
        "technical severity: minor",
        "business impact: high",
        "scope: instance",
        "recovery complexity: not known",
        "expected duration: not known",
        "all signals are of cart-0",
        "catalogue: cart",
        "before 20 of them nothing is said",
    ):
        assert line in block
