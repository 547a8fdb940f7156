"""`TailCalibrator`s of many series in columns, in which `detectors.native.seasonal` learns."""

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import State
from detectors.calibration import LN10, FleetCalibrator
from detectors.native.calibrators import Calibrators
from detectors.novelty_grids import Floats, Integers

_NO_TAIL = (np.inf, np.inf, 1.0)
"""That of a series without a fleet."""


class CalibratorColumns:
    """The histories of raw scores of `size` series. Parameters as of `TailCalibrator`."""

    def __init__(
        self,
        size: int,
        *,
        peaks: int = 16,
        horizon: int = 2000,
        prior_excess: float = 0.6,
        prior_weight: float = 6.0,
        cap: float = 60.0,
    ) -> None:
        self.peaks = peaks
        self.horizon = horizon
        self.prior_excess = prior_excess
        self.prior_weight = prior_weight
        self.cap = cap
        self._n = np.zeros(size)
        self._before = np.zeros(size)
        self._run = np.zeros(size)
        self._run_samples = np.zeros(size)
        self._top = np.zeros((size, peaks))
        self._before_top = np.zeros((size, peaks))
        self.columns = Calibrators(
            self._n, self._before, self._run, self._run_samples, self._top, self._before_top
        )

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All state, by name; the first axis is the series."""
        return {
            "raw_n": self._n,
            "raw_before": self._before,
            "raw_run": self._run,
            "raw_run_samples": self._run_samples,
            "raw_top": self._top,
            "raw_before_top": self._before_top,
        }

    def score(self, series: Integers, raw: Floats) -> Floats:
        """As `TailCalibrator.score` without a fleet, of the raw scores of some series."""
        n = self._before[series] + self._n[series]
        both = np.concatenate((self._top[series], self._before_top[series]), axis=1)
        top = np.sort(both, axis=1)[:, self.peaks :]
        k = np.maximum(1, np.minimum(self.peaks, (n / 10).astype(np.int64)))
        edge = top[np.arange(len(series)), self.peaks - k]
        excess = np.zeros(len(series))
        for i in range(self.peaks):
            excess += np.where(i >= self.peaks - k, top[:, i], 0.0)
        excess += self.prior_weight * self.prior_excess - k * edge
        slope = excess / (k + self.prior_weight) * LN10
        base = np.array([log10(one) for one in ((n + 2) / (k + 1)).tolist()])
        return np.where(n < 1, raw, _held(raw, base, edge, slope))

    def dump(self, series: int) -> State:
        """What `TailCalibrator.dump` gives of one series."""
        top, before = self._top[series], self._before_top[series]
        return [
            self._n[series].item(),
            top[top > 0].tolist(),
            self._before[series].item(),
            before[before > 0].tolist(),
            self._run[series].item(),
            int(self._run_samples[series]),
        ]

    def load(self, series: int, state: State) -> None:
        """Takes what `TailCalibrator.dump` gives into one series."""
        self._n[series], top, self._before[series], before, run, run_samples = state
        self._run[series], self._run_samples[series] = run, run_samples
        for kept, peaks in ((self._top, top), (self._before_top, before)):
            kept[series] = 0.0
            kept[series, self.peaks - len(peaks) :] = peaks


def held_to_fleets(raw: Floats, fleets: Sequence[FleetCalibrator | None]) -> Floats:
    """`FleetCalibrator.score` of raw scores, each by its own fleet; as it is where it has none."""
    tails = [_NO_TAIL if fleet is None else fleet.tail() for fleet in fleets]
    base, edge, slope = np.array(tails).T
    return _held(raw, base, edge, slope)


def _held(raw: Floats, base: Floats, edge: Floats, slope: Floats) -> Floats:
    beyond = base + np.maximum(raw - edge, 0.0) / slope
    return np.where(raw < 1.0, raw, np.minimum(raw, beyond))
