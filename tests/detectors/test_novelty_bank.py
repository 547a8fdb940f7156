"""The bank gives, number for number, what a detector a series gives, whoever comes and goes."""

import random
from collections.abc import Callable
from math import isfinite, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Sample
from detectors.novelty import NoveltyDetector
from detectors.novelty_bank import NoveltyBank
from detectors.novelty_grid import EPOCH_SAMPLES, KEPT_EPOCHS
from detectors.novelty_part import NoveltyPart, PartStateError
from tests.detectors.series import gauge

STEP_MS = 400_000

ODD = st.sampled_from([nan, float("inf"), 1e-300, 1e300, 0.1, 1 / 3, -1.0, 1e9])
VALUE = st.one_of(ODD, st.integers(-3, 3).map(float), st.floats(-1e3, 1e3))
SERIES = st.lists(VALUE, min_size=1, max_size=25)


def sample(tick: int, value: float) -> Sample:
    return gauge(tick, value, step_ms=STEP_MS)


LEAST = {"s0": 0.0, "s1": 0.5, "s2": 2.0, "s3": 1e-3, "s4": 100.0}


class Scalars:
    """A detector a name, as the bank's reference."""

    def __init__(self) -> None:
        self.detectors: dict[str, NoveltyDetector] = {}

    def observe(self, name: str, tick: int, value: float) -> float:
        detector = self.detectors.setdefault(
            name, NoveltyDetector(least_difference=LEAST.get(name, 0.0))
        )
        x = sample(tick, value)
        score = detector.score_one(x)
        detector.learn_one(x)
        return score


def observe(bank: NoveltyBank, tick: int, values: dict[str, float]) -> dict[str, float]:
    places = {name: bank.place(name, LEAST.get(name, 0.0)) for name in values}
    row = np.full(bank.places, nan)
    for name, value in values.items():
        row[places[name]] = value
    scores = bank.observe(sample(tick, 0.0).start_ms, row)
    return {name: float(scores[place]) for name, place in places.items()}


@given(
    st.lists(SERIES, min_size=1, max_size=5),
    st.integers(2, 30),
    st.randoms(use_true_random=False),
)
@settings(max_examples=15, deadline=None)
def test_the_bank_says_what_a_detector_a_series_says(
    patterns: list[list[float]], repeats: int, chance: random.Random
) -> None:
    bank, scalars = NoveltyBank(part_series=3), Scalars()
    joins = [chance.randrange(30) for _ in patterns]
    for tick in range(repeats * 8):
        values = {
            f"s{i}": pattern[tick % len(pattern)]
            for i, pattern in enumerate(patterns)
            if tick >= joins[i] and chance.random() > 0.1
        }
        if chance.random() < 0.02 and scalars.detectors:
            gone = chance.choice(sorted(scalars.detectors))
            bank.forget(gone)
            del scalars.detectors[gone]
        if chance.random() < 0.05:
            parts = bank.dump(every=True)
            bank = NoveltyBank(part_series=3)
            bank.load(parts)
        said = observe(bank, tick, values)
        assert said == {n: scalars.observe(n, tick, v) for n, v in values.items()}
    for name, detector in scalars.detectors.items():
        assert bank.detector(bank.place(name)).dump() == detector.dump()


def test_they_are_equal_through_ageing_forgetting_and_narrowing() -> None:
    chance = random.Random(4)
    ticks = EPOCH_SAMPLES * (KEPT_EPOCHS + 3)
    kinds: dict[str, Callable[[int], float]] = {
        "noise": lambda tick: chance.gauss(50, 3),
        "whole": lambda tick: float(chance.randrange(9)),
        "spike": lambda tick: 1e9 if tick == 200 else chance.gauss(5, 1),
        "walk": lambda tick: tick * 0.01 + chance.gauss(0, 1),
        "gaps": lambda tick: nan if chance.random() < 0.2 else chance.expovariate(1),
    }
    part, detectors = NoveltyPart(len(kinds)), [NoveltyDetector() for _ in kinds]
    for tick in range(ticks):
        values = [draw(tick) for draw in kinds.values()]
        start_ms = sample(tick, 0.0).start_ms
        scores = part.score(np.full(len(kinds), start_ms), np.array(values))
        part.learn()
        for detector, value, score in zip(detectors, values, scores, strict=True):
            x = sample(tick, value)
            assert detector.score_one(x) == score
            detector.learn_one(x)
    assert [part.detector(i).dump() for i in range(len(kinds))] == [d.dump() for d in detectors]


