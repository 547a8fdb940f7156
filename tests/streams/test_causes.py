"""The likely cause: what changed first, deepest in the chain of calls, by a sign of its own."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from schemas.anomalies import Anomaly
from schemas.configuration import Catalogue
from schemas.incidents import Cause
from streams.causes import is_clear, rank
from streams.dossier import signal_of
from streams.graph import ServiceGraph
from streams.signs import meaning
from tests.streams.incident_helpers import CALLS, anomaly


def ranked(*anomalies: Anomaly) -> Sequence[Cause]:
    graph = ServiceGraph(Catalogue())
    graph.learn(CALLS)
    return rank([signal_of(a) for a in anomalies], graph)


def names(*anomalies: Anomaly) -> list[str]:
    return [cause.service for cause in ranked(*anomalies)]


def test_a_slow_callee_explains_its_slow_callers() -> None:
    chain = [anomaly(name, "latency") for name in ("web", "cart", "store")]
    assert names(*chain)[0] == "store"


def test_a_saturated_resource_is_the_cause_even_if_a_callee_is_slow_too() -> None:
    assert names(anomaly("cart"), anomaly("store", "latency"))[0] == "cart"


def test_time_lost_between_caller_and_callee_points_at_the_callee() -> None:
    found = names(
        anomaly("cart", "network", caller="web"),
        anomaly("web", "latency", score=30),
    )
    assert found[0] == "cart"


def test_of_unlinked_services_the_one_that_changed_first_leads() -> None:
    assert names(anomaly("search", "latency", 200), anomaly("smtp", "latency", 0))[0] == "smtp"


def test_a_callee_that_went_out_of_order_long_after_its_caller_does_not_explain_it() -> None:
    first, later = anomaly("web", "latency", 0), anomaly("cart", "latency", 120)
    assert names(first, later)[0] == "web"
    assert names(first, anomaly("cart", "latency", 30))[0] == "cart"


def test_a_gateway_that_nothing_places_is_no_cause_where_anything_behind_it_shows() -> None:
    graph = ServiceGraph(Catalogue())
    graph.learn(CALLS)
    gateway = signal_of(anomaly("gateway", "error_ratio", score=30))
    faint = signal_of(anomaly("cart", "code_path", 20, score=4.5, opens=False))
    late = signal_of(anomaly("cart", "code_path", 200, score=4.5, opens=False))
    busy = signal_of(anomaly("gateway", "saturation", score=30))
    first, second = rank([gateway, faint], graph, [gateway])
    assert first.service == "cart"
    assert second.evidence[-1] == "but it stands in front of cart, also out of order"
    assert rank([gateway, late], graph, [gateway])[0].service == "gateway"
    assert rank([gateway, busy, faint], graph, [gateway, busy])[0].service == "gateway"


def test_a_callee_that_is_only_called_more_explains_nobody() -> None:
    busier = anomaly("store", "level", series='requests_per_5m{service="store"}', score=60)
    top = ranked(anomaly("cart", "latency"), busier)[0]
    assert top.service == "cart"
    assert not any("out of order itself" in line for line in top.evidence)


def test_a_faint_sign_of_a_callee_counts_where_its_caller_surely_shows_the_same() -> None:
    caller = signal_of(anomaly("cart", "error_ratio", score=12))
    callee = signal_of(anomaly("store", "error_ratio", score=5, opens=False))
    elsewhere = signal_of(anomaly("search", "error_ratio", score=5, opens=False))
    graph = ServiceGraph(Catalogue())
    graph.learn(CALLS)
    assert rank([caller, callee], graph, [caller])[0].service == "store"
    assert rank([caller, elsewhere], graph, [caller])[0].service == "cart"


def test_the_evidence_can_be_read() -> None:
    top = ranked(anomaly("store"), anomaly("cart", "latency", 60))[0]
    assert top.evidence[0].startswith("CPU usage saturated at 99 %")
    assert "called by cart, also out of order" in top.evidence


def test_a_cause_is_clear_only_by_a_sign_of_its_own() -> None:
    slow, full = anomaly("cart", "latency"), anomaly("cart")
    assert not is_clear(tuple(ranked(slow)), [signal_of(slow)])
    assert is_clear(tuple(ranked(full)), [signal_of(full)])


def test_a_gauge_of_latencies_counts_as_slow_requests_and_one_of_requests_as_traffic() -> None:
    gauge = 'latency_p99_seconds{service="store"}'
    slow = anomaly("store", "level", series=gauge, score=12)
    assert meaning(signal_of(slow)) == "latency"
    fewer = anomaly("web", "level", series='requests_per_5m{service="web"}', score=30)
    assert meaning(signal_of(fewer)) == "traffic"
    assert meaning(signal_of(anomaly("web", "level"))) == "level"
    assert names(fewer, slow)[0] == "store"


@given(
    st.lists(
        st.builds(
            anomaly,
            st.sampled_from(("web", "cart", "store", "search", "mail", "smtp", "x", "y", "z")),
            st.sampled_from(("saturation", "latency", "level", "network", "silence", "traffic")),
            st.integers(0, 60).map(lambda tick: tick * 10),
            score=st.floats(6, 60),
        ),
        min_size=1,
        max_size=30,
    ),
)
def test_weights_sum_to_one_and_order_of_arrival_does_not_matter(
    anomalies: list[Anomaly],
) -> None:
    causes = ranked(*anomalies)
    assert abs(sum(cause.weight for cause in causes) - 1) < 1e-9
    weights = [cause.weight for cause in causes]
    assert weights == sorted(weights, reverse=True)
    assert ranked(*reversed(anomalies)) == causes
