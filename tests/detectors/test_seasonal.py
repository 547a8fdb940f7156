"""The default detector of gauges."""

import random
from math import pi, sin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.profile import SeasonalProfile
from detectors.seasonal import SeasonalDetector
from tests.detectors.series import DAY_MS, START_MS, gauge, scores

HOUR_MS = 3_600_000

CHANCE = random.Random


def noise(n: int, mean: float = 50.0, spread: float = 3.0, seed: int = 1) -> list[float]:
    chance = CHANCE(seed)
    return [chance.gauss(mean, spread) for _ in range(n)]


def test_nothing_is_said_while_learning() -> None:
    wild = [0, 1e6, -5, 3e9, 0, 0, 1, 7e8] * 3
    detector = SeasonalDetector(warmup_samples=24)
    assert scores(detector, [gauge(i, v) for i, v in enumerate(wild)]) == [0.0] * 24


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_a_healthy_series_are_as_rare_as_they_claim(seed: int) -> None:
    said = scores(SeasonalDetector(), [gauge(i, v) for i, v in enumerate(noise(5000, seed=seed))])
    assert sum(s >= 2 for s in said) < 150
    assert sum(s >= 4 for s in said) <= 4
    assert max(said) < 6


def test_heavy_tails_are_learnt_and_not_told() -> None:
    chance = CHANCE(7)
    values = [50 * chance.paretovariate(1.5) for _ in range(4000)]
    said = scores(SeasonalDetector(), [gauge(i, v) for i, v in enumerate(values)])
    assert sum(s >= 6 for s in said[500:]) <= 2


def test_a_jump_is_told_with_what_was_expected_and_confirmed_by_the_third_sample() -> None:
    detector = SeasonalDetector()
    scores(detector, [gauge(i, v) for i, v in enumerate(noise(300))])
    confirmed = []
    for i in range(3):
        assert detector.score_one(gauge(300 + i, 400.0)) > 6
        confirmed.append(detector.explain().confirmed)
        detector.learn_one(gauge(300 + i, 400.0))
    explanation = detector.explain()
    assert confirmed == [False, False, True]
    assert explanation.expected == pytest.approx(50, rel=0.05)
    assert explanation.lower < 45 < 55 < explanation.upper < 100
    assert explanation.reason.startswith("queue_length of cart is 400, expected ")


def test_an_outage_is_not_learnt_as_normal() -> None:
    detector = SeasonalDetector()
    scores(detector, [gauge(i, v) for i, v in enumerate(noise(300))])
    said = scores(detector, [gauge(300 + i, 400.0) for i in range(45)])
    assert min(said) > 6
    assert scores(detector, [gauge(345 + i, v) for i, v in enumerate(noise(5))]) == [0.0] * 5


def test_a_lasting_shift_is_adopted_after_an_hour() -> None:
    detector = SeasonalDetector()
    scores(detector, [gauge(i, v) for i, v in enumerate(noise(300))])
    said = scores(detector, [gauge(300 + i, v) for i, v in enumerate(noise(120, mean=400))])
    assert min(said[:55]) > 6
    assert max(said[62:]) < 4


def test_small_changes_of_a_quiet_series_are_nobodys_business() -> None:
    detector = SeasonalDetector()
    scores(detector, [gauge(i, 0.010, "cpu_usage_ratio") for i in range(300)])
    assert detector.score_one(gauge(300, 0.012, "cpu_usage_ratio")) == 0.0
    assert detector.score_one(gauge(300, 0.5, "cpu_usage_ratio")) > 6


def test_work_done_for_a_load_is_confirmed_only_far_out() -> None:
    def confirmed(metric: str) -> bool:
        detector = SeasonalDetector()
        scores(detector, [gauge(i, v, metric) for i, v in enumerate(noise(300, 1e6, 1e5))])
        scores(detector, [gauge(300 + i, 2.5e6, metric) for i in range(2)])
        assert detector.score_one(gauge(302, 2.5e6, metric)) > 6.5
        return detector.explain().confirmed

    assert confirmed("orders_open")
    assert not confirmed("network_receive_bytes")


def test_less_use_of_a_resource_is_never_confirmed() -> None:
    detector = SeasonalDetector(harmless_low=True)
    scores(detector, [gauge(i, v) for i, v in enumerate(noise(300))])
    scores(detector, [gauge(300 + i, 1.0) for i in range(5)])
    assert detector.score_one(gauge(305, 1.0)) > 4
    assert not detector.explain().confirmed


