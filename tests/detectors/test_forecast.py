"""The forecast of limits: what is told, how sure, what is not, and when it is taken back."""

import random
from collections.abc import Callable
from math import cos, pi

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Detector, Explanation, Sample
from detectors.expiry import ExpiryDetector
from detectors.forecast import ForecastDetector
from detectors.limits import Limit, expiry_unit_ms, limit_of, rules_of
from schemas.configuration import Catalogue, Detection, SeriesLimit, Service
from tests.detectors.series import DAY_MS, START_MS, gauge, scores

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
FULL = Limit(1.0, 1)
Shape = Callable[[float], float]


def sample(hour: float, value: float, metric: str = "disk_used_ratio") -> Sample:
    end_ms = START_MS + round(hour * HOUR_MS)
    return Sample(end_ms - 10_000, end_ms, gauge(0, value, metric).observation)


def told(
    shape: Shape,
    hours: int,
    limit: Limit = FULL,
    *,
    noise: float = 0.003,
    seed: int = 1,
    step_ms: int = MINUTE_MS,
    metric: str = "disk_used_ratio",
) -> list[tuple[float, Explanation]]:
    """What is told of a made-up series, each with the hour."""
    detector = ForecastDetector(limit)
    chance = random.Random(seed)
    found = []
    for i in range(hours * HOUR_MS // step_ms):
        hour = i * step_ms / HOUR_MS
        x = sample(hour, shape(hour) + chance.gauss(0, noise), metric)
        if detector.score_one(x) >= 4:
            found.append((hour, detector.explain()))
        detector.learn_one(x)
    return found


def kinds(found: list[tuple[float, Explanation]]) -> list[str]:
    """What was told in a row, each once: forecast, withdrawn, saturation."""
    named = [
        "withdrawn" if e.forecast is not None and e.forecast.withdrawn else e.kind for _, e in found
    ]
    return [kind for i, kind in enumerate(named) if i == 0 or named[i - 1] != kind]


def filling(hour: float) -> float:
    """A day at 30 %, then 5 % an hour: full after 38 hours."""
    return min(0.3 + max(hour - 24, 0) * 0.05, 1.0)


def test_a_disk_that_fills_is_forecast_hours_before_and_told_when_it_is_full() -> None:
    found = told(filling, 40)
    assert kinds(found) == ["forecast", "saturation"]
    hour, first = found[0]
    assert 24 < hour < 33
    full_ms = START_MS + 38 * HOUR_MS
    assert first.forecast is not None
    assert first.forecast.latest_ms is not None
    assert first.forecast.earliest_ms < full_ms < first.forecast.latest_ms
    later = next(e for hour, e in found if hour >= 34)
    assert later.confirmed
    assert later.forecast is not None
    assert abs(later.forecast.reached_ms - full_ms) < 15 * MINUTE_MS
    assert "it has risen by 5" in later.reason
    assert "so it reaches 100 % in 3 h" in later.reason
    at_limit = [hour for hour, e in found if e.kind == "saturation"]
    assert at_limit[0] == pytest.approx(38, abs=0.3)
    assert "at its limit of 100 %; it was " in found[-1][1].reason


@pytest.mark.parametrize("limit", [Limit(0.0, -1), Limit(0.0)])
def test_what_is_used_up_is_forecast_too(limit: Limit) -> None:
    found = told(
        lambda hour: 500e9 - max(hour - 24, 0) * 30e9,
        42,
        limit,
        noise=1e9,
        metric="disk_free_bytes",
    )
    assert kinds(found) == ["forecast", "saturation"]
    later = next(e for hour, e in found if hour >= 36)
    assert "it has fallen by 30" in later.reason
    assert "GB an hour" in later.reason


def ramp(pace: float) -> Shape:
    """From a fifth upwards by `pace` an hour."""
    return lambda hour: 0.2 + hour * pace


def test_four_of_five_limits_are_reached_within_the_bounds_that_were_told() -> None:
    inside = 0
    for seed in range(25):
        pace = 0.035 + 0.003 * seed
        found = told(ramp(pace), 26, noise=0.02, seed=seed, step_ms=5 * MINUTE_MS)
        forecast = next(e.forecast for _, e in found if e.forecast is not None)
        assert forecast.latest_ms is not None
        inside += forecast.earliest_ms <= START_MS + 0.8 / pace * HOUR_MS <= forecast.latest_ms
    assert 16 <= inside <= 24


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "shape",
    [
        lambda hour: 0.6,
        lambda hour: 0.5 - 0.3 * cos(2 * pi * (hour + 6) / 24),
        lambda hour: 0.3 + (0.4 if hour > 30 else 0),
        lambda hour: 0.3 + 0.5 * (hour * 1.5 % 1),
        lambda hour: 0.3 + 0.5 * (hour / 6 % 1),
        lambda hour: 0.3 + 0.4 * (hour / 24 % 1),
        lambda hour: 0.5 + 0.001 * hour,
    ],
    ids=["flat", "daily", "step", "collector", "rotation", "nightly job", "years away"],
)
def test_noise_days_steps_and_saws_are_no_reason_to_cry(shape: Shape, seed: int) -> None:
    chance = random.Random(seed)
    start = chance.uniform(0, 3)
    found = told(
        lambda hour: shape(hour + start), 24 * 5, noise=0.02, seed=seed, step_ms=3 * MINUTE_MS
    )
    assert [hour for hour, _ in found if hour > 24] == []


