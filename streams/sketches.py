"""Quantile sketches as exact counts of logarithmic bins, as `schemas.observations.Sketch` says.

The bins are DDSketch's (Masson, Rim and Lee 2019, https://arxiv.org/abs/1908.10693) with the
logarithmic mapping; a test compares them with the `ddsketch` library's. They are counted here,
since that library takes a multiple of the time to add a value, and keeps bins we cannot send.
"""

from collections.abc import Iterable, Mapping
from math import ceil, log, log1p

ACCURACY = 0.01
PER_LOG = 1 / log1p(2 * ACCURACY / (1 - ACCURACY))
SMALLEST = 1e-9  # a nanosecond; what is shorter counts as zero


def add_values(bins: dict[int, int], values: Iterable[float]) -> None:
    """Counts values into their bins; zeros and less are left out."""
    get = bins.get
    for index in [ceil(log(value) * PER_LOG) for value in values if value >= SMALLEST]:
        bins[index] = get(index, 0) + 1


def add_bins(bins: dict[int, int], more: Mapping[int, int]) -> None:
    """Adds the counts of `more` to `bins`."""
    for index, count in more.items():
        bins[index] = bins.get(index, 0) + count
