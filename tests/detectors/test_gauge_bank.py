"""The bank gives, number for number, what two detectors a gauge give, whoever comes and goes."""

import random
from collections.abc import Callable
from math import isfinite, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Sample
from detectors.calibration import FleetCalibrator
from detectors.gauge_bank import GaugeBank
from detectors.gauge_part import PartStateError
from detectors.novelty import NoveltyDetector
from detectors.novelty_grid import EPOCH_SAMPLES, KEPT_EPOCHS
from detectors.seasonal import Parameters, SeasonalDetector
from detectors.units import smallest_difference
from tests.detectors.series import gauge

STEP_MS = 400_000

ODD = st.sampled_from([nan, float("inf"), 1e-300, 1e300, 0.1, 1 / 3, -1.0, 1e9])
VALUE = st.one_of(ODD, st.integers(-3, 3).map(float), st.floats(-1e3, 1e3))
SERIES = st.lists(VALUE, min_size=1, max_size=25)


METRICS = ("queue_length", "age_seconds", "heap_bytes", "usage_percent", "busy_ratio")
"""In their units other differences matter."""


def sample(tick: int, value: float, metric: str = "", step_ms: int = STEP_MS) -> Sample:
    return gauge(tick, value, metric or METRICS[0], step_ms)


PARAMETERS = Parameters(warmup_samples=5, adopt_after_ms=12 * STEP_MS)


class Scalars:
    """Both detectors a name, as the bank's reference; all gauges are of one fleet."""

    def __init__(self) -> None:
        self.fleet = FleetCalibrator()
        self.detectors: dict[str, tuple[NoveltyDetector, SeasonalDetector]] = {}

    def add(self, name: str) -> tuple[NoveltyDetector, SeasonalDetector]:
        return self.detectors.setdefault(
            name,
            (
                NoveltyDetector(least_difference=smallest_difference(name)),
                SeasonalDetector(**PARAMETERS._asdict(), fleet=self.fleet),
            ),
        )

    def observe(
        self, tick: int, values: dict[str, float], step_ms: int = STEP_MS
    ) -> dict[str, tuple[float, ...]]:
        said = {}
        samples = {n: sample(tick, v, n, step_ms) for n, v in values.items() if isfinite(v)}
        for name in values:
            self.add(name)
        for name, x in samples.items():
            said[name] = tuple(d.score_one(x) for d in self.add(name))
        for name, x in samples.items():
            for detector in self.add(name):
                detector.learn_one(x)
        self.fleet.settle()
        return said


class Bank(GaugeBank):
    """The bank under test, with the fleet that its gauges are of."""

    def __init__(self, part_series: int, fleet: FleetCalibrator | None = None) -> None:
        super().__init__(part_series, parameters=PARAMETERS)
        self.fleet = fleet or FleetCalibrator()

    def add(self, name: str) -> int:
        return self.place(name, smallest_difference(name), self.fleet)

    def see(
        self, tick: int, values: dict[str, float], step_ms: int = STEP_MS
    ) -> dict[str, tuple[float, ...]]:
        places = {name: self.add(name) for name in values}
        row = np.full(self.places, nan)
        for name, value in values.items():
            row[places[name]] = value
        x = sample(tick, 0.0, step_ms=step_ms)
        self.score(x.start_ms, x.end_ms, row)
        said: dict[str, tuple[float, ...]] = {
            name: (self.novelty[place], self.seasonal[place])
            for name, place in places.items()
            if isfinite(values[name])
        }
        self.learn()
        self.fleet.settle()
        return said

    def state(self, name: str) -> list[object]:
        place = self.add(name)
        seasonal = SeasonalDetector(**PARAMETERS._asdict())
        return [self.novelty_of(place).dump(), self.season_of(place, seasonal).dump()]


