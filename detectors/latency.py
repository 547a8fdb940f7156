"""Durations of requests, in the service or on the way to it, against those that are usual."""

from functools import cache
from struct import Struct
from typing import Any, Literal

import numpy as np

from detectors.base import Explanation, Sample, State
from detectors.calibration import TailCalibrator
from detectors.native import latency as native
from detectors.native.cells import (
    BINS_A_CELL,
    REFERENCE,
    WINDOW,
    ZERO,
    Cells,
    quantile_seconds,
)
from detectors.units import show, subject
from schemas.observations import Sketch
from schemas.units import metric_of

_MOST_BIN = 7_500
"""No number is of a bin further out."""
_MARGIN = 8
"""Cells to spare on both sides of what has come."""
_NOTHING = np.frombuffer(b"", np.int64)


class LatencyDetector:
    """Says how unlikely it is that so many of a window's requests took so long.

    The reference is the distribution of all durations seen while healthy. At its median and its
    90, 99 and 99.9 % quantiles (moved up to what would matter at all: `least_factor` times the
    median and `least_seconds` more) the window's requests beyond are counted and given a binomial
    tail, so few requests never make an anomaly of a quantile's noise, and the shape of the
    distribution does not matter. While it is of few requests, the share expected beyond three and
    ten times what has been seen at most is that of a power law through the tail as far as it is
    known: so then, too, what is far out shows. Requests of a window resemble each other; how much
    is learnt (the intra-class correlation of the share beyond the median), and makes the tail
    beta-binomial. The highest of these scores counts, less the price of looking several times.
    Evidence of neighbouring windows adds up, each step back counting seven tenths and all of them
    at most three times the window itself, so that a lasting slowness shows where requests are few
    and its end shows at once. `TailCalibrator` holds the sum to the series'
    own history.

    Cold start: silent until `least_windows` windows and `least_requests` requests have been seen.
    A suspicious window is learnt with a fifth of its weight, an anomalous one with a fiftieth;
    slowness that has lasted `adopt_after_ms` becomes the new reference. A reference that most
    windows since its beginning do not fit is none, however young: it may have been learnt amid an
    outage. So it is learnt anew when they were slow, for `distrust_after_ms` of windows in all, or
    when the last ones all took less than half of its 90 % quantile, for `quick_after_ms`.

    Parameters
    ----------
    least_windows, least_requests
        What must have been seen before it speaks.
    memory
        Requests that the reference is at most worth; older ones fade.
    least_factor, least_seconds
        Slower than the median by less than this is nobody's business.
    fast_factor
        Requests that mostly take less than the median by this factor do not do their work: what
        fails often fails fast. Looked at for durations only, not for the network's part.
    adopt_after_ms
        A lasting change is adopted after this long.
    distrust_after_ms, quick_after_ms
        Windows, laid end to end, after which a reference that does not fit them is given up, if
        they are more than all others.

    References
    ----------
    Hill, B. M. (1975). A simple general approach to inference about the tail of a distribution.
    Griffiths, D. A. (1973). Maximum likelihood estimation for the beta-binomial distribution and
    an application to the household distribution of the total number of cases of a disease.
    """

    __slots__ = ("_cells", "_last", "_looks_for_fast", "_parameters", "_state", "calibrator")

    def __init__(
        self,
        *,
        least_windows: int = 4,
        least_requests: int = 30,
        memory: float = 20_000.0,
        least_factor: float = 1.5,
        least_seconds: float = 0.02,
        fast_factor: float = 50.0,
        adopt_after_ms: int = 3_600_000,
        distrust_after_ms: int = 900_000,
        quick_after_ms: int = 300_000,
    ) -> None:
        self._parameters = _parameters(
            least_windows,
            least_requests,
            memory,
            least_factor,
            least_seconds,
            fast_factor,
            adopt_after_ms,
            distrust_after_ms,
            quick_after_ms,
        )
        self.calibrator = TailCalibrator(outage_samples=3)
        self._state: native.Record = np.zeros(1, native.STATE)
        self._cells: Cells = np.zeros((3, 1))
        self._last: Sample | None = None
        self._looks_for_fast: bool | None = None

    def score_one(self, x: Sample) -> float:
        self._last = x
        said, zeros = _counts(x.observation.sketch)
        if self._looks_for_fast is None:
            self._looks_for_fast = not _is_network(x)
        while True:
            raw = native.score(
                self._cells,
                self._state,
                self._parameters,
                said,
                zeros,
                x.start_ms,
                x.end_ms,
                self._looks_for_fast,
            )
            if raw != native.NO_ROOM:
                return self.calibrator.score(raw)
            said = self._make_room(said)

    def learn_one(self, x: Sample) -> None:
        if x is not self._last:
            said, zeros = _counts(x.observation.sketch)
            while not native.take(self._cells, self._state, said, zeros):
                said = self._make_room(said)
        self.calibrator.learn(self._state["raw"].item())
        native.learn(self._cells, self._state, self._parameters, x.start_ms, x.end_ms)

    def _make_room(self, said: native.Counts) -> native.Counts:
        """Widens the cells as far as a sketch reaches; returns it, without what is no number."""
        half = len(said) // 2
        most = _MOST_BIN * BINS_A_CELL
        said = np.concatenate((said[:half].clip(-most, most), said[half:]))
        said.flags.writeable = False  # as all are: for others, code would be compiled anew
        bins = said[:half] // BINS_A_CELL
        self._reach(int(bins.min()), int(bins.max()))
        return said

    def _reach(self, low: int, high: int) -> None:
        before, first = self._cells, self._state["first"].item()
        width = before.shape[1] - 1
        if width:
            low, high = min(low, first), max(high, first + width - 1)
        if not width or low < first:
            low -= _MARGIN
        if not width or high >= first + width:
            high += _MARGIN
        self._cells = np.zeros((len(before), high - low + 2))
        self._cells[:, 0] = before[:, 0]
        begin = first - low + 1
        self._cells[:, begin : begin + width] = before[:, 1:]
        self._state["first"] = low

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        o = self._last.observation
        kind: Literal["network", "latency"] = "network" if _is_network(self._last) else "latency"
        state: Any = self._state[0]
        total, n, fast = float(state["total"]), float(state["count"]), bool(state["fast"])
        expected, lower, upper = (self._quantile(REFERENCE, total, q) for q in (0.5, 0.01, 0.99))
        value, high = (self._quantile(WINDOW, n, q) for q in (0.5, 0.9))
        place = subject(o.series, o.service, o.instance, o.operation)
        if o.caller:
            place += f" called by {o.caller}"
        place = f"{place} is suspiciously fast: it" if fast else place
        reason = (
            f"{place} has a median of {show(value)} s and a 90 % quantile of {show(high)} s in "
            f"{n:,.0f} requests, expected a median of {show(expected)} s, mostly {show(lower)} to "
            f"{show(upper)} s"
        )
        return Explanation(kind, value, expected, lower, upper, reason, not fast or n >= 10)

    def _quantile(self, row: int, total: float, q: float) -> float:
        first = self._state["first"].item()
        return quantile_seconds(self._cells, row, first, total, q)

    def dump(self) -> State:
        row, first = self._cells[REFERENCE], self._state["first"].item()
        filled = np.flatnonzero(row)
        bins = np.where(filled == 0, ZERO, filled + (first - 1))
        return [
            dict(zip(bins.tolist(), row[filled].tolist(), strict=True)),
            *(self._state[name].item() for name in native.LEARNT),
            self.calibrator.dump(),
        ]

    def load(self, state: State) -> None:
        reference, *learnt, calibrator = state
        self._state[:] = 0
        self._cells = np.zeros((3, 1))
        bins = [b for b in reference if b != ZERO]
        if bins:
            self._reach(min(bins), max(bins))
        first = self._state["first"].item()
        for b, weight in reference.items():
            self._cells[REFERENCE, 0 if b == ZERO else b - first + 1] = weight
        for name, value in zip(native.LEARNT, learnt, strict=True):
            self._state[name] = value
        self.calibrator.load(calibrator)


@cache
def _parameters(*values: float) -> native.Record:
    """One record for all detectors with the same parameters."""
    return np.array([values], native.PARAMETERS)


@cache
def _packer(many: int) -> Struct:
    return Struct(f"{many}q")


def _counts(sketch: Sketch | None) -> tuple[native.Counts, int]:
    """The bins of a sketch and their counts, and how many durations are in none.

    Packing them takes a third of the time of making an array of them.
    """
    if sketch is None:
        return _NOTHING, 0
    bins = sketch.bins
    if not bins:
        return _NOTHING, sketch.zeros
    packed = _packer(2 * len(bins)).pack(*bins, *bins.values())
    return np.frombuffer(packed, np.int64), sketch.zeros


def _is_network(x: Sample) -> bool:
    return metric_of(x.observation.series).startswith("network")
