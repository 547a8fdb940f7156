"""Shares of requests that services report themselves, by what fails of them."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from detectors.base import Sample
from detectors.failure_share import FailureShareDetector, is_failure_share
from schemas.observations import Observation

MINUTE = 60_000
HEALTHY = [100.0, 99.8, 100.0, 100.0, 99.9, 100.0] * 30


def sample(number: int, value: float, metric: str = "availability_percent") -> Sample:
    series = f'{metric}{{service="search"}}'
    o = Observation(series=series, service="search", kind="gauge", count=1, sum=value)
    return Sample(number * MINUTE, number * MINUTE + 10_000, o)


def scores(
    detector: FailureShareDetector, values: Iterable[float], metric: str = "availability_percent"
) -> list[float]:
    found = []
    for number, value in enumerate(values):
        x = sample(number, value, metric)
        found.append(detector.score_one(x))
        detector.learn_one(x)
    return found


def test_three_per_cent_that_fail_where_nothing_ever_did_are_far_out() -> None:
    assert scores(FailureShareDetector(), [*HEALTHY, 97.0, 96.8])[-1] > 6


def test_a_failing_ratio_is_judged_like_its_counterpart() -> None:
    failing = [(100 - value) / 100 for value in [*HEALTHY, 90.0, 88.0]]
    found = scores(FailureShareDetector(), failing, "error_ratio")
    other = scores(FailureShareDetector(), [*HEALTHY, 90.0, 88.0])
    assert found[-1] == approx(other[-1])
    assert found[-1] > 6


def test_that_less_fails_than_usual_is_no_news() -> None:
    assert max(scores(FailureShareDetector(), [*[0.0] * 180, *[100.0] * 20])) == 0


def test_the_first_outage_does_not_hide_the_next() -> None:
    outage = [97.0, 96.5, 97.2, 96.9]
    found = scores(FailureShareDetector(), [*HEALTHY, *outage, *HEALTHY, *outage])
    assert max(found[-4:]) > 6


def test_an_outage_while_it_warms_up_does_not_become_the_usual() -> None:
    start = [*[100.0] * 8, 50.0, 55.0, 52.0, *[100.0] * 150]
    assert max(scores(FailureShareDetector(), [*start, 95.0, 94.0])[-2:]) > 6


def test_a_share_of_few_requests_that_often_jumps_is_its_noise() -> None:
    jumpy = [100.0, 100.0, 100.0, 75.0, 100.0, 100.0, 80.0, 100.0] * 30
    assert max(scores(FailureShareDetector(), [*jumpy, 75.0])[120:]) < 6


def test_what_has_failed_for_an_hour_is_adopted() -> None:
    found = scores(FailureShareDetector(), [*HEALTHY, *[60.0] * 120])
    assert found[len(HEALTHY) + 1] > 6
    assert max(found[-30:]) < 4


def test_it_is_confirmed_by_two_samples_in_a_row_after_enough_history() -> None:
    detector = FailureShareDetector()
    scores(detector, HEALTHY)
    first, second = sample(180, 90.0), sample(181, 89.0)
    detector.score_one(first)
    assert not detector.explain().confirmed
    detector.learn_one(first)
    detector.score_one(second)
    said = detector.explain()
    assert said.confirmed
    assert said.kind == "error_ratio"
    assert said.reason.startswith("availability_percent of search is 89 percent, expected at least")
    assert said.lower < said.expected <= said.upper == 100
    young = FailureShareDetector()
    scores(young, [*HEALTHY[:60], 90.0])
    young.score_one(second)
    assert not young.explain().confirmed


@given(st.lists(st.floats(0, 100), min_size=1, max_size=80), st.integers(0, 80))
def test_dump_and_load_change_nothing(values: list[float], cut: int) -> None:
    whole, begun, resumed = (FailureShareDetector(warmup_samples=5) for _ in range(3))
    expected = scores(whole, values)[cut:]
    scores(begun, values[:cut])
    resumed.load(begun.dump())
    rest = []
    for number, value in list(enumerate(values))[cut:]:
        rest.append(resumed.score_one(sample(number, value)))
        resumed.learn_one(sample(number, value))
    assert rest == expected


def test_shares_are_known_by_their_names() -> None:
    assert is_failure_share('availability_percent{service="a"}')
    assert is_failure_share('http_success_ratio{service="a"}')
    assert is_failure_share('request_failure_percent{service="a"}')
    assert not is_failure_share('cpu_usage_percent{service="a"}')
    assert not is_failure_share('memory_used_ratio{service="a"}')
    assert not is_failure_share('error_total{service="a"}')


def test_the_third_failing_sample_adds_all_that_came_before_and_the_second_half_of_it() -> None:
    first, second, third = scores(FailureShareDetector(), [*HEALTHY, 98.0, 98.0, 98.0])[-3:]
    assert second == approx(1.5 * first, rel=0.05)
    assert third == approx(2 * first, rel=0.05)


def confirmed(values: Iterable[float]) -> list[int]:
    """The samples that would open an incident."""
    detector, found = FailureShareDetector(), []
    for number, value in enumerate(values):
        x = sample(number, value)
        if detector.score_one(x) >= 6.5 and detector.explain().confirmed:
            found.append(number)
        detector.learn_one(x)
    return found


def test_a_young_series_that_seldom_fails_is_believed_at_the_third_failing_sample() -> None:
    assert confirmed([*[100.0] * 30, 95.0, 94.0, 95.5, 95.0, *[100.0] * 5]) == [32, 33]


def test_outages_before_leave_it_believed() -> None:
    start = [*[100.0] * 12, 50.0, 55.0, 52.0, *[100.0] * 13, 96.0, 97.0, 95.0]
    assert confirmed([*start, *[100.0] * 40, 95.0, 94.0, 95.5]) == [30, 73]


def test_one_that_fails_now_and_then_by_nature_is_not_believed_while_it_is_young() -> None:
    wild = [*[100.0] * 12, *[0.0, 0.0, 0.0, 100.0, 0.0, 0.0, 0.0, 0.0, 100.0, 100.0] * 11]
    assert confirmed(wild[:118]) == []


def test_two_failing_samples_are_enough_once_it_is_known_for_long() -> None:
    assert confirmed([*[100.0] * 125, 95.0, 94.0, 95.5]) == [126, 127]