@given(
    st.lists(SERIES, min_size=1, max_size=5),
    st.integers(2, 30),
    st.randoms(use_true_random=False),
)
@settings(max_examples=12, deadline=None)
def test_the_bank_says_what_the_detectors_of_a_gauge_say(
    patterns: list[list[float]], repeats: int, chance: random.Random
) -> None:
    bank, scalars = Bank(3), Scalars()
    joins = [chance.randrange(30) for _ in patterns]
    for tick in range(repeats * 8):
        values = {
            METRICS[i]: pattern[tick % len(pattern)] * (50.0 if tick % 90 > 75 else 1.0)
            for i, pattern in enumerate(patterns)
            if tick >= joins[i] and chance.random() > 0.1
        }
        if chance.random() < 0.02 and scalars.detectors:
            gone = chance.choice(sorted(scalars.detectors))
            bank.forget(gone)
            del scalars.detectors[gone]
        if chance.random() < 0.05:
            parts = bank.dump(every=True)
            bank = Bank(3, bank.fleet)
            bank.load(parts)
            for name in scalars.detectors:
                bank.add(name)
        assert bank.see(tick, values) == scalars.observe(tick, values)
    for name, detectors in scalars.detectors.items():
        assert bank.state(name) == [detector.dump() for detector in detectors]
    assert bank.fleet.dump() == scalars.fleet.dump()


def run(
    kinds: dict[str, Callable[[int], float]], ticks: int, step_ms: int, chance: random.Random
) -> tuple[Bank, float]:
    """Both on the same values, held equal all the way; the bank, and the highest season's score."""
    bank, scalars, highest = Bank(len(kinds)), Scalars(), 0.0
    for tick in range(ticks):
        values = {name: draw(tick) for name, draw in kinds.items() if chance.random() > 0.01}
        said = bank.see(tick, values, step_ms)
        assert said == scalars.observe(tick, values, step_ms)
        highest = max([highest, *(score for _, score in said.values())])
    for name, detectors in scalars.detectors.items():
        assert bank.state(name) == [detector.dump() for detector in detectors]
    return bank, highest


@pytest.mark.slow
def test_they_are_equal_through_ageing_forgetting_and_narrowing() -> None:
    chance = random.Random(4)
    kinds: dict[str, Callable[[int], float]] = {
        "noise": lambda tick: chance.gauss(50, 3),
        "whole": lambda tick: float(chance.randrange(9)),
        "spike": lambda tick: 1e9 if tick == 200 else chance.gauss(5, 1),
        "walk": lambda tick: tick * 0.01 + chance.gauss(0, 1),
        "gaps": lambda tick: nan if chance.random() < 0.2 else chance.expovariate(1),
    }
    run(kinds, EPOCH_SAMPLES * (KEPT_EPOCHS + 1), 60_000, chance)


def test_they_are_equal_through_weeks_level_shifts_and_levels_that_come_back() -> None:
    chance = random.Random(5)

    def busy(tick: int) -> float:
        hour, day = tick % 24, tick // 24 % 7
        return (5 + hour * (24 - hour) / 20) * (0.5 if day > 4 else 1.0) * chance.uniform(0.9, 1.1)

    kinds: dict[str, Callable[[int], float]] = {
        "calls": busy,
        "calls_with_outages": lambda tick: (
            busy(tick) * (8.0 if tick % 500 in range(300, 306) else 1)
        ),
        "shifted": lambda tick: chance.gauss(90.0 if tick % 300 > 150 else 40.0, 1.0),
        "back": lambda tick: chance.gauss(90.0 if tick % 300 in range(150, 165) else 40.0, 1.0),
    }
    _, highest = run(kinds, 24 * 7 * 5, 3_600_000, chance)
    assert highest > 6.0


def test_the_seasonal_half_is_left_to_others_where_a_gauge_has_none() -> None:
    bank, scalars = Bank(4), Scalars()
    for tick in range(200):
        value = 5.0 + tick % 3 + 90.0 * (tick > 190)
        bank.place("plain", seasonal=False)
        row = np.full(bank.places, nan)
        row[bank.place("plain", seasonal=False)] = value
        x = sample(tick, 0.0)
        bank.observe(x.start_ms, x.end_ms, row)
        novelty, _ = scalars.observe(tick, {"plain": value})["plain"]
        place = bank.place("plain", seasonal=False)
        assert (bank.novelty[place], bank.seasonal[place]) == (novelty, 0.0)