def test_a_leak_below_a_saw_is_forecast_by_the_heights_of_its_teeth() -> None:
    found = told(lambda hour: 0.3 + 0.1 * (hour * 3 % 1) + 0.01 * hour, 60, noise=0.01)
    assert kinds(found)[0] == "forecast"
    assert found[0][0] < 50
    assert "withdrawn" not in kinds(found)


@pytest.mark.parametrize(
    ("after", "reason"),
    [(0.3, "it has fallen to "), (0.8, "it no longer rises like that")],
    ids=["cleaned", "stalled"],
)
def test_a_forecast_that_does_not_hold_is_withdrawn_once_with_the_reason(
    after: float, reason: str
) -> None:
    found = told(lambda hour: filling(hour) if hour < 34 else after, 48)
    assert kinds(found) == ["forecast", "withdrawn"]
    assert len([e for _, e in found if e.forecast is not None and e.forecast.withdrawn]) == 1
    hour, last = found[-1]
    assert 34 <= hour < 35.5
    assert last.forecast is not None
    assert not last.confirmed
    assert str(last.forecast.withdrawn).startswith(reason)


def test_what_stays_at_its_limit_is_told_for_a_day_and_usual_after_that() -> None:
    found = told(filling, 80, step_ms=5 * MINUTE_MS)
    at_limit = [hour for hour, e in found if e.kind == "saturation"]
    assert at_limit[-1] - at_limit[0] == pytest.approx(24, abs=0.5)


def test_a_series_that_always_is_at_its_limit_is_no_news() -> None:
    assert told(lambda hour: 1.0, 48, noise=0.0) == []


def test_rare_samples_are_forecast_as_well() -> None:
    found = told(
        lambda hour: 0.3 + max(hour - 100, 0) * 0.01, 172, noise=0.003, step_ms=30 * MINUTE_MS
    )
    assert kinds(found) == ["forecast", "saturation"]


@pytest.mark.parametrize(
    ("metric", "limit"),
    [
        ("disk_used_ratio", FULL),
        ("memory_usage_ratio", FULL),
        ("jvm_heap_usage_percent", Limit(100.0, 1)),
        ("filesystem_available_bytes", Limit(0.0, -1)),
        ("connection_pool_remaining", Limit(0.0, -1)),
        ("api_quota_remaining", Limit(0.0, -1)),
        ("cpu_usage_ratio", None),
        ("memory_free_bytes", None),
        ("process_resident_memory_bytes", None),
        ("disk_read_bytes", None),
        ("cache_hit_ratio", None),
        ("connections_open", None),
    ],
)
def test_limits_follow_from_names(metric: str, limit: Limit | None) -> None:
    assert limit_of(f'{metric}{{service="db"}}', ()) == limit


