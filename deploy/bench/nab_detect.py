"""What is scored by `tocsin bench nab`: the product's own detectors, and a published reference."""

from collections.abc import Callable, Sequence
from math import erfc, sqrt
from time import process_time
from typing import NamedTuple

import numpy as np

from deploy.bench.nab_corpus import Series
from deploy.bench.nab_scoring import Floats
from detectors.base import Sample
from detectors.registry import Registry
from schemas.configuration import Configuration
from schemas.observations import Observation

_NAME = "value"
"""Every file goes by this name: a metric's name says its unit, and none is to be known."""


class Detected(NamedTuple):
    """One score a row of every series, by its name, and the processor time that a row took."""

    scores: dict[str, Floats]
    microseconds_per_event: float


def detect(
    corpus: Sequence[Series], configuration: Configuration, done: Callable[[], None]
) -> Detected:
    """Runs the detectors that a gauge has in the product over each series, row by row.

    A row's score is the highest of its detectors, as it is in the product. Nothing is told of a
    file beforehand, and nothing is carried over from one to the next. Calls `done` after each.
    """
    scores: dict[str, Floats] = {}
    seconds = 0.0
    for series in corpus:
        samples = _samples(series, round(configuration.windows.window_seconds * 1000))
        began = process_time()
        scores[series.name] = np.array(_judge(samples, configuration))
        seconds += process_time() - began
        done()
    rows = sum(len(series.values) for series in corpus)
    return Detected(scores, seconds * 1e6 / rows)


def _samples(series: Series, window_ms: int) -> list[Sample]:
    return [
        Sample(
            time_ms,
            time_ms + window_ms,
            Observation(
                series=_NAME, service="", kind="gauge", count=1, sum=v, min=v, max=v, last=v
            ),
        )
        for time_ms, v in zip(series.times_ms, series.values.tolist(), strict=True)
    ]


def _judge(samples: Sequence[Sample], configuration: Configuration) -> list[float]:
    registry = Registry(configuration.detection)
    detectors = registry.detectors(_NAME, "gauge")
    scores: list[float] = []
    for sample in samples:
        highest = 0.0
        for detector in detectors:
            highest = max(highest, detector.score_one(sample))
            detector.learn_one(sample)
        registry.settle()
        scores.append(highest)
    return scores


GAUSSIAN_PUBLISHED = 39.6
"""What the public scoreboard gives the reference by the standard profile."""

_GAUSSIAN_ROWS = 6_400
_GAUSSIAN_STEP = 100
_LEAST_DEVIATION = 1e-6


def windowed_gaussian(values: Floats) -> Floats:
    """The benchmark's own plainest detector: one minus the Gaussian tail over a sliding window.

    The window is of 6,400 rows, as its authors tuned it, and moves on by 100. Scores are rounded
    to 12 digits as in the published results: nearly all alarms are 1 then, and tie.
    """
    rows = len(values)
    centred = values - values[0]
    total = np.append(0.0, np.cumsum(centred))
    squares = np.append(0.0, np.cumsum(centred * centred))
    end = np.arange(rows)
    end[_GAUSSIAN_ROWS:] -= (end[_GAUSSIAN_ROWS:] - _GAUSSIAN_ROWS) % _GAUSSIAN_STEP
    begin = np.maximum(end - _GAUSSIAN_ROWS, 0)
    count = np.maximum(end - begin, 1)
    mean = (total[end] - total[begin]) / count
    variance = np.maximum((squares[end] - squares[begin]) / count - mean * mean, 0.0)
    z = np.abs(centred - mean) / np.maximum(np.sqrt(variance), _LEAST_DEVIATION)
    scores = np.array([round(1 - 0.5 * erfc(one / sqrt(2)), 12) for one in z.tolist()])
    scores[0] = 0.0
    return scores