def test_only_parts_that_changed_are_dumped_and_the_latest_of_each_restore_the_bank() -> None:
    names = [f"s{i}" for i in range(10)]
    bank = Bank(4)
    bank.places_with(names)
    saved = bank.dump()
    assert sorted(saved) == [0, 1, 2]
    assert bank.dump() == {}
    for tick in range(90):
        bank.see(tick, {"s1": tick % 7.0, "s9": tick % 5.0})
    changed = bank.dump()
    assert sorted(changed) == sorted({bank.add("s1") // 4, bank.add("s9") // 4})
    restored = Bank(4, FleetCalibrator())
    restored.fleet.load(bank.fleet.dump())
    restored.load({**saved, **changed})
    assert len(restored) == len(bank) == 10
    news = dict.fromkeys([*names, "new"], 99.0)
    assert restored.see(90, news) == bank.see(90, news)
    assert restored.dump(every=True) == bank.dump(every=True)


def test_parts_that_no_gauge_is_left_in_are_dropped_and_stay_dropped_when_restored() -> None:
    bank = GaugeBank(part_series=2)
    bank.places_with("abcde")
    saved = bank.dump()
    for name in "acd":
        bank.forget(name)
    assert bank.places == 6
    bank.forget("e")
    assert bank.places == 2
    saved |= bank.dump()
    restored = GaugeBank(part_series=2)
    restored.load(saved)
    assert restored.places == 2
    assert [restored.place(name) for name in "bax"] == [bank.place(name) for name in "bax"]
    bank.forget("b")
    bank.forget("a")
    bank.forget("x")
    assert (bank.places, len(bank), bank.bytes_per_series) == (0, 0, 0.0)
    assert bank.observe(0, 1, np.zeros(0)).tolist() == []


def test_a_place_that_was_given_up_is_as_new() -> None:
    bank, scalars = Bank(2), Scalars()
    for tick in range(100):
        bank.see(tick, {"old": 1e6 * (tick % 3), "other": 1.0})
    place = bank.add("old")
    bank.forget("old")
    bank.fleet.load(scalars.fleet.dump())
    assert bank.add("new") == place
    for tick in range(100, 300):
        value = {"new": (tick % 11) * 0.1 + (tick == 299)}
        assert bank.see(tick, value) == scalars.observe(tick, value)
    assert isfinite(bank.bytes_per_series)


def test_a_bank_is_restored_although_one_of_its_parts_has_lost_all_its_gauges() -> None:
    bank, other = Bank(1), Bank(1)
    for tick in range(3):
        bank.see(tick, {"gone": 1.0, "left": float(tick)})
    bank.forget("gone")
    other.load(bank.dump(every=True))
    assert (len(other), other.add("left"), other.add("new")) == (1, 1, 0)


def test_a_gauge_needs_less_than_four_kibibytes() -> None:
    bank = GaugeBank(part_series=64)
    bank.place("one")
    assert bank.bytes_per_series <= 4096
    assert len(bank.dump()[0]) <= 5120


def test_fewer_or_more_samples_of_warmup_than_were_saved_do_no_harm() -> None:
    bank = Bank(2)
    for tick in range(4):
        bank.see(tick, {"one": float(tick)})
    for warmup in (2, 30):
        other = GaugeBank(2, parameters=PARAMETERS._replace(warmup_samples=warmup))
        other.load(bank.dump(every=True))
        for tick in range(4, 40):
            row = np.full(other.places, nan)
            row[other.place("one")] = tick % 4 if tick < 39 else 900.0
            other.observe(tick * STEP_MS, (tick + 1) * STEP_MS, row)
        assert other.seasonal[other.place("one")] > 0.5


def test_a_wrong_number_of_values_is_refused() -> None:
    bank = GaugeBank(part_series=4)
    bank.place("one")
    with pytest.raises(ValueError, match="4 places, and 3 values"):
        bank.observe(0, 1, np.zeros(3))


def test_parts_of_another_kind_are_refused_and_change_nothing() -> None:
    bank, other = GaugeBank(part_series=4), GaugeBank(part_series=8)
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
