"""The detectors of all series together say what each would say alone."""

import random
from collections.abc import Iterator, Sequence
from math import inf

import msgspec

from detectors.base import Detector, Sample
from detectors.gauge_member import NoveltyMember, SeasonalMember
from detectors.registry import Registry
from schemas.configuration import Detection, DetectorRule
from schemas.observations import Observation
from streams.bank import CORROBORATES_FROM, Bank

MINUTE_MS = 60_000


def gauge(tick: int, series: str, value: float) -> Sample:
    o = Observation(series, "cart", "gauge", 1, value, value, value, value)
    return Sample(tick * MINUTE_MS, (tick + 1) * MINUTE_MS, o)


def ticks(many: int, seed: int = 3) -> Iterator[list[Sample]]:
    """Gauges with spikes, a step and gaps; at two of three minutes 100 report, else only four."""
    chance = random.Random(seed)
    kinds = ("queue_length", "cpu_usage_ratio", "heap_bytes", "temperature_celsius")
    for tick in range(many):
        samples = []
        for i in range(4 if tick % 3 == 0 else 100):
            value = (i + 1) * (0.1 + 0.02 * chance.random()) + (0.2 if tick > many * 0.8 else 0.0)
            if chance.random() < 0.01:
                value *= 3
            if chance.random() > 0.05:
                name = f'{kinds[i % 4]}{{service="cart",instance="{i // 4}"}}'
                samples.append(gauge(tick, name, value))
        yield samples


def bank(detection: Detection | None = None) -> Bank:
    return Bank(Registry(detection or Detection()), {}, most=1000)


def judged(bank: Bank, samples: Sequence[Sample]) -> list[tuple[str, float, str]]:
    for x in samples:
        assert bank.admit(x.observation)
    return [(a.series, a.score, a.reason) for a in bank.judge(samples)]


def novelties(said: Sequence[tuple[str, float, str]]) -> list[tuple[str, float, str]]:
    return [one for one in said if "in the last" in one[2]]


def alone(detectors: Sequence[Detector], x: Sample) -> set[tuple[str, float, str]]:
    said = set()
    for detector in detectors:
        score = detector.score_one(x)
        if score >= CORROBORATES_FROM:
            said.add((x.observation.series, round(score, 3), detector.explain().reason))
    return said


def test_series_judged_together_say_what_each_says_alone() -> None:
    registry, together = Registry(Detection()), bank()
    own: dict[str, Sequence[Detector]] = {}
    told = []
    for samples in ticks(150):
        said = judged(together, samples)
        expected = set()
        for x in samples:
            name = x.observation.series
            detectors = own.setdefault(name, registry.detectors(name, "gauge"))
            expected |= alone(detectors, x)
        for x in samples:
            for detector in own[x.observation.series]:
                detector.learn_one(x)
        registry.settle()
        assert set(said) <= expected
        assert {s for s, _, _ in said} == {s for s, _, _ in expected}
        told += novelties(said)
    assert len(told) > 5


def test_a_restored_bank_goes_on_as_the_one_it_was() -> None:
    one, two = bank(), bank()
    rows = list(ticks(200))
    for samples in rows[:110]:
        judged(one, samples)
    two.load(msgspec.msgpack.decode(msgspec.msgpack.encode(one.dump())))
    for samples in rows[110:]:
        assert judged(two, samples) == judged(one, samples)
    assert two.dump() == one.dump()


def test_detectors_that_an_earlier_release_saved_one_by_one_go_on_in_the_bank() -> None:
    one, two = bank(), bank()
    rows = list(ticks(140))
    for samples in rows[:110]:
        judged(one, samples)
    fleets, series, parts = one.dump()
    for name, *_, learnt in series:
        gauge = one._series[name].gauge
        assert gauge is not None
        own = one._gauges.season_of(gauge.place, gauge.new_seasonal())
        learnt[:] = [[kind, own.dump() if kind == "SeasonalDetector" else s] for kind, s in learnt]
    two.load([fleets, series, [without_seasons(part) for part in parts]])
    for samples in rows[110:]:
        assert judged(two, samples) == judged(one, samples)
    assert two.dump() == one.dump()


def without_seasons(part: bytes) -> bytes:
    """A part of the bank as it was when only novelty was in it."""
    size, names, state = msgspec.msgpack.decode(part)
    _, many, arrays = msgspec.msgpack.decode(state)
    novelty = {name: array for name, array in arrays.items() if not name.startswith("season_")}
    return msgspec.msgpack.encode([size, names, msgspec.msgpack.encode([1, many, novelty])])


def test_a_gauge_keeps_what_it_has_learnt_when_a_rule_gives_it_parameters_and_takes_them_back() -> (
    None
):
    plain, ruled = (
        Detection(),
        Detection(rules=(DetectorRule(series="queue*", parameters={"memory": 80}),)),
    )
    one, two, three = bank(plain), bank(ruled), bank(plain)
    rows = list(ticks(100))
    for samples in rows:
        judged(one, samples)
    two.load(one.dump())
    three.load(two.dump())
    name = 'queue_length{service="cart",instance="2"}'
    spike = [gauge(100, name, 900.0)]
    assert judged(two, spike)[0][0] == name
    assert judged(three, spike) == judged(one, spike) != []


def test_a_series_with_other_detectors_than_before_starts_anew_and_the_rest_goes_on() -> None:
    one = bank()
    rows = list(ticks(130))
    for samples in rows[:100]:
        judged(one, samples)
    rule = DetectorRule(series="queue_length*", detector="river.anomaly.GaussianScorer")
    without = bank(Detection(rules=(rule,)))
    without.load(one.dump())
    again = bank()
    again.load(without.dump())
    for samples in rows[100:]:
        kept = [x for x in samples if not x.observation.series.startswith("queue")]
        assert judged(again, kept) == judged(one, kept)
    fresh = bank()
    for samples in rows[100:]:
        queue = [x for x in samples if x.observation.series.startswith("queue")]
        assert novelties(judged(again, queue)) == novelties(judged(fresh, queue))


def test_what_is_no_number_or_of_another_kind_is_left_out() -> None:
    watched = bank()
    name = 'queue_length{service="cart"}'
    for tick in range(100):
        judged(watched, [gauge(tick, name, 5.0 + tick % 3)])
    before = watched.dump()
    odd = gauge(100, name, inf)
    kind = Sample(0, 1, Observation(name, "cart", "requests", 9, errors=1))
    assert judged(watched, [odd]) == []
    assert judged(watched, [kind]) == []
    assert watched.dump() == before


def test_gauges_have_their_detectors_in_the_bank() -> None:
    watched = bank()
    judged(watched, list(ticks(2))[1])
    kinds = [type(d) for s in watched._series.values() for d in s.detectors]
    assert kinds.count(NoveltyMember) == kinds.count(SeasonalMember) == len(watched)
