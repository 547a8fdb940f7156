"""The compiled detector of durations says what the plain one says, whatever comes."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Sample
from detectors.latency import LatencyDetector
from schemas.observations import Observation, Sketch
from tests.detectors.plain_latency import PlainLatency
from tests.detectors.series import START_MS

WINDOW_MS = 10_000
FORGETFUL: dict[str, Any] = {
    "least_windows": 2,
    "least_requests": 10,
    "memory": 300.0,
    "adopt_after_ms": 12 * WINDOW_MS,
    "distrust_after_ms": 8 * WINDOW_MS,
    "quick_after_ms": 5 * WINDOW_MS,
}
"""So that all that takes hours happens within a few windows."""

BINS = st.dictionaries(st.integers(-60, 60), st.integers(1, 60), max_size=6)
"""Around one second; what most windows of a series are like."""


@st.composite
def windows(draw: st.DrawFn) -> list[tuple[int, Sketch | None]]:
    """Stretches of windows that resemble each other, with gaps, each with where it begins."""
    said: list[tuple[int, Sketch | None]] = []
    at = 0
    for _ in range(draw(st.integers(1, 6))):
        level = draw(st.sampled_from((-400, -200, -30, 0, 0, 0, 35, 100, 300)))
        usual = draw(BINS)
        for _ in range(draw(st.integers(1, 14))):
            at += draw(st.sampled_from((1, 1, 1, 1, 2, 5)))
            more = draw(st.sampled_from(({}, {}, {90: 1}, {150: 3}, {-150: 8})))
            bins = {level + b: n for b, n in {**usual, **more}.items()}
            zeros = draw(st.sampled_from((0, 0, 0, 0, 2, 40)))
            said.append((at, draw(st.sampled_from((Sketch(0.01, zeros, bins),) * 8 + (None,)))))
    return said


def sample(at: int, sketch: Sketch | None, metric: str) -> Sample:
    start_ms = START_MS + at * WINDOW_MS
    o = Observation(f'{metric}{{service="cart"}}', "cart", "duration", 1, sketch=sketch)
    return Sample(start_ms, start_ms + WINDOW_MS, o)


def numbers(state: Any) -> list[float]:
    """All that a state holds, in a row; bins in their order, without empty ones."""
    if isinstance(state, Mapping):
        return [n for b, weight in sorted(state.items()) if weight for n in (b, weight)]
    return [n for each in state for n in numbers(each)] if isinstance(state, list) else [state]


def alike(detector: PlainLatency) -> Any:
    """What the detector holds, but for the last digits: sums may be added up in another order."""
    return pytest.approx(numbers(detector.dump()), rel=1e-9, abs=1e-9)


@settings(max_examples=300, deadline=None)
@given(windows(), st.sampled_from(("duration_seconds", "network_seconds")), st.integers(0, 40))
def test_it_says_and_learns_what_the_plain_one_does(
    said: list[tuple[int, Sketch | None]], metric: str, restarts: int
) -> None:
    plain, compiled = PlainLatency(**FORGETFUL), LatencyDetector(**FORGETFUL)
    for number, (at, sketch) in enumerate(said):
        if number == restarts:
            state, compiled = compiled.dump(), LatencyDetector(**FORGETFUL)
            compiled.load(state)
        x = sample(at, sketch, metric)
        assert compiled.score_one(x) == pytest.approx(plain.score_one(x), rel=1e-9, abs=1e-9)
        plain.learn_one(x)
        compiled.learn_one(x)
        assert numbers(compiled.dump()) == alike(plain)


def test_what_is_learnt_without_a_score_is_learnt_all_the_same() -> None:
    plain, compiled = PlainLatency(), LatencyDetector()
    for at in range(9):
        x = sample(at, Sketch(0.01, 1, {3 * at: 7, -40: 2}), "duration_seconds")
        plain.learn_one(x)
        compiled.learn_one(x)
    assert numbers(compiled.dump()) == alike(plain)


def test_a_duration_of_no_sensible_size_takes_no_more_room_than_all_there_are() -> None:
    detector = LatencyDetector()
    for at, far in enumerate((10**15, -(10**15), 0)):
        x = sample(at, Sketch(0.01, 0, {far: 1}), "duration_seconds")
        detector.score_one(x)
        detector.learn_one(x)
    reference = detector.dump()[0]
    assert sum(reference.values()) == 3
    assert max(map(abs, reference)) <= 10_000
