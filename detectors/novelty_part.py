"""A block of series that are scored together: the state of their novelty detectors as arrays."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
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
)
from detectors.novelty_columns import ViewColumns
from detectors.novelty_grids import Floats, Integers, Rows, ValueGrids
from detectors.novelty_views import LEAST

_VERSION: Final = 1
_WEIGHTS = np.array(WEIGHTS)[:, None]


class PartStateError(ValueError):
    """A dumped part is not one of this version and size."""


class NoveltyPart:
    """`size` novelty detectors that give, sample by sample, what `NoveltyDetector` gives.

    Parameters
    ----------
    size
        Series; so many that the numbers of one step stay in the processor's cache.
    warmup_samples
        As of `NoveltyDetector`.
    """

    def __init__(self, size: int = 1024, warmup_samples: int = WARMUP_SAMPLES) -> None:
        self.size = size
        self.warmup_samples = warmup_samples
        self.views = ViewColumns(size)
        self.grids = ValueGrids(len(VIEWS), size)
        self.peak: Floats = np.zeros(size)
        self.since_peak: Integers = np.full(size, QUIET_SAMPLES)
        self._every: Integers = np.arange(size)

    def observe(self, times_ms: Integers, values: Floats) -> Floats:
        """Scores one sample of each series, then learns them.

        Parameters
        ----------
        times_ms
            Start of each sample's window, Unix milliseconds.
        values
            One value a series; what is no finite number is no sample.

        Returns the scores as of `NoveltyDetector.score_one`, 0 where there was no sample.
        """
        present = np.isfinite(values)
        if present.all():
            return self._observe(None, self._every, times_ms, values)
        scores = np.zeros(self.size)
        columns = np.flatnonzero(present)
        if len(columns):
            scores[columns] = self._observe(columns, columns, times_ms[columns], values[columns])
        return scores

    def _observe(
        self, some: Integers | None, columns: Integers, times_ms: Integers, values: Floats
    ) -> Floats:
        values = np.where(np.abs(values) < LEAST, 0.0, np.clip(values, -MOST, MOST))
        looks = self.views.look(times_ms, values, columns)
        numbers, valid = looks.numbers.reshape(-1), looks.valid.reshape(-1)
        rows = Rows(self.grids, some)
        speaks = valid & (rows.samples >= self.warmup_samples)
        each = np.where(speaks, rows.novelty(numbers), 0.0).reshape(looks.numbers.shape)
        novelty: Floats = (each * _WEIGHTS).max(0)
        old = self._take_peaks(novelty, columns)
        rows.learn(numbers, valid)
        rows.put()
        self.views.learn(times_ms, values, columns)
        scores = np.minimum(novelty * (NOTABLE_SCORE / NOTABLE_NOVELTY), MOST_SCORE)
        scores[old] = 0.0
        return scores

    def _take_peaks(self, novelty: Floats, columns: Integers) -> NDArray[np.bool_]:
        """Learns the novelties that count, and says which are old news."""
        peak, since = self.peak[columns], self.since_peak[columns]
        old = (since < QUIET_SAMPLES) & (novelty < QUIET_FACTOR * peak)
        news = (novelty > 0.0) & ~old
        self.peak[columns] = np.where(news, novelty, peak)
        self.since_peak[columns] = np.minimum(np.where(news, 0, since) + 1, QUIET_SAMPLES)
        return old

    def clear(self, column: int) -> None:
        """Makes one series new."""
        self.views.clear(column)
        self.grids.clear(column)
        self.peak[column] = 0.0
        self.since_peak[column] = QUIET_SAMPLES

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All state, by name."""
        quiet = {"peak": self.peak, "since_peak": self.since_peak}
        return {**self.views.arrays(), **self.grids.arrays(), **quiet}

    @property
    def bytes_per_series(self) -> float:
        """Bytes of all state, a series."""
        return sum(array.nbytes for array in self.arrays().values()) / self.size

    def dump(self) -> bytes:
        """The whole state, as the arrays lie."""
        arrays = {name: array.tobytes() for name, array in self.arrays().items()}
        return msgspec.msgpack.encode([_VERSION, self.size, arrays])

    def load(self, dumped: bytes) -> None:
        """Takes a state from `dump`. Raises `PartStateError` if it is of another kind."""
        try:
            version, size, arrays = msgspec.msgpack.decode(dumped)
        except (msgspec.DecodeError, ValueError) as error:
            raise PartStateError(f"a part of the bank cannot be read: {error}") from error
        if (version, size) != (_VERSION, self.size):
            raise PartStateError(
                f"a part of the bank is of version {version} with {size} series, not of version "
                f"{_VERSION} with {self.size}; begin with an empty bank"
            )
        for name, array in self.arrays().items():
            array[...] = np.frombuffer(arrays[name], array.dtype).reshape(array.shape)
