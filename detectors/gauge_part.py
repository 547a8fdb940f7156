"""A block of gauges that are scored together: both of their default detectors as arrays."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.calibration import FleetCalibrator
from detectors.novelty_grids import Flags, Floats, Integers
from detectors.novelty_part import NoveltyPart
from detectors.seasonal import Parameters
from detectors.seasonal_part import SeasonalPart

_VERSION: Final = 2


class PartStateError(ValueError):
    """A dumped part is not one of this version and size."""


class GaugePart:
    """`size` gauges, each with a `NoveltyDetector` and, where `seasonal` says so, a
    `SeasonalDetector`, which say what they would say alone.

    First `score`, then `learn`.

    Parameters
    ----------
    size
        Gauges. Each step is taken for all of them, with or without a sample.
    warmup_samples, parameters
        As of `NoveltyDetector` and of `SeasonalDetector`.
    """

    def __init__(self, size: int, warmup_samples: int, parameters: Parameters) -> None:
        self.size = size
        self.novelty = NoveltyPart(size, warmup_samples)
        self.season = SeasonalPart(size, parameters)
        self._seasonal: Flags = np.zeros(size, np.bool_)

    def set(
        self, gauge: int, least_difference: float, fleet: FleetCalibrator | None, *, seasonal: bool
    ) -> None:
        """Says what is no state of a gauge."""
        self.novelty.least_difference[gauge] = self.season.least_difference[gauge] = (
            least_difference
        )
        self.season.join(gauge, fleet)
        self._seasonal[gauge] = seasonal

    def score(self, start_ms: int, end_ms: int, values: Floats) -> tuple[Floats, Floats]:
        """Scores one sample of each gauge, NaN where there is none, and keeps it to be learnt.

        Returns the scores of the novelty and of the seasonal detectors.
        """
        novelty = self.novelty.score(start_ms, values)
        if not self._seasonal.any():
            return novelty, np.zeros(self.size)
        return novelty, self.season.score(
            start_ms, end_ms, np.where(self._seasonal, values, np.nan)
        )

    def learn(self) -> None:
        """Learns the samples that were scored last; once."""
        self.novelty.learn()
        self.season.learn()

    def clear(self, gauge: int) -> None:
        """Makes one gauge new, but for what `set` says of it."""
        self.novelty.clear(gauge)
        self.season.clear(gauge)

    def _arrays(self) -> Mapping[str, tuple[NDArray[Any], int]]:
        """All state by name, each with the axis that is the gauge."""
        return {**self.novelty.arrays(), **self.season.arrays()}

    @property
    def bytes_per_series(self) -> float:
        """Bytes of all state, a gauge."""
        return sum(array.nbytes for array, _ in self._arrays().values()) / self.size

    def dump(self, gauges: Integers) -> bytes:
        """The state of some of the gauges."""
        arrays = {n: a.take(gauges, axis).tobytes() for n, (a, axis) in self._arrays().items()}
        return msgspec.msgpack.encode([_VERSION, len(gauges), arrays])

    def load(self, gauges: Integers, dumped: bytes) -> None:
        """Takes the state of as many gauges from `dump`; the others stay as they are.

        Version 1, which knew only novelty, is read as well.

        Raises `PartStateError` if it is of another version or number of gauges.
        """
        try:
            version, many, arrays = msgspec.msgpack.decode(dumped)
        except (msgspec.DecodeError, ValueError) as error:
            raise PartStateError(f"a part of the bank cannot be read: {error}") from error
        if version not in (1, _VERSION) or many != len(gauges):
            raise PartStateError(
                f"a part of the bank is of version {version} with {many} series, not of version "
                f"{_VERSION} with {len(gauges)}; begin with an empty bank"
            )
        self.novelty.load(gauges, arrays)
        if version > 1:
            self.season.load(gauges, arrays)
