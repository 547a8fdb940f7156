"""Durations counted in logarithmic bins about 10 % wide, made of a sketch's finer ones."""

from math import ceil, exp, log, log1p

from schemas.observations import Sketch

Bins = dict[int, float]

_COARSE = 5
"""Sketch bins of accuracy 1 % to a bin here."""
_ZERO = -1000
"""The bin of what is too short to measure."""


def coarse(sketch: Sketch | None) -> Bins:
    """The sketch's counts in the reference's wider bins."""
    if sketch is None:
        return {}
    bins: Bins = {}
    for index, count in sketch.bins.items():
        b = index // _COARSE
        if b in bins:
            bins[b] += count
        else:
            bins[b] = float(count)
    if sketch.zeros:
        bins[_ZERO] = float(sketch.zeros)
    return bins


def add(into: Bins, bins: Bins, weight: float) -> None:
    """Adds weighted counts in place, in the order of the bins."""
    for b, count in bins.items():
        into[b] = into.get(b, 0.0) + weight * count


def quantile_bin(ordered: list[tuple[int, float]], total: float, q: float) -> int:
    """The bin in which the quantile `q` lies."""
    rank, seen = q * total, 0.0
    for b, weight in ordered:
        seen += weight
        if seen >= rank:
            return b
    return ordered[-1][0] if ordered else _ZERO


_LOG_GAMMA = log1p(2 * 0.01 / (1 - 0.01))
BIN_WIDTH = _COARSE * _LOG_GAMMA
"""Logarithm of the ratio of neighbouring bins' values."""


def bin_value(b: int) -> float:
    """The middle of a reference bin, seconds; 0 for the bin of zeros."""
    return 0.0 if b == _ZERO else exp((b + 0.4) * _COARSE * _LOG_GAMMA)


def value_bin(seconds: float) -> int:
    """The reference bin in which a duration falls."""
    return _ZERO if seconds <= 1e-9 else ceil(log(seconds) / _LOG_GAMMA) // _COARSE
