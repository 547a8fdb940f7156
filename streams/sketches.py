"""Quantile sketches as exact counts of logarithmic bins, as `schemas.observations.Sketch` says.

The bins are DDSketch's (Masson, Rim and Lee 2019, https://arxiv.org/abs/1908.10693) with the
logarithmic mapping; a test compares them with the `ddsketch` library's. They are counted here
over whole lists at once, since that library adds one value at a time and takes 0.6 µs for each.
"""

from collections import Counter
from collections.abc import Iterable
from math import ceil, log, log1p

from schemas.observations import Sketch

ACCURACY = 0.01
_PER_LOG = 1 / log1p(2 * ACCURACY / (1 - ACCURACY))
_SMALLEST = 1e-9  # a nanosecond; what is shorter counts as zero


def count_bins(values: Iterable[float]) -> dict[int, int]:
    """How many values fall into each bin; zeros and less are left out."""
    return Counter([ceil(log(value) * _PER_LOG) for value in values if value >= _SMALLEST])


def sketch(count: int, bins: dict[int, int]) -> Sketch:
    """A sketch of `count` values, of which those not in `bins` are zero."""
    return Sketch(ACCURACY, count - sum(bins.values()), dict(sorted(bins.items())))


def add_bins(some: dict[int, int], more: dict[int, int]) -> dict[int, int]:
    """Both counts together, in a dictionary of their own; neither is changed."""
    both = dict(some)
    for index, count in more.items():
        both[index] = both.get(index, 0) + count
    return both
