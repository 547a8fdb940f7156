"""What users feel is read from the signals and counts of a service, plainest first."""

import msgspec
import pytest

from schemas.anomalies import AnomalyKind
from schemas.incidents import Signal
from streams.dossier import Count, signal_of
from streams.harm import harm_of
from tests.streams.incident_helpers import anomaly


def signal(kind: AnomalyKind, value: float, expected: float) -> Signal:
    return msgspec.structs.replace(signal_of(anomaly(kind=kind)), value=value, expected=expected)


@pytest.mark.parametrize(
    ("kind", "value", "expected", "points"),
    [
        ("latency", 0.3, 0.1, 0),
        ("latency", 0.7, 0.1, 1),
        ("network", 2.7, 0.1, 2),
        ("latency", 0.001, 5.0, 0),
        ("traffic", 40.0, 100.0, 1),
        ("traffic", 5.0, 100.0, 2),
        ("traffic", 900.0, 100.0, 0),
        ("saturation", 0.99, 0.1, 1),
        ("level", 0.99, 0.1, 0),
    ],
)
def test_slow_lost_and_saturated_weigh_by_what_users_notice(
    kind: AnomalyKind, value: float, expected: float, points: int
) -> None:
    assert harm_of("cart", [signal(kind, value, expected)], None).points == points


def test_failed_requests_weigh_by_share_and_number_together() -> None:
    counts = [(10, 10), (10, 1_000), (300, 400), (2_000, 4_000)]
    harms = [harm_of("cart", [], Count(requests=all_, errors=bad)) for bad, all_ in counts]
    assert [harm.points for harm in harms] == [1, 1, 2, 3]


@pytest.mark.parametrize(
    ("series", "value", "expected", "points"),
    [
        ("success_ratio", 0.16, 1.0, 3),
        ("success_ratio", 0.9, 1.0, 1),
        ("success_ratio", 1.0, 0.5, 0),
        ("http_errors_ratio", 0.3, 0.01, 2),
        ("cache_hit_ratio", 0.1, 0.9, 0),
    ],
)
def test_a_reported_share_of_failures_counts_without_a_count(
    series: str, value: float, expected: float, points: int
) -> None:
    kind: AnomalyKind = "error_ratio" if points else "level"
    told = msgspec.structs.replace(signal(kind, value, expected), series=series)
    assert harm_of("cart", [told], None).points == points


def test_signals_of_other_services_do_not_count() -> None:
    assert harm_of("web", [signal("latency", 9.0, 0.1)], None).points == 0
