"""Durations of one series against those that are usual: see `detectors.latency`."""

from math import log
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.native.cells import (
    BIN_WIDTH,
    BINS_A_CELL,
    REFERENCE,
    ROOM,
    WINDOW,
    ZERO,
    Cells,
    Row,
    bin_at,
    bin_of,
    cell_of,
    reaching,
    seconds_of,
    sum_from,
)
from detectors.native.compile import compiled, inlined
from detectors.native.tails import beta_binomial

Record = npt.NDArray[Any]
"""One record, in an array."""
Counts = npt.NDArray[np.int64]
"""A sketch: the numbers of its bins, then how many durations are in each."""

PARAMETERS: Final = np.dtype(
    [
        ("least_windows", np.int64),
        ("least_requests", np.int64),
        ("memory", np.float64),
        ("least_factor", np.float64),
        ("least_seconds", np.float64),
        ("fast_factor", np.float64),
        ("adopt_after_ms", np.int64),
        ("distrust_after_ms", np.int64),
        ("quick_after_ms", np.int64),
    ]
)

STATE: Final = np.dtype(
    [
        ("first", np.int64),  # the bin of the second cell
        # What is learnt: `LEARNT`.
        ("total", np.float64),
        ("windows", np.int64),
        ("excess", np.float64),
        ("pairs", np.float64),
        ("evidence", np.float64),
        ("end_ms", np.int64),
        ("slow_since_ms", np.int64),
        ("slow_windows", np.int64),
        ("quick_windows", np.int64),
        # Of the window that was scored last, since learning it needs the same again.
        ("count", np.float64),
        ("raw", np.float64),
        ("window", np.float64),
        ("fast", np.bool_),
        ("quick", np.bool_),
    ]
)

LEARNT: Final = (
    "total",
    "windows",
    "excess",
    "pairs",
    "evidence",
    "end_ms",
    "slow_since_ms",
    "slow_windows",
    "quick_windows",
)

NO_ROOM: Final = -1.0
_CUTS: Final = (0.5, 0.9, 0.99, 0.999)
_FAR: Final = (3.0, 10.0)
"""So many times what has been seen at most."""
_MANY: Final = 400.0
"""So many requests tell of their tail themselves."""
_LOG_CUTS: Final = 0.477
"""The price of looking several times, less since the answers resemble each other."""
_PRIOR_EXCESS: Final = 0.5
_PRIOR_EXCESSES: Final = 3.0
_CARRY: Final = 0.7
_PRIOR_CORRELATION: Final = 0.1
_PRIOR_PAIRS: Final = 50.0
_ANOMALOUS: Final = 3.0
_SUSPICIOUS: Final = 1.5
_FADED: Final = 0.02
_MOST_WINDOWS: Final = 1_000_000


@compiled
def take(cells: Cells, state: Record, said: Counts, zeros: int) -> bool:
    """Puts a sketch's counts into the row of the window; False if the cells do not reach."""
    return _take(cells, state, said, zeros)


@inlined
def _take(cells: Cells, state: Record, said: Counts, zeros: int) -> bool:
    now, window, bins = state[0], cells[WINDOW], said.size // 2
    window[:] = 0.0
    window[0] = zeros
    count = float(zeros)
    for i in range(bins):
        at = said[i] // BINS_A_CELL - now.first + 1
        if at < 1 or at >= window.size:
            return False
        window[at] += said[bins + i]
        count += said[bins + i]
    now.count = count
    return True


