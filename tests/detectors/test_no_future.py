"""Neither a detector nor what follows it knows what comes: another future, the same past."""

import importlib
import json
import pkgutil
import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import detectors
from detectors.base import Detector, Sample
from detectors.gauge_member import NoveltyMember, SeasonalMember
from detectors.registry import Registry
from schemas.configuration import Configuration, Detection, DetectorRule
from schemas.observations import Observation, ObservationKind
from streams.pipeline import TOPIC, Pipeline
from streams.run import Run
from tests.detectors.series import START_MS, durations

MINUTE_MS = 60_000
WATCHED: tuple[tuple[str, ObservationKind], ...] = (
    ("queue_length", "gauge"),
    ("cpu_usage_ratio", "gauge"),
    ("disk_used_ratio", "gauge"),
    ("success_ratio", "gauge"),
    ("certificate_expires_seconds", "gauge"),
    ("river_length", "gauge"),
    ("duration_seconds", "duration"),
    ("requests", "requests"),
)
DETECTION = Detection(
    rules=(DetectorRule(series="river_*", detector="river.anomaly.GaussianScorer"),)
)


def built(metric: str, kind: ObservationKind) -> Sequence[Detector]:
    return Registry(DETECTION).detectors(f'{metric}{{service="cart"}}', kind)


def sample(metric: str, kind: ObservationKind, minute: int, value: float) -> Sample:
    end_ms = START_MS + minute * MINUTE_MS
    series = f'{metric}{{service="cart"}}'
    if kind == "duration":
        made = durations(0, [0.01 + value, 0.02 + value, 0.03 + value]).observation
        return Sample(end_ms - 10_000, end_ms, msgspec.structs.replace(made, series=series))
    count = round(100 * value) + 1
    if kind == "requests":
        o = Observation(series, "cart", kind, count, errors=round(10 * value))
    else:
        o = Observation(series, "cart", kind, 1, value, value, value, value)
    return Sample(end_ms - 10_000, end_ms, o)


def said(metric: str, kind: ObservationKind, values: Sequence[float], gap: int) -> list[object]:
    """What each detector of a series said of each sample; the last third comes `gap` later."""
    registry = Registry(DETECTION)
    told: list[object] = []
    together = registry.detectors(f'{metric}{{service="cart"}}', kind)
    for i, value in enumerate(values):
        x = sample(metric, kind, i + (gap if i >= 2 * len(values) // 3 else 0), value)
        for detector in together:
            score = detector.score_one(x)
            told.append((i, score, detector.explain() if score >= 4 else None))
            detector.learn_one(x)
    return told


@pytest.mark.parametrize(("metric", "kind"), WATCHED)
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5_000), st.floats(0, 1))
def test_another_future_leaves_what_a_detector_said_as_it_was(
    metric: str, kind: ObservationKind, seed: int, gap: int, other: float
) -> None:
    chance = random.Random(seed)
    values = [min(max(chance.gauss(0.3, 0.05) + (i % 50 == 49), 0.0), 1.0) for i in range(180)]
    changed = [*values[:120], *(abs(other - value) for value in values[120:])]
    count = 120 * len(built(metric, kind))
    past = said(metric, kind, values, 0)[:count]
    assert said(metric, kind, changed, 0)[:count] == past
    assert said(metric, kind, values, gap)[:count] == past


def test_every_detector_is_held_to_this() -> None:
    held = {type(detector) for metric, kind in WATCHED for detector in built(metric, kind)}
    there = set()
    for module in pkgutil.iter_modules(detectors.__path__, "detectors."):
        for found in vars(importlib.import_module(module.name)).values():
            is_own = isinstance(found, type) and found.__module__ == module.name
            if is_own and {"score_one", "learn_one", "explain"} <= vars(found).keys():
                there.add(found)
    # A member of the bank says what the single detector says; the bank's own test shows that.
    assert there - held == {Detector, NoveltyMember, SeasonalMember}


# -- the whole pipeline ------------------------------------------------------------------------

SERVICES = ("web", "cart", "store")


def records(chance: random.Random, minute: int, *, bad: bool) -> list[dict[str, object]]:
    """A minute of a small system: metrics, requests along its edges, log lines."""
    made: list[dict[str, object]] = []
    for i, service in enumerate(SERVICES):
        time_ms = START_MS + minute * MINUTE_MS + i
        ill = bad and service == "store"
        usage = 0.98 if ill else chance.uniform(0.1, 0.2)
        made += [
            {"time": time_ms, "service": service, "metric": "cpu_usage_ratio", "value": usage},
            {"time": time_ms, "service": service, "metric": "disk_used_ratio", "value": 0.5},
        ]
        for k in range(4):
            made.append(
                {
                    "time": time_ms + 12_000 * k + 10,
                    "service": service,
                    "caller": SERVICES[i - 1] if i else None,
                    "operation": "Get",
                    "duration_seconds": chance.uniform(0.01, 0.02) * (50 if ill else 1),
                    "client_duration_seconds": 1.1,
                    "status": 503 if ill and k % 2 else 200,
                }
            )
        severity, body = ("ERROR", "cannot reach disk 7") if ill else ("INFO", f"served {minute}")
        made.append({"time": time_ms, "service": service, "severity": severity, "body": body})
    return sorted(made, key=lambda record: int(str(record["time"])))


def played(lines: Sequence[dict[str, object]], until_ms: int) -> bytes:
    """All that a pipeline says of records read in one go, up to a time."""
    values = [json.dumps({k: v for k, v in r.items() if v is not None}).encode() for r in lines]
    count = len(values)
    pipeline = Pipeline(Configuration())
    passed = pipeline.process(Run(TOPIC, 0, range(count), [-1] * count, [None] * count, values))
    anomalies = [a for b in passed.anomalies for a in b.anomalies if a.window_end_ms <= until_ms]
    events = [event for event in passed.events if event.time_ms <= until_ms]
    observed = [b for b in passed.observations if b.window_end_ms <= until_ms and b.observations]
    return msgspec.json.encode((observed, anomalies, events))


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 40), st.integers(1, 600))
def test_another_future_leaves_what_the_pipeline_said_as_it_was(
    seed: int, cut: int, shift: int
) -> None:
    chance = random.Random(seed)
    ill = range(cut - 8, cut - 3)
    past = [r for m in range(cut) for r in records(chance, m, bad=m in ill)]
    calm = [r for m in range(cut, cut + 8) for r in records(chance, m, bad=False)]
    worse = [r for m in range(cut, cut + 8) for r in records(chance, m, bad=True)]
    later = [{**r, "time": int(str(r["time"])) + shift * MINUTE_MS // 10} for r in calm]
    until_ms = START_MS + cut * MINUTE_MS - 20_000
    told = played([*past, *calm], until_ms)
    assert b"INC-" in told
    assert played([*past, *worse], until_ms) == told
    assert played([*past, *later], until_ms) == told
    assert played([*past, *calm[:1]], until_ms) == told