def test_limits_can_be_configured_by_series_and_in_the_catalogue() -> None:
    rules = rules_of(
        Detection(limits=(SeriesLimit(series="connections_open*", limit=500),)),
        Catalogue(services=(Service(name="db[1]", limits={"jobs_waiting": 1000}),)),
    )
    assert limit_of('connections_open{service="db"}', rules) == Limit(500)
    assert limit_of('jobs_waiting{service="db[1]",instance="a"}', rules) == Limit(1000)
    assert limit_of('jobs_waiting{service="db1"}', rules) is None


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 2000))
def test_a_restart_changes_nothing(seed: int, cut: int) -> None:
    chance = random.Random(seed)
    level, samples = 0.3, []
    for i in range(2000):
        level = min(max(level + chance.gauss(0.0004, 0.003), 0.0), 1.0)
        samples.append(sample(i / 60, level if chance.random() > 0.001 else 0.2))
    whole = scores(ForecastDetector(FULL), samples)
    first, second = ForecastDetector(FULL), ForecastDetector(FULL)
    before = scores(first, samples[:cut])
    second.load(first.dump())
    assert before + scores(second, samples[cut:]) == whole


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.floats(-1e300, 1e300) | st.floats(0, 1) | st.just(1e308), min_size=30, max_size=120
    ),
    st.sampled_from([FULL, Limit(0.0, -1), Limit(500.0), Limit(1e300)]),
)
def test_any_values_are_taken_and_all_that_is_told_can_be_written(
    values: list[float], limit: Limit
) -> None:
    told_of: list[Detector] = [ForecastDetector(limit), ExpiryDetector(1000.0)]
    for detector in told_of:
        for i, value in enumerate(values):
            x = sample(i / 2, value)
            score = detector.score_one(x)
            assert 0 <= score <= 60
            if score >= 4:
                assert msgspec.msgpack.encode(detector.explain())
            detector.learn_one(x)
        assert msgspec.msgpack.encode(detector.dump())


@pytest.mark.parametrize(
    ("metric", "unit_ms"),
    [
        ("tls_certificate_expires_in_seconds", 1000),
        ("probe_ssl_earliest_cert_expiry_seconds", 1000),
        ("domain_expiry_days", DAY_MS),
        ("keys_expired_total", None),
        ("session_expiry_seconds", None),
    ],
)
def test_what_expires_is_known_by_its_name(metric: str, unit_ms: float | None) -> None:
    assert expiry_unit_ms(f'{metric}{{service="web"}}') == unit_ms


@pytest.mark.parametrize("absolute", [False, True])
def test_a_certificate_is_told_a_fortnight_ahead_until_it_is_renewed(absolute: bool) -> None:
    metric, detector = "certificate_expires_seconds", ExpiryDetector(1000.0)
    expires_ms = START_MS + 20 * DAY_MS
    reasons = []
    for hour in range(24 * 18):
        if hour == 24 * 16:
            expires_ms += 90 * DAY_MS
        now_ms = START_MS + hour * HOUR_MS
        x = sample(hour, (expires_ms - (0 if absolute else now_ms)) / 1000, metric)
        score = detector.score_one(x)
        if score >= 4:
            e = detector.explain()
            reasons.append((hour / 24, e.confirmed, e.reason))
        detector.learn_one(x)
    assert reasons[0] == (
        6.0,
        True,
        "certificate_expires_seconds of cart: expires in 14 d, on 2023-12-05 00:00:00 UTC",
    )
    day, confirmed, reason = reasons[-1]
    assert (round(day), confirmed) == (16, False)
    assert reason.endswith("it was renewed and is valid until 2024-03-04 00:00:00 UTC")


def test_an_expired_certificate_is_told_as_such() -> None:
    detector = ExpiryDetector(1000.0)
    scores(detector, [sample(0, 3600.0, "certificate_expires_seconds")])
    assert detector.score_one(sample(2, -3600.0, "certificate_expires_seconds")) > 20
    explanation = detector.explain()
    assert explanation.kind == "saturation"
    assert explanation.reason.endswith("expired 60 min ago")