def test_only_parts_that_changed_are_dumped_and_the_latest_of_each_restore_the_bank() -> None:
    names = [f"s{i}" for i in range(10)]
    bank = NoveltyBank(part_series=4)
    bank.places_with(names)
    saved = bank.dump()
    assert sorted(saved) == [0, 1, 2]
    assert bank.dump() == {}
    for tick in range(90):
        observe(bank, tick, {"s1": tick % 7.0, "s9": tick % 5.0})
    changed = bank.dump()
    assert sorted(changed) == sorted({bank.place("s1") // 4, bank.place("s9") // 4})
    restored = NoveltyBank(part_series=4)
    restored.load({**saved, **changed})
    assert len(restored) == len(bank) == 10
    news = dict.fromkeys([*names, "new"], 99.0)
    assert observe(restored, 90, news) == observe(bank, 90, news)
    assert restored.dump(every=True) == bank.dump(every=True)


def test_parts_that_no_series_is_left_in_are_dropped_and_stay_dropped_when_restored() -> None:
    bank = NoveltyBank(part_series=2)
    bank.places_with("abcde")
    saved = bank.dump()
    for name in "acd":
        bank.forget(name)
    assert bank.places == 6
    bank.forget("e")
    assert bank.places == 2
    saved |= bank.dump()
    restored = NoveltyBank(part_series=2)
    restored.load(saved)
    assert restored.places == 2
    assert [restored.place(name) for name in "bax"] == [bank.place(name) for name in "bax"]
    bank.forget("b")
    bank.forget("a")
    bank.forget("x")
    assert (bank.places, len(bank), bank.bytes_per_series) == (0, 0, 0.0)
    assert bank.observe(0, np.zeros(0)).tolist() == []


def test_a_place_that_was_given_up_is_as_new() -> None:
    bank, scalars = NoveltyBank(part_series=2), Scalars()
    for tick in range(100):
        observe(bank, tick, {"old": 1e6 * (tick % 3), "other": 1.0})
    place = bank.place("old")
    bank.forget("old")
    assert bank.place("new") == place
    for tick in range(100, 300):
        value = (tick % 11) * 0.1 + (tick == 299)
        assert observe(bank, tick, {"new": value})["new"] == scalars.observe("new", tick, value)
    assert isfinite(bank.bytes_per_series)


def test_a_series_needs_less_than_four_kibibytes() -> None:
    bank = NoveltyBank(part_series=64)
    bank.place("one")
    assert bank.bytes_per_series <= 4096
    assert len(bank.dump()[0]) <= 4096


def test_a_wrong_number_of_values_is_refused() -> None:
    bank = NoveltyBank(part_series=4)
    bank.place("one")
    with pytest.raises(ValueError, match="4 places, and 3 values"):
        bank.observe(0, np.zeros(3))


def test_parts_of_another_kind_are_refused_and_change_nothing() -> None:
    bank, other = NoveltyBank(part_series=4), NoveltyBank(part_series=8)
    bank.place("one")
    other.place("two")
    with pytest.raises(PartStateError, match="for 8 series, not for 4"):
        bank.load(other.dump())
    with pytest.raises(PartStateError, match="part 0 of 1 of the bank is missing"):
        bank.load({1: bank.dump(every=True)[0]})
    with pytest.raises(PartStateError, match="cannot be read"):
        bank.load({0: b"\x93\x01"})
    assert len(bank) == 1
    assert bank.place("one") < 4
