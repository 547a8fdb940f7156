"""`SeasonalProfile`s in columns: step by step what `detectors.profile` learns."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.native.compile import compiled, inlined
from detectors.profile import (
    BLOCK_HOURS,
    BLOCKS,
    HOUR_MS,
    HOURS,
    MOST_DAYS,
    MOST_WEEKS,
    SHRINKAGE,
)
from schemas.times import DAY_MS

_WEEKDAYS = 7


class Profiles(NamedTuple):
    """The columns of all series' profiles; the last axis is the series.

    `turned` says what has changed since it was looked at: whether a series was told when it may
    speak first, and whether an hour that was over has been learnt.
    """

    day: npt.NDArray[np.float64]
    days: npt.NDArray[np.uint8]
    week: npt.NDArray[np.float64]
    weeks: npt.NDArray[np.uint8]
    speaks_ms: npt.NDArray[np.int64]
    hour: npt.NDArray[np.int64]
    hour_sum: npt.NDArray[np.float64]
    hour_n: npt.NDArray[np.int64]
    turned: npt.NDArray[np.bool_]


@inlined
def learn(of: Profiles, s: int, time_ms: int, deviation: float) -> None:
    """As `SeasonalProfile.learn`."""
    hour = time_ms // HOUR_MS
    if hour != of.hour[s]:
        _begin(of, s, time_ms)
    of.hour_sum[s] += deviation
    of.hour_n[s] += 1


@compiled
def _begin(of: Profiles, s: int, time_ms: int) -> None:
    if of.speaks_ms[s] == 0:
        of.speaks_ms[s] = time_ms + DAY_MS
        of.turned[0] = True
    if of.hour_n[s]:
        _fold(of, s, of.hour[s], of.hour_sum[s] / of.hour_n[s])
        of.turned[1] = True
    of.hour[s], of.hour_sum[s], of.hour_n[s] = time_ms // HOUR_MS, 0.0, 0


@inlined
def _fold(of: Profiles, s: int, hour: int, deviation: float) -> None:
    i = hour % HOURS
    at = hour // HOURS % _WEEKDAYS * BLOCKS + i // BLOCK_HOURS
    weeks = of.weeks[at, s] / BLOCK_HOURS
    week = of.week[at, s] * weeks / (weeks + SHRINKAGE)
    days = min(int(of.days[i, s]) + 1, MOST_DAYS)
    of.days[i, s] = days
    of.day[i, s] += (deviation - week - of.day[i, s]) / days
    if days > 1:
        seen = min(int(of.weeks[at, s]) + 1, MOST_WEEKS * BLOCK_HOURS)
        of.weeks[at, s] = seen
        rate = 1.0 / (seen + BLOCK_HOURS)
        of.week[at, s] += rate * (deviation - of.day[i, s] - of.week[at, s])