@compiled
def score(
    cells: Cells,
    state: Record,
    parameters: Record,
    said: Counts,
    zeros: int,
    start_ms: int,
    end_ms: int,
    looks_for_fast: bool,
) -> float:
    """The raw score of a window, not yet held to the series' history; `NO_ROOM` if its cells do not
    reach as far as the durations of the window."""
    now, usual = state[0], parameters[0]
    now.raw = now.window = 0.0
    now.quick = False
    if not _take(cells, state, said, zeros):
        return NO_ROOM
    if now.windows < usual.least_windows or now.total < usual.least_requests:
        return 0.0
    reference, window = cells[REFERENCE], cells[WINDOW]
    first, total, count = now.first, now.total, now.count
    median = seconds_of(bin_at(reaching(reference, 0.5 * total), first))
    strength = _strength(state)
    slow = _slow(cells, state, parameters, median, strength)
    fast = 0.0
    if looks_for_fast:
        fast = _fast(cells, state, parameters, median, strength)
    now.fast = fast > slow
    now.window = max(slow, fast)
    most = seconds_of(bin_at(reaching(reference, 0.9 * total), first))
    took = seconds_of(bin_at(reaching(window, 0.9 * count), first))
    now.quick = took < 0.5 * most and most - took >= usual.least_seconds
    near = start_ms - now.end_ms <= 2 * (end_ms - start_ms)
    carried = _CARRY * now.evidence if near else 0.0
    now.raw = now.window + min(carried, 3.0 * now.window)
    return now.raw


@inlined
def _slow(cells: Cells, state: Record, parameters: Record, median: float, strength: float) -> float:
    """The highest score of so many requests beyond one of the reference's quantiles."""
    now, usual = state[0], parameters[0]
    reference, seen = cells[REFERENCE], cells[ROOM]
    first, total = now.first, now.total
    floor = bin_of(max(median * usual.least_factor, median + usual.least_seconds))
    last, so_far = 0, 0.0
    for at in range(reference.size):
        so_far += reference[at]
        seen[at] = so_far
        if reference[at] != 0.0:
            last = at
    best, before, at = 0.0, ZERO - 1, 0
    for q in _CUTS:
        while at < last and seen[at] < q * total:
            at += 1
        cut = max(bin_at(at, first), floor)
        if cut != before:
            best = max(best, _beyond(cells, state, cut, 0.5, strength))
            before = cut
    if total >= _MANY:
        return max(0.0, best - _LOG_CUTS)
    top = edge = 0
    while top < last and seen[top] < total - 0.5:
        top += 1
    while edge < last and seen[edge] < 0.9 * total:
        edge += 1
    highest = max(bin_at(top, first), floor)
    excess = _mean_excess(reference, edge, first)
    for factor in _FAR:
        cut = highest + round(log(factor) / BIN_WIDTH)
        unseen = 0.5 * factor ** (-1.0 / excess)
        best = max(best, _beyond(cells, state, cut, unseen, strength))
    return max(0.0, best - _LOG_CUTS)


@inlined
def _beyond(cells: Cells, state: Record, cut: int, unseen: float, strength: float) -> float:
    """Score of so many of a window's requests beyond a bin, where `unseen` more than have come
    until now might have."""
    now = state[0]
    cell = cell_of(cut, now.first) + 1
    k = sum_from(cells[WINDOW], cell)
    if k <= 0.5:
        return 0.0
    p = (sum_from(cells[REFERENCE], cell) + unseen) / (now.total + 1.0)
    if k / now.count <= 1.5 * p:
        return 0.0
    return beta_binomial(k, now.count, p * strength, (1.0 - p) * strength)


@inlined
def _mean_excess(reference: Row, edge: int, first: int) -> float:
    """Mean of log(duration / edge) above the edge: Hill's estimate of 1 / tail index."""
    weight = total = 0.0
    for at in range(edge + 1, reference.size):
        weight += reference[at]
        total += reference[at] * (bin_at(at, first) - bin_at(edge, first))
    prior = _PRIOR_EXCESSES * _PRIOR_EXCESS
    return (BIN_WIDTH * total + prior) / (weight + _PRIOR_EXCESSES)


