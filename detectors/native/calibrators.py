"""`TailCalibrator`s in columns: step by step what `detectors.calibration` learns."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.calibration import RAISED
from detectors.native.compile import compiled, inlined


class Calibrators(NamedTuple):
    """The columns of all series' histories.

    Peaks are ascending; places that none has taken hold 0, as no peak does.
    """

    n: npt.NDArray[np.float64]
    before: npt.NDArray[np.float64]
    run: npt.NDArray[np.float64]
    run_samples: npt.NDArray[np.float64]
    top: npt.NDArray[np.float64]
    before_top: npt.NDArray[np.float64]


class Taken(NamedTuple):
    """What series have learnt: for how many samples each, and the peaks, at most two of each.

    `many` counts the peaks.
    """

    samples: npt.NDArray[np.float64]
    series: npt.NDArray[np.int64]
    peaks: npt.NDArray[np.float64]
    many: npt.NDArray[np.int64]


@inlined
def learn(of: Calibrators, taken: Taken, s: int, raw: float, cap: float, horizon: float) -> None:
    """As `TailCalibrator.learn` of one sample, where no run is an outage."""
    if raw >= RAISED:
        of.run[s] = max(of.run[s], min(raw, cap))
        of.run_samples[s] += 1.0
        return
    if of.run_samples[s] > 0.0:
        peak, samples = of.run[s], of.run_samples[s]
        of.run[s] = of.run_samples[s] = 0.0
        _take(of, taken, s, peak, samples, horizon)
    _take(of, taken, s, raw, 1.0, horizon)


@inlined
def _take(
    of: Calibrators, taken: Taken, s: int, peak: float, samples: float, horizon: float
) -> None:
    taken.samples[s] += samples
    of.n[s] += samples
    if peak > 0.0:
        at = taken.many[0]
        taken.series[at], taken.peaks[at] = s, peak
        taken.many[0] = at + 1
        _keep(of.top[s], peak)
    if of.n[s] >= horizon:
        of.before[s], of.n[s] = of.n[s], 0.0
        for i in range(of.top.shape[1]):
            of.before_top[s, i], of.top[s, i] = of.top[s, i], 0.0


@compiled
def _keep(top: npt.NDArray[np.float64], peak: float) -> None:
    """Puts a peak in its place, and lets the least one go."""
    if peak <= top[0]:
        return
    at = 1
    while at < top.size and top[at] < peak:
        top[at - 1] = top[at]
        at += 1
    top[at - 1] = peak
