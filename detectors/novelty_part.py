"""A block of series that are scored together: the state of their novelty detectors as arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.native import novelty as native
from detectors.native.novelty import Looks, News
from detectors.novelty import QUIET_SAMPLES, VIEWS, WARMUP_SAMPLES, NoveltyDetector
from detectors.novelty_columns import ViewColumns
from detectors.novelty_grids import Floats, Integers, ValueGrids


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
        self._news = News(self.peak, self.since_peak, self.least_difference)
        self._looks = Looks(
            np.zeros(size),
            np.zeros(size, np.bool_),
            np.zeros((len(VIEWS), size)),
            np.zeros((len(VIEWS), size), np.bool_),
            np.zeros(size),
            np.zeros(size),
        )
        self._start_ms: int | None = None

    def score(self, start_ms: int, values: Floats) -> Floats:
        """Scores one sample of each series, and keeps it to be learnt.

        Parameters
        ----------
        start_ms
            Start of the samples' window, Unix milliseconds.
        values
            One value a series; what is no finite number is no sample.

        Returns the scores as of `NoveltyDetector.score_one`, 0 where there was no sample; they
        stand until the next are asked for.
        """
        self._start_ms = start_ms
        native.score(
            self.views.columns,
            self.grids.columns,
            self._news,
            self._looks,
            start_ms,
            values,
            self.warmup_samples,
        )
        return self._looks.scores

    def learn(self) -> None:
        """Learns the samples that were scored last; once."""
        if self._start_ms is None:
            return
        native.learn(
            self.views.columns, self.grids.columns, self._news, self._looks, self._start_ms
        )
        self._start_ms = None

    def detector(self, series: int) -> NoveltyDetector:
        """A detector of its own in the state of one of the series."""
        detector = NoveltyDetector(
            self.warmup_samples, least_difference=float(self.least_difference[series])
        )
        views, grids = self.views.dump(series), self.grids.dump(series)
        peak, since_peak = self.peak[series].item(), self.since_peak[series].item()
        detector.load([views, grids, peak, since_peak])
        return detector

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
