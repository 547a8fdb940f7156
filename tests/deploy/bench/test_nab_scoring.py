"""The rules of the benchmark: held to what it publishes, and to a plain reading of its paper."""

from math import exp, inf
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.bench.nab_corpus import Series, Window
from deploy.bench.nab_scoring import (
    REWARD_LOW_FN,
    STANDARD,
    Floats,
    Profile,
    alarms,
    curve,
    probation_rows,
    score_corpus,
)

PUBLISHED = Path(__file__).with_name("published") / "scores.json"


class PublishedFile(msgspec.Struct):
    rows: int
    windows: list[Window]


class PublishedDetector(msgspec.Struct):
    published: dict[str, float]
    scores: dict[str, dict[int, float]]


class Published(msgspec.Struct):
    files: dict[str, PublishedFile]
    detectors: dict[str, PublishedDetector]


def series(name: str, rows: int, *windows: Window) -> Series:
    times = [60_000 * i for i in range(rows)]
    return Series(name, [str(t) for t in times], times, np.zeros(rows), list(windows))


def at_rows(rows: int, scores: dict[int, float]) -> Floats:
    given_scores = np.zeros(rows)
    for row, score in scores.items():
        given_scores[row] = score
    return given_scores


@pytest.mark.parametrize("detector", ["ARTime", "contextOSE", "windowedGaussian"])
def test_published_scores_of_published_detectors_are_reproduced(detector: str) -> None:
    published = msgspec.json.decode(PUBLISHED.read_bytes(), type=Published)
    corpus = [series(name, f.rows, *f.windows) for name, f in published.files.items()]
    one = published.detectors[detector]
    scores = {s.name: at_rows(len(s.values), one.scores.get(s.name, {})) for s in corpus}

    report = score_corpus(scores, corpus)

    assert report.standard == pytest.approx(one.published["standard"], abs=1e-6)
    assert report.reward_low_fp == pytest.approx(one.published["reward_low_FP_rate"], abs=1e-6)
    assert report.reward_low_fn == pytest.approx(one.published["reward_low_FN_rate"], abs=1e-6)


def test_silence_scores_0_and_an_alarm_at_the_first_row_of_each_window_100() -> None:
    corpus = [series("a", 400, Window(100, 139), Window(300, 310)), series("b", 200)]
    silent = {"a": np.zeros(400), "b": np.zeros(200)}
    perfect = {"a": at_rows(400, {100: 1.0, 300: 1.0}), "b": np.zeros(200)}

    assert curve(silent, corpus, STANDARD).at(0.5) == 0
    for profile in (STANDARD, REWARD_LOW_FN):
        assert curve(perfect, corpus, profile).at(0.5) == pytest.approx(100)


def test_rows_of_the_probation_are_not_scored() -> None:
    corpus = [series("a", 200, Window(100, 120))]
    early = {"a": at_rows(200, dict.fromkeys(range(probation_rows(200)), 1.0))}

    assert probation_rows(200) == 30
    assert probation_rows(100_000) == 750
    assert curve(early, corpus, STANDARD).at(0.5) == 0
    assert alarms(early, corpus, 0.5).false == 0


def test_a_false_alarm_costs_less_soon_after_a_window_than_far_from_any() -> None:
    corpus = [series("a", 1000, Window(300, 349))]

    def cost(row: int) -> float:
        return -curve({"a": at_rows(1000, {row: 1.0})}, corpus, STANDARD).at(0.5)

    assert 0 < cost(351) < cost(360) < cost(700)
    assert cost(200) == cost(700) == pytest.approx(100 * STANDARD.false_alarm / 2)


def test_a_second_alarm_in_a_window_adds_nothing_and_costs_nothing() -> None:
    corpus = [series("a", 400, Window(100, 139))]
    once = curve({"a": at_rows(400, {110: 1.0})}, corpus, STANDARD)
    twice = curve({"a": at_rows(400, {110: 1.0, 111: 1.0, 130: 1.0})}, corpus, STANDARD)

    assert twice.at(0.5) == pytest.approx(once.at(0.5))


def test_neighbouring_rows_are_one_false_alarm_and_days_are_counted() -> None:
    corpus = [series("a", 1000, Window(500, 520))]
    found = alarms({"a": at_rows(1000, {300: 1, 301: 1, 310: 1, 519: 1, 521: 1})}, corpus, 0.5)

    assert (found.found, found.windows, found.false, found.false_rows) == (1, 1, 3, 4)
    assert found.days == pytest.approx(849 / 1440)


def test_a_missing_score_is_an_error_that_says_where() -> None:
    with pytest.raises(ValueError, match=r"a: 400 rows but \(399,\) scores"):
        score_corpus({"a": np.zeros(399)}, [series("a", 400)])


def test_each_half_is_scored_with_its_own_threshold_and_with_the_others() -> None:
    names = ("a", "b")
    corpus = [series(name, 400, Window(100, 139)) for name in names]
    scores = {
        "a": at_rows(400, {100: 0.9, 300: 0.5, 340: 0.5, 380: 0.5}),
        "b": at_rows(400, {100: 0.4}),
    }

    even, odd = score_corpus(scores, corpus).halves

    assert (even.threshold, odd.threshold) == (0.9, 0.4)
    assert even.standard == pytest.approx(100)
    assert even.standard_at_other_threshold < even.standard
    assert odd.standard_at_other_threshold == 0


def plainly(scores: Floats, one: Series, threshold: float, profile: Profile) -> float:
    """The sum for one file, row by row as the benchmark's paper tells it."""

    def sigmoid(y: float) -> float:
        return 2 / (1 + exp(5 * y)) - 1 if y <= 3 else -1.0

    total, best = 0.0, dict.fromkeys(one.windows, -profile.miss)
    start = probation_rows(len(scores))
    for row, score in enumerate(scores):
        if row < start or score < threshold:
            continue
        inside = [w for w in one.windows if w.first <= row <= w.last]
        before = [w for w in one.windows if w.last < row]
        if inside:
            first, last = inside[0]
            reward = sigmoid(-(last - row + 1) / (last - first + 1)) / sigmoid(-1.0)
            best[inside[0]] = max(best[inside[0]], reward)
        elif before:
            first, last = before[-1]
            total += profile.false_alarm * sigmoid((row - last) / (last - first))
        else:
            total -= profile.false_alarm
    return total + sum(best.values())


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9]), min_size=60, max_size=60),
    st.sampled_from([(), (Window(5, 12),), (Window(5, 9), Window(20, 31)), (Window(40, 59),)]),
)
def test_the_sweep_agrees_with_a_plain_reading_at_every_threshold(
    values: list[float], windows: tuple[Window, ...]
) -> None:
    corpus = [series("a", 60, *windows)]
    scores = np.array(values)
    swept = curve({"a": scores}, corpus, STANDARD)
    base, span = -len(windows), 2 * len(windows) or 1

    for threshold in (0.2, 0.5, 0.9, inf):
        expected = 100 * (plainly(scores, corpus[0], threshold, STANDARD) - base) / span
        assert swept.at(threshold) == pytest.approx(expected)
    assert swept.best()[0] >= max(swept.at(0.2), swept.at(0.9))
