"""Numbers and sentences that someone just woken up understands."""

import msgspec
import pytest

from schemas.incidents import Cause
from schemas.times import duration
from streams.dossier import signal_of
from streams.words import headline, measure, number, plain, short, telling, title
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


def test_requests_of_one_caller_are_told_apart_from_all_and_the_title_is_of_all() -> None:
    whole = signal_of(anomaly("cart", "latency", series='duration_seconds{service="cart"}'))
    of_one = signal_of(
        anomaly("cart", "latency", series='duration_seconds{caller="web"}', caller="web")
    )
    assert plain(of_one).startswith("requests from web take")
    assert telling([of_one, whole]) is telling([whole, of_one]) is whole


def test_what_takes_unusually_short_is_not_called_slow() -> None:
    fast = msgspec.structs.replace(
        signal_of(anomaly("cart", "latency")), value=0.0004, expected=0.15, lower=0.1, upper=0.3
    )
    assert headline(fast) == "cart answers suspiciously fast"
    assert plain(fast) == "requests take only 0.4 ms, expected 100 ms to 300 ms"


def test_a_range_that_begins_at_nothing_is_told_by_its_end() -> None:
    full = msgspec.structs.replace(signal_of(anomaly("cart")), lower=0.0, upper=0.24)
    assert plain(full) == "CPU usage saturated at 99 %, expected at most 24 %"


def test_the_title_begins_with_the_likely_cause_even_if_only_its_calls_show_it() -> None:
    signals = [signal_of(anomaly(name, "network", caller="web")) for name in ("cart", "search")]
    said = title(signals, ("cart", "search"), (Cause(service="web", weight=1.0, evidence=()),))
    assert said.startswith("web is slow to reach cart, search: calls to search lose 990 ms")
    assert said.endswith("(and 2 more services)")


def test_a_service_that_reports_failures_is_said_to_fail() -> None:
    told = signal_of(anomaly("web", "error_ratio", series='success_ratio{service="web"}'))
    told = msgspec.structs.replace(told, value=0.165, expected=0.999, lower=0.916, upper=1.09)
    assert headline(told) == "web fails"
    assert plain(told) == "success is 16.5 %, expected at least 91.6 %"
