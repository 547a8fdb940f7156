"""Numbers and sentences that someone just woken up understands."""

import pytest

from schemas.times import duration
from streams.dossier import signal_of
from streams.words import measure, number, plain, short
from tests.streams.incident_helpers import anomaly


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.9, "s", "1.9 s"),
        (0.045, "s", "45 ms"),
        (0.973, "%", "97.3 %"),
        (3_100_000, "B", "3.1 MB"),
        (0, "s", "0 s"),
        (1234, "", "1.2 k"),
        (12.34, "/s", "12.3/s"),
        (0.00001, "s", "0.01 ms"),
    ],
)
def test_numbers_have_few_figures_and_their_unit(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_the_unit_is_read_from_the_end_of_the_metrics_name() -> None:
    assert measure('cpu_usage_ratio{service="cart"}') == ("CPU usage", "%")
    assert measure('queue_depth{service="cart"}') == ("queue depth", "")
    assert measure("network_receive_bytes_total") == ("network receive", "B")
    assert measure("packets_dropped_total") == ("packets dropped", "")


def test_spans_are_in_the_unit_people_use() -> None:
    spans = (45, 119, 170, 420, 7_500, 7_200, 200_000)
    said = ["45 s", "119 s", "3 min", "7 min", "2 h 5 min", "2 h", "2 d 8 h"]
    assert [duration(s * 1000) for s in spans] == said


def test_long_log_lines_are_cut_to_one_line() -> None:
    assert short("a\nb  c") == "a b c"
    assert len(short("x" * 500)) == 120


def test_a_network_signal_names_the_caller() -> None:
    said = plain(signal_of(anomaly("cart", "network", caller="web")))
    assert said.startswith("calls from web lose")
