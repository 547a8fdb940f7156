"""A block of series that are scored together: the state of their novelty detectors as arrays."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.novelty import (
    MOST,
    MOST_SCORE,
    NOTABLE_NOVELTY,
    NOTABLE_SCORE,
    QUIET_FACTOR,
    QUIET_SAMPLES,
    VIEWS,
    WARMUP_SAMPLES,
    WEIGHTS,
    NoveltyDetector,
)
from detectors.novelty_columns import Looks, ViewColumns
from detectors.novelty_grids import Flags, Floats, Integers, ValueGrids
from detectors.novelty_views import LEAST

_WEIGHTS = np.array(WEIGHTS)[:, None]


class _Scored(NamedTuple):
    """What was scored and is to be learnt."""

    times_ms: Integers
    values: Floats
    present: Flags
    looks: Looks
    novelty: Floats
    old: Flags


class NoveltyPart:
    """`size` novelty detectors that give, sample by sample, what `NoveltyDetector` gives.

    First `score`, then `learn`. `least_difference` is that of each series; it is no state.

    Parameters
    ----------
    size
        Series. Each step is taken for all of them, with or without a sample.
    warmup_samples
        As of `NoveltyDetector`.
    """

    def __init__(self, size: int, warmup_samples: int = WARMUP_SAMPLES) -> None:
        self.size = size
        self.warmup_samples = warmup_samples
        self.views = ViewColumns(size)
        self.grids = ValueGrids(len(VIEWS), size)
        self.peak: Floats = np.zeros(size)
        self.since_peak: Integers = np.full(size, QUIET_SAMPLES)
        self.least_difference: Floats = np.zeros(size)
        self._scored: _Scored | None = None

    @np.errstate(over="ignore")
    def score(self, times_ms: Integers, values: Floats) -> Floats:
        """Scores one sample of each series, and keeps it to be learnt.

        Parameters
        ----------
        times_ms
            Start of each sample's window, Unix milliseconds.
        values
            One value a series; what is no finite number is no sample.

        Returns the scores as of `NoveltyDetector.score_one`, 0 where there was no sample.
        """
        present = np.isfinite(values)
        values = np.where(present & (np.abs(values) >= LEAST), values, 0.0)
        values = np.clip(values, -MOST, MOST)
        looks = self.views.look(times_ms, values)
        numbers, valid = looks.numbers.reshape(-1), (looks.valid & present).reshape(-1)
        speaks = valid & (self.grids.samples >= self.warmup_samples)
        each = np.where(speaks, self.grids.novelty(numbers), 0.0).reshape(len(VIEWS), -1)
        each *= _WEIGHTS
        novelty: Floats = each.max(0)
        old = (self.since_peak < QUIET_SAMPLES) & (novelty < QUIET_FACTOR * self.peak)
        self._scored = _Scored(times_ms, values, present, looks, novelty, old)
        scores = np.minimum(novelty * (NOTABLE_SCORE / NOTABLE_NOVELTY), MOST_SCORE)
        scores[old | self._tiny(each, numbers, novelty)] = 0.0
        return scores

    def _tiny(self, each: Floats, numbers: Floats, novelty: Floats) -> Flags:
        """Which novelties are of a difference that nobody would care about."""
        strongest = each.argmax(0)
        row = strongest * self.size + np.arange(self.size)
        low, high = self.grids.numbers["low"][row], self.grids.numbers["high"][row]
        missed = novelty / _WEIGHTS[strongest, 0] * np.where(novelty > 0.0, high - low, 0.0)
        missed = np.where(low == high, np.abs(numbers[row] - low), missed)
        tiny: Flags = missed < self.least_difference
        return tiny

    @np.errstate(over="ignore")
    def learn(self) -> None:
        """Learns the samples that were scored last; once."""
        if self._scored is None:
            return
        times_ms, values, present, looks, novelty, old = self._scored
        self._scored = None
        news = (novelty > 0.0) & ~old
        np.copyto(self.peak, novelty, where=news)
        self.since_peak[news] = 0
        self.since_peak += present
        np.minimum(self.since_peak, QUIET_SAMPLES, out=self.since_peak)
        self.grids.learn(looks.numbers.reshape(-1), (looks.valid & present).reshape(-1))
        self.views.learn(times_ms, values, present)

    def detector(self, series: int) -> NoveltyDetector:
        """A detector of its own in the state of one of the series."""
        detector = NoveltyDetector(
            self.warmup_samples, least_difference=float(self.least_difference[series])
        )
        views, grids = self.views.dump(series), self.grids.dump(series)
        peak, since_peak = self.peak[series].item(), self.since_peak[series].item()
        detector.load([views, grids, peak, since_peak])
        return detector

    def put(self, series: int, detector: NoveltyDetector) -> None:
        """Takes the state of a detector of its own into one of the series."""
        views, grids, peak, since_peak = detector.dump()
        self.views.load(series, views)
        self.grids.load(series, grids)
        self.peak[series], self.since_peak[series] = peak, since_peak

    def clear(self, series: int) -> None:
        """Makes one series new."""
        self.views.clear(series)
        self.grids.clear(series)
        self.peak[series] = 0.0
        self.since_peak[series] = QUIET_SAMPLES

    def arrays(self) -> Mapping[str, tuple[NDArray[Any], int]]:
        """All state by name, each with the axis that is the series."""
        arrays = {name: (a, 1) for name, a in self.grids.arrays().items()}
        arrays |= {name: (a, a.ndim - 1) for name, a in self.views.arrays().items()}
        return {**arrays, "peak": (self.peak, 0), "since_peak": (self.since_peak, 0)}

    def load(self, series: Integers, dumped: Mapping[str, bytes]) -> None:
        """Takes what `arrays` held of as many series. Raises `KeyError` if an array is missing."""
        for name, (array, axis) in self.arrays().items():
            shape = (*array.shape[:axis], len(series), *array.shape[axis + 1 :])
            loaded = np.frombuffer(dumped[name], array.dtype).reshape(shape)
            array[(slice(None),) * axis + (series,)] = loaded
