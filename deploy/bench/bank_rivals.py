"""What the bank is held beside: one detector a series, River's and our own, each in Python."""

import gc
import tracemalloc
from collections.abc import Callable, Sequence
from time import process_time
from typing import Any, NamedTuple

import numpy as np
from river import anomaly, preprocessing

from deploy.bench.bank_workload import STEP_MS, Fleet
from detectors.base import Sample
from detectors.calibration import FleetCalibrator
from detectors.novelty import NoveltyDetector
from detectors.seasonal import SeasonalDetector
from schemas.observations import Observation

_LEARNT = 500
"""Samples that a detector has seen before it is measured; its windows are full then."""


class Rival(NamedTuple):
    """One detector as it is measured: `make` gives what scores and learns one sample."""

    name: str
    make: Callable[[], Callable[[int, float], object]]


def _ours() -> Callable[[int, float], object]:
    fleet = FleetCalibrator()
    detectors = (SeasonalDetector(fleet=fleet), NoveltyDetector())

    def judge(tick: int, value: float) -> float:
        o = Observation("value", "", "gauge", 1, value, value, value, value)
        x = Sample(tick * STEP_MS, (tick + 1) * STEP_MS, o)
        score = max(detector.score_one(x) for detector in detectors)
        for detector in detectors:
            detector.learn_one(x)
        fleet.settle()
        return score

    return judge


def _unsupervised(model: Any) -> Callable[[int, float], object]:
    pipeline = preprocessing.MinMaxScaler() | model

    def judge(tick: int, value: float) -> object:
        x = {"value": value}
        score = pipeline.score_one(x)
        pipeline.learn_one(x)
        return score

    return judge


def _supervised(model: Any) -> Callable[[int, float], object]:
    def judge(tick: int, value: float) -> object:
        score = model.score_one({}, value)
        model.learn_one({}, value)
        return score

    return judge


RIVALS: Sequence[Rival] = (
    Rival("tocsin, detectors a series", _ours),
    Rival("river GaussianScorer", lambda: _supervised(anomaly.GaussianScorer())),
    Rival(
        "river StandardAbsoluteDeviation", lambda: _supervised(anomaly.StandardAbsoluteDeviation())
    ),
    Rival("river OneClassSVM", lambda: _unsupervised(anomaly.OneClassSVM())),
    Rival("river HalfSpaceTrees", lambda: _unsupervised(anomaly.HalfSpaceTrees(seed=1))),
    Rival("river LODA", lambda: _unsupervised(anomaly.LODA(seed=1))),
    Rival("river LocalOutlierFactor", lambda: _unsupervised(anomaly.LocalOutlierFactor())),
)


class Speed(NamedTuple):
    """What a detector of one series does: points a second of processor time, and bytes held."""

    points_per_second: float
    bytes_per_series: float


def measure(rival: Rival, samples: int, seconds: float) -> Speed:
    """Runs a rival over one series, for at most `samples` and about `seconds` once it has learnt.

    Bytes are what the interpreter has allocated for it by then, measured in a run of its own.
    """
    values = _values(_LEARNT + samples)
    judge = rival.make()
    began = process_time()
    learnt = _run(judge, values[:_LEARNT], 0, began + seconds)
    began = process_time()
    done = _run(judge, values[learnt:], learnt, began + seconds)
    elapsed = process_time() - began
    return Speed(done / elapsed, _bytes(rival, values[:learnt]))


def _values(samples: int) -> list[float]:
    fleet = Fleet(1)
    values = np.array([fleet.next()[1][0] for _ in range(samples)])
    return [float(v) for v in values if np.isfinite(v)]


def _run(
    judge: Callable[[int, float], object], values: Sequence[float], begin: int, until: float
) -> int:
    """How many of the values were judged by then."""
    for done, value in enumerate(values):
        judge(begin + done, value)
        if process_time() > until:
            return done + 1
    return len(values)


def _bytes(rival: Rival, values: Sequence[float]) -> float:
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    judge = rival.make()
    for tick, value in enumerate(values):
        judge(tick, value)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    del judge
    return float(held)