@inlined
def _fast(cells: Cells, state: Record, parameters: Record, median: float, strength: float) -> float:
    """Score of so many requests done in a fraction of the time: their work was not done."""
    now, usual = state[0], parameters[0]
    most = median / usual.fast_factor
    if median - most < usual.least_seconds:
        return 0.0
    cut = bin_of(most)
    # What is too short to measure is below every other bin, and not below itself.
    end = 0 if cut == ZERO else max(1, cell_of(cut, now.first))
    k = before = 0.0
    for at in range(min(end, cells.shape[1])):
        k += cells[WINDOW, at]
        before += cells[REFERENCE, at]
    p = (before + 0.5) / (now.total + 1.0)
    if k < 1.0 or k / now.count < max(0.5, 1.5 * p):
        return 0.0
    best = beta_binomial(k, now.count, p * strength, (1.0 - p) * strength)
    return max(0.0, best - _LOG_CUTS)


@inlined
def _strength(state: Record) -> float:
    """How many requests a window is worth at most: 1 / correlation - 1."""
    now = state[0]
    excess = now.excess + _PRIOR_CORRELATION * _PRIOR_PAIRS
    correlation = excess / (now.pairs + _PRIOR_PAIRS)
    return 1.0 / min(max(correlation, 0.02), 0.5) - 1.0


@compiled
def learn(cells: Cells, state: Record, parameters: Record, start_ms: int, end_ms: int) -> None:
    """Takes the window that was taken last into what is usual."""
    now, usual = state[0], parameters[0]
    anomalous = now.raw >= _ANOMALOUS
    now.evidence, now.end_ms = now.raw, end_ms
    if not anomalous:
        now.slow_since_ms = 0
    elif now.slow_since_ms == 0:
        now.slow_since_ms = start_ms
    elif end_ms - now.slow_since_ms >= usual.adopt_after_ms:
        _begin_anew(cells, state)
        anomalous = False
    now.slow_windows += int(anomalous)
    now.quick_windows = now.quick_windows + 1 if now.quick and not anomalous else 0
    if _misfits(state, parameters, end_ms - start_ms):
        _begin_anew(cells, state)
        anomalous = False
    if now.windows >= usual.least_windows and now.window < _SUSPICIOUS:
        _learn_correlation(cells, state)
    now.windows = min(now.windows + 1, _MOST_WINDOWS)
    weight = 0.02 if anomalous else 0.2 if now.window >= _SUSPICIOUS else 1.0
    for at in range(cells.shape[1]):
        cells[REFERENCE, at] += weight * cells[WINDOW, at]
    now.total += weight * now.count
    if now.total > usual.memory:
        _fade(cells, state)


@inlined
def _misfits(state: Record, parameters: Record, width_ms: int) -> bool:
    """Whether most windows since the reference's beginning say that it is not the usual."""
    now, usual = state[0], parameters[0]
    slow, quick = now.slow_windows, now.quick_windows
    if 2 * slow > now.windows and slow * width_ms >= usual.distrust_after_ms:
        return True
    return 2 * quick > now.windows and quick * width_ms >= usual.quick_after_ms


@inlined
def _begin_anew(cells: Cells, state: Record) -> None:
    now = state[0]
    cells[REFERENCE, :] = 0.0
    now.total = now.window = 0.0
    now.windows = now.slow_since_ms = now.slow_windows = now.quick_windows = 0


@inlined
def _learn_correlation(cells: Cells, state: Record) -> None:
    """Moment estimate of the correlation within a window, of the share beyond the median."""
    now, reference = state[0], cells[REFERENCE]
    beyond = reaching(reference, 0.5 * now.total) + 1
    p = (sum_from(reference, beyond) + 0.5) / (now.total + 1.0)
    if now.count < 2.0 or not 0.05 < p < 0.95:
        return
    share = sum_from(cells[WINDOW], beyond) / now.count
    excess = (share - p) ** 2 * now.count / (p * (1.0 - p)) - 1.0
    now.excess = 0.998 * now.excess + min(excess, now.count - 1.0)
    now.pairs = 0.998 * now.pairs + now.count - 1.0


@inlined
def _fade(cells: Cells, state: Record) -> None:
    """Halves the reference, without what has faded."""
    reference, total = cells[REFERENCE], 0.0
    for at in range(reference.size):
        reference[at] = reference[at] / 2.0 if reference[at] >= _FADED else 0.0
        total += reference[at]
    state[0].total = total
