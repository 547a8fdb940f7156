"""Novelty: what was never seen is told, what was seen is not, and nothing is read of the future."""

import random
from math import cos, inf, nan, pi, sin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Explanation
from detectors.novelty import NOTABLE_SCORE, WARMUP_SAMPLES, NoveltyDetector, bounded
from detectors.novelty_grid import CELLS, KEPT_EPOCHS, ValueGrid, with_distances
from tests.detectors.series import gauge, scores


def noise(n: int, mean: float = 50.0, spread: float = 3.0, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [chance.gauss(mean, spread) for _ in range(n)]


def said(values: list[float], step_ms: int = 60_000) -> list[float]:
    samples = [gauge(i, v, step_ms=step_ms) for i, v in enumerate(values)]
    return scores(NoveltyDetector(), samples)


def told(values: list[float], step_ms: int = 60_000) -> list[int]:
    return [i for i, s in enumerate(said(values, step_ms)) if s >= NOTABLE_SCORE]


def explained(values: list[float], step_ms: int = 60_000) -> Explanation:
    detector = NoveltyDetector()
    samples = [gauge(i, v, step_ms=step_ms) for i, v in enumerate(values)]
    scores(detector, samples[:-1])
    assert detector.score_one(samples[-1]) >= NOTABLE_SCORE
    return detector.explain()


def test_nothing_is_said_of_the_first_samples() -> None:
    assert said([0.0, 1e6, -5.0, 3e9] * 18) == [0.0] * WARMUP_SAMPLES


def test_a_constant_series_is_never_told() -> None:
    assert max(said([45.0] * 2000)) == 0.0


def test_a_value_far_beyond_all_seen_is_told() -> None:
    assert 1000 in told([*noise(1000), 120.0])


def test_a_value_in_a_gap_between_two_modes_is_told() -> None:
    two_modes = [(20.0 if i // 7 % 2 else 80.0) + v for i, v in enumerate(noise(1000, 0.0, 1.0))]
    assert 1000 in told([*two_modes, 50.0])
    e = explained([*two_modes, 50.0])
    assert "never between" in e.reason
    assert 20.0 < e.expected < 80.0
    assert not e.confirmed


def test_the_change_of_a_constant_is_told() -> None:
    assert 500 in told([7.0] * 500 + [7.5])


def test_a_tiny_change_on_a_quiet_series_scores_nothing_but_is_learnt() -> None:
    values = [*noise(500, 0.2, 0.0001), 0.203, *noise(200, 0.2, 0.0001), 0.203, 0.5]
    samples = [gauge(i, v, "memory_usage_ratio") for i, v in enumerate(values)]
    sensitive, detector = NoveltyDetector(), NoveltyDetector(least_difference=0.01)

    alike, said = scores(sensitive, samples), scores(detector, samples)

    assert alike[500] >= NOTABLE_SCORE
    assert [i for i, score in enumerate(said) if score] == [len(samples) - 1]
    assert detector.dump() == sensitive.dump()


def test_a_second_time_is_no_news() -> None:
    again = [*noise(1000), 120.0, *noise(300, seed=2), 120.0]
    assert 1000 in told(again)
    assert len(again) - 1 not in told(again)


def test_what_is_long_past_is_news_again() -> None:
    again = [*noise(1000), 120.0, *noise(8000, seed=2), 120.0]
    assert len(again) - 1 in told(again)


def test_a_missing_daily_peak_is_told_by_the_ceiling() -> None:
    day = 144
    busy = [20.0 + 15.0 * max(0.0, sin(2 * pi * i / day)) ** 4 for i in range(8 * day)]
    quiet = [20.0] * (2 * day)
    assert [i for i in told(busy + quiet, 600_000) if i >= len(busy)]


def test_the_height_of_noon_at_midnight_is_told_by_the_day() -> None:
    day = 144
    usual = [50.0 - 20.0 * cos(2 * pi * i / day) for i in range(12 * day)]
    assert not [i for i in told(usual, 600_000) if i >= 4 * day]
    assert told([*usual, 69.0], 600_000)[-1] == 12 * day
    assert "time of day" in explained([*usual, 69.0], 600_000).reason


def test_an_old_spike_does_not_blunt_a_series_for_ever() -> None:
    values = [*noise(200), 1e9, *noise(12_500, seed=3), 120.0]
    assert len(values) - 1 in told(values)


@pytest.mark.parametrize("seed", range(3))
def test_steady_noise_is_seldom_told(seed: int) -> None:
    assert len(told(noise(6000, seed=seed))) <= 12


@pytest.mark.parametrize("odd", [nan, inf, -inf])
def test_what_is_no_number_is_neither_scored_nor_learnt(odd: float) -> None:
    values = noise(400)
    one, two = NoveltyDetector(), NoveltyDetector()
    scores(one, [gauge(i, v) for i, v in enumerate(values)])
    for i, v in enumerate(values):
        scores(two, [gauge(i, v)])
        if i % 50 == 0:
            assert scores(two, [gauge(i, odd)]) == [0.0]
    assert two.dump() == one.dump()


VALUES = st.lists(
    st.one_of(
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-3, 3).map(float),
        st.sampled_from([1e-300, 1e300, 0.1, 1 / 3]),
    ),
    min_size=1,
    max_size=40,
)


@given(VALUES, VALUES, st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_the_future_changes_no_score_of_the_past(
    past: list[float], future: list[float], repeats: int
) -> None:
    past = past * (5 * repeats)
    assert said(past + future)[: len(past)] == said(past)


@given(VALUES, st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_a_restored_detector_goes_on_as_the_one_it_was(values: list[float], repeats: int) -> None:
    samples = [gauge(i, v) for i, v in enumerate(values * (5 * repeats))]
    half = len(samples) // 2
    one, two = NoveltyDetector(), NoveltyDetector()
    scores(one, samples[:half])
    two.load(msgspec.msgpack.decode(msgspec.msgpack.encode(one.dump())))
    assert scores(two, samples[half:]) == scores(one, samples[half:])
    assert two.dump() == one.dump()


@given(st.lists(st.floats(-1e6, 1e6).map(bounded), min_size=2, max_size=60))
@settings(max_examples=60, deadline=None)
def test_whatever_was_just_seen_is_no_novelty_and_cells_know_their_nearest(
    values: list[float],
) -> None:
    grid = ValueGrid()
    for value in values:
        grid.learn(value)
    # A value at the very edge of a cell may be rounded into the next one once the grid has grown.
    half_a_cell = 0.5 * grid.width / (grid.high - grid.low or 1.0)
    assert max(grid.novelty(v) for v in values) <= half_a_cell
    assert len(grid.cells) == CELLS
    ages = bytearray(c if c < KEPT_EPOCHS else 255 for c in grid.cells)
    assert grid.cells == with_distances(ages)