def test_the_time_of_day_is_expected_once_it_has_been_seen() -> None:
    chance = CHANCE(3)

    def at(i: int) -> float:
        return 100 + 60 * sin(2 * pi * i / 288) + chance.gauss(0, 2)

    samples = [gauge(i, at(i), step_ms=300_000) for i in range(288 * 8)]
    said = scores(SeasonalDetector(), samples)
    assert sum(s >= 6 for s in said[288 * 3 :]) == 0
    detector = SeasonalDetector()
    scores(detector, samples)
    night, noon = gauge(288 * 8 + 216, 160.0, step_ms=300_000), gauge(288 * 8 + 72, 160.0)
    detector.score_one(night)
    assert detector.explain().expected < 110
    profile = detector.profile
    assert profile.at(START_MS + 8 * DAY_MS + 72 * 300_000) > profile.at(night.start_ms) + 0.3
    assert noon.observation.last == 160.0


@pytest.mark.parametrize(
    ("metric", "usual", "now", "kind", "confirmed"),
    [
        ("success_ratio", 0.99, 0.4, "error_ratio", True),
        ("success_ratio", 0.5, 0.99, "level", False),
        ("http_errors_ratio", 0.01, 0.4, "error_ratio", True),
        ("http_errors_ratio", 0.5, 0.01, "level", False),
        ("availability", 0.99, 0.4, "error_ratio", True),
        ("cache_hit_ratio", 0.99, 0.4, "level", True),
    ],
)
def test_a_share_of_failures_that_rises_is_told_as_such_and_one_that_falls_is_no_outage(
    metric: str, usual: float, now: float, kind: str, confirmed: bool
) -> None:
    detector = SeasonalDetector()
    healthy = [gauge(i, v, metric) for i, v in enumerate(noise(200, usual, 0.003))]
    said = scores(detector, [*healthy, *(gauge(200 + i, now, metric) for i in range(3))])
    assert said[-1] > 6
    assert detector.explain().kind == kind
    detector.score_one(gauge(203, now, metric))
    assert detector.explain().confirmed is confirmed


def test_a_profile_says_nothing_on_its_first_day_and_more_with_every_day() -> None:
    profile = SeasonalProfile()
    heights = []
    for hour in range(24 * 6):
        time_ms = START_MS + hour * HOUR_MS
        noon = hour % 24 == 12
        if noon:
            heights.append(profile.at(time_ms + HOUR_MS // 2))
        profile.learn(time_ms, 1.0 if noon else 0.0)
    assert heights[0] == 0.0
    assert heights == sorted(heights)
    assert 0.4 < heights[-1] < 0.9
    assert profile.at(START_MS + 7 * DAY_MS) == 0.0


def test_a_profile_holds_for_normal_what_any_weekday_and_the_hours_nearby_expect() -> None:
    profile = SeasonalProfile()
    for hour in range(24 * 28):
        weekday = (hour // 24 + 2) % 7  # the first day is a Wednesday
        profile.learn(START_MS + hour * HOUR_MS, float(8 <= hour % 24 < 20 and weekday < 5))
    monday = START_MS + (28 + 5) * DAY_MS
    noon, night = monday + 13 * HOUR_MS, monday + 3 * HOUR_MS
    expected, below, above = profile.band(noon)
    assert expected > 0.75
    assert expected + below < 0.3  # like a Sunday
    assert expected + above < 1.1
    assert profile.band(night)[1] == pytest.approx(profile.band(night)[2], abs=0.1)
    expected, below, above = profile.band(monday + 8 * HOUR_MS - HOUR_MS // 2)
    assert expected < 0.3
    assert expected + above > 0.7  # the rush may begin an hour early


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.floats(-1e12, 1e12, allow_nan=False) | st.just(0.0) | st.just(1e300),
        min_size=25,
        max_size=80,
    ),
    st.integers(0, 80),
)
def test_any_values_are_scored_and_a_restart_changes_nothing(values: list[float], cut: int) -> None:
    samples = [gauge(i, v) for i, v in enumerate(values)]
    whole = scores(SeasonalDetector(), samples)
    assert all(0 <= s <= 300 for s in whole)
    first, second = SeasonalDetector(), SeasonalDetector()
    before = scores(first, samples[:cut])
    second.load(first.dump())
    assert before + scores(second, samples[cut:]) == whole
