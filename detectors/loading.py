"""Loads what detection has of compiled code, before the first window waits for it."""

from functools import cache

import numpy as np

from detectors.base import Sample
from detectors.gauge_part import GaugePart
from detectors.invariants import Invariants
from detectors.latency import LatencyDetector
from detectors.seasonal import Parameters
from detectors.tails import beta_binomial_score
from schemas.observations import Observation, Sketch


@cache
def load() -> None:
    """Loads all compiled code, or compiles it, which takes some seconds; once a process."""
    beta_binomial_score(1, 2, 1.0, 1.0)
    _durations()
    _gauges()
    _steps()


def _durations() -> None:
    detector = LatencyDetector()
    x = Sample(0, 1, Observation("", "", "duration", 1, sketch=Sketch(0.01, 0, {0: 1})))
    detector.score_one(x)
    detector.explain()
    for sample in (x, x._replace()):
        detector.learn_one(sample)


def _gauges() -> None:
    part = GaugePart(1, 1, Parameters(warmup_samples=1))
    part.set(0, 0.0, None, seasonal=True)
    part.score(0, 1, np.zeros(1))
    part.learn()


def _steps() -> None:
    pair, gone = np.array((40.0, 40.0)), np.array((40.0, 0.0))
    invariants = Invariants()
    for _ in pair:
        invariants.add()
    invariants.begin([pair] * 6)
    invariants.missing([pair, gone], np.ones((2, 2), np.bool_))
