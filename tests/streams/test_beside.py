"""What only says that something is unusual goes with what is wrong beside it."""

import msgspec
import pytest

from schemas.anomalies import Anomaly, AnomalyKind, Call
from schemas.configuration import Catalogue
from schemas.incidents import IncidentEvent, Signal
from streams.causes import rank
from streams.dossier import signal_of
from streams.graph import ServiceGraph
from streams.signs import counts_requests, is_of_few, meaning
from tests.streams.incident_helpers import CALLS, anomaly, batches, stage, told


def opened(events: list[IncidentEvent]) -> int:
    return sum(event.type == "opened" for event in events)


def vague(service: str, at: int, *, since: int, score: float = 9.0) -> Anomaly:
    return anomaly(service, "level", at, since=since, score=score)


def gauge(
    service: str, series: str, value: float, expected: float, *, at: int = 0, score: float = 9.0
) -> Anomaly:
    """A gauge of a service that has been off for five minutes."""
    kind: AnomalyKind = "error_ratio" if "availability" in series else "level"
    made = anomaly(service, kind, at + 300, series=series, since=at, score=score)
    return msgspec.structs.replace(
        made, value=value, expected=expected, lower=expected * 0.9, upper=expected * 1.1
    )


def test_an_unusual_gauge_of_a_sibling_joins_what_is_wrong_and_opens_nothing_of_its_own() -> None:
    wrong, unusual = anomaly("cart"), vague("search", 100, since=60, score=30)
    assert opened(told(wrong, unusual, until=120)) == 1


def test_a_sibling_that_says_what_is_wrong_with_it_is_an_incident_of_its_own() -> None:
    assert opened(told(anomaly("cart"), anomaly("search", at=60), until=120)) == 2


def test_an_unusual_gauge_that_no_calls_lead_to_is_an_incident_of_its_own() -> None:
    wrong, unusual = anomaly("cart"), vague("smtp", 100, since=60, score=30)
    assert opened(told(wrong, unusual, until=120)) == 2


def test_unusual_gauges_of_siblings_that_began_together_are_one_incident() -> None:
    together = [vague(name, 300, since=0) for name in ("cart", "search")]
    assert opened(told(*together, until=320)) == 1
    apart = [vague("cart", 300, since=0), vague("search", 1_300, since=1_000)]
    assert opened(told(*apart, until=1_320)) == 2


def test_two_outages_are_not_joined_by_an_unusual_gauge_beside_both() -> None:
    found = [anomaly("cart"), anomaly("search"), vague("ads", 0, since=-20)]
    calls = (*CALLS, Call("web", "ads"))
    events = stage().process(batches(found, until=20, calls=calls))
    assert sorted(len(e.incident.services) for e in events if e.type == "opened") == [1, 2]


def test_what_reports_every_five_minutes_is_given_two_reports_to_join() -> None:
    lasting = [vague("cart", at, since=0) for at in (300, 600, 900)]
    late = vague("web", 1_200, since=900)
    assert opened(told(*lasting, late, until=1_250)) == 1
    later = [vague("cart", at, since=0) for at in range(300, 2_100, 300)]
    assert opened(told(*later, vague("web", 2_000, since=1_500), until=2_100)) == 2


@pytest.mark.parametrize(
    ("series", "counts"),
    [
        ("requests_per_5m{}", True),
        ("lambda_invocations{}", True),
        ("requests_per_second{}", False),
        ("requests_rate{}", False),
        ("failed_requests_ratio{}", False),
        ("depth{}", False),
    ],
)
def test_a_gauge_counts_requests_by_its_name(series: str, counts: bool) -> None:
    assert counts_requests(series) == counts


def test_one_request_where_hardly_any_comes_opens_nothing_however_unlikely_it_is() -> None:
    assert opened(told(gauge("cart", "requests_per_5m{}", 1, 0.1), until=320)) == 0
    assert opened(told(gauge("cart", "requests_per_5m{}", 40, 0.1), until=320)) == 1


def test_a_share_that_fails_of_a_handful_of_requests_does_not_lead_the_suspects() -> None:
    graph = ServiceGraph(Catalogue())
    failing = gauge("front", "availability_percent{a}", 0, 100, score=25)
    slow = gauge("cart", "latency_p99_seconds{}", 1.0, 0.03, at=60)
    few = gauge("front", "requests_per_5m{a}", 2, 15)
    many = gauge("front", "requests_per_5m{a}", 200, 150)

    def first(*found: Anomaly) -> str:
        return rank([signal_of(a) for a in found], graph)[0].service

    assert is_of_few(failing, [few]) and not is_of_few(failing, [many])
    assert first(failing, slow, many) == "front"
    assert first(failing, slow, few) == "cart"


def test_answers_that_are_faster_than_usual_tell_of_less_to_do_and_of_no_fault() -> None:
    fast: Signal = signal_of(gauge("cart", "latency_p90_seconds{}", 0.01, 0.03))
    assert meaning(fast) == "traffic"
    assert meaning(msgspec.structs.replace(fast, value=0.1)) == "latency"


def test_series_that_report_rarely_change_at_once_if_they_do_so_in_neighbouring_reports() -> None:
    graph = ServiceGraph(Catalogue())
    one = gauge("store", "latency_seconds{}", 1.0, 0.03)
    other = gauge("cart", "latency_p99_seconds{}", 1.0, 0.03, at=300)
    found = [signal_of(one), signal_of(other)]

    def said(pace_ms: int) -> str:
        return " ".join(w for c in rank(found, graph, None, pace_ms) for w in c.evidence)

    assert said(0).count("among the first") == 1
    assert said(300_000).count("among the first") == 2
