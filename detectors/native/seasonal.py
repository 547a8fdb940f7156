"""`SeasonalDetector`s in columns: step by step what `detectors.seasonal` does."""

from math import frexp, isfinite, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.native import calibrators as calibrator
from detectors.native import profiles as profile
from detectors.native.calibrators import Calibrators, Taken
from detectors.native.compile import compiled, inlined
from detectors.native.profiles import Profiles
from detectors.seasonal import BASE_MS, INSIDE, MOST_SIZES
from detectors.shift import ADOPT_SAMPLES, BACK_SAMPLES, TO_SIGMA
from detectors.squash import LN2, ROOT_HALF, TERMS
from schemas.times import DAY_MS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_MOST_SAMPLES = 1_000_000
_STRANGE = 2.0
"""Scatters from which on a sample is looked at closely."""
_OUT = 4.0
_ANOMALOUS = 4.0


class Levels(NamedTuple):
    """The columns of what is learnt of each series' level."""

    n: Integers
    end_ms: Integers
    size: Floats
    matters: Floats
    level: Floats
    trend: Floats
    scatter: Floats
    evidence: Floats
    base: Floats


class Shifts(NamedTuple):
    """The columns of all series' `LevelShift`s."""

    out: Integers
    out_since_ms: Integers
    out_mean: Floats
    out_dev: Floats
    former: Floats
    former_until_ms: Integers
    back: Integers


class Scored(NamedTuple):
    """What was scored and is to be learnt; where `young`, there is a sample and no level yet."""

    values: Floats
    young: Flags
    alive: Flags
    y: Floats
    expected: Floats
    spread: Floats
    z: Floats
    back: Flags
    raw: Floats
    scores: Floats
    strange: Integers


class Band(NamedTuple):
    """What the profiles expect, and how far below and above it is not strange."""

    season: Floats
    below: Floats
    above: Floats


class Limits(NamedTuple):
    """Of the parameters of `SeasonalDetector` and its calibrator those that count here."""

    memory: int
    relative_floor: float
    adopt_after_ms: int
    cap: float
    horizon: float


@inlined
def _squash(value: float) -> float:
    """As `detectors.squash.squash`."""
    mantissa, exponent = frexp(abs(value) + sqrt(value * value + 1.0))
    if mantissa < ROOT_HALF:
        mantissa, exponent = mantissa * 2.0, exponent - 1
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square, series = s * s, 0.0
    for term in TERMS:
        series = series * square + term
    y = exponent * LN2 + 2.0 * (s * series)
    return -y if value < 0.0 else y


@compiled
def score(
    levels: Levels,
    shifts: Shifts,
    scored: Scored,
    band: Band,
    limits: Limits,
    start_ms: int,
    values: Floats,
) -> int:
    """As `SeasonalDetector.score_one` of each series, with one value each, up to the scatters that
    it is off by; what is no finite number is no sample.

    Returns how many of them are strange, whose places come first in `scored.strange`: their scores
    are left to be found.
    """
    many = 0
    for s in range(values.size):
        present, known = isfinite(values[s]), levels.n[s] > 0
        scored.alive[s], scored.young[s] = present and known, present and not known
        scored.back[s] = False
        scored.raw[s] = scored.scores[s] = 0.0
        scored.values[s] = values[s]
        if not scored.alive[s]:
            continue
        sizes = max(-MOST_SIZES, min(MOST_SIZES, values[s] / levels.size[s]))
        y = _squash(sizes)
        expected = levels.level[s] + levels.trend[s] + band.season[s]
        least = max(
            limits.relative_floor * min(max(abs(y), 0.3), 1.0),
            levels.matters[s] / sqrt(sizes * sizes + 1.0),
        )
        spread = max(levels.scatter[s], least) * sqrt(2.0 / levels.n[s] + 1.0)
        off = y - expected
        if off > band.above[s]:
            z = (off - band.above[s]) / spread
        elif off < band.below[s]:
            z = (off - band.below[s]) / spread
        else:
            z = 0.0
        scored.y[s], scored.expected[s], scored.spread[s], scored.z[s] = y, expected, spread, z
        if abs(z) < _STRANGE:
            continue
        near = abs(y - band.season[s] - shifts.former[s]) <= 4.0 * spread
        if start_ms < shifts.former_until_ms[s] and near:
            scored.back[s] = True
        else:
            scored.strange[many] = s
            many += 1
    return many


@compiled
def learn(
    levels: Levels,
    shifts: Shifts,
    calibrators: Calibrators,
    profiles: Profiles,
    scored: Scored,
    season: Floats,
    limits: Limits,
    start_ms: int,
    end_ms: int,
    taken: Taken,
) -> None:
    """As `SeasonalDetector.learn_one` of each series that is known and had a sample."""
    taken.samples[:] = 0.0
    taken.many[0] = 0
    for s in range(scored.alive.size):
        if not scored.alive[s]:
            continue
        raw = scored.raw[s]
        calibrator.learn(calibrators, taken, s, raw, limits.cap, limits.horizon)
        levels.evidence[s] = raw if scored.y[s] - scored.expected[s] > 0.0 else -raw
        looked_at = abs(scored.z[s]) > _STRANGE or shifts.out[s] != 0
        if not (looked_at and _shifts(levels, shifts, scored, s, season, limits, start_ms, end_ms)):
            _learn_level(levels, profiles, scored, s, limits, start_ms, end_ms)


@compiled
def _shifts(
    levels: Levels,
    shifts: Shifts,
    scored: Scored,
    s: int,
    season: Floats,
    limits: Limits,
    start_ms: int,
    end_ms: int,
) -> bool:
    """Whether a level that has lasted becomes the level with this sample."""
    if scored.back[s]:
        shifts.back[s] += 1
        if shifts.back[s] < BACK_SAMPLES:
            return False
        shifts.former_until_ms[s] = 0
        _move(levels, s, shifts.former[s])
        return True
    y, z = scored.y[s], scored.z[s]
    side = 1 if z > _OUT else -1 if z < -_OUT else 0
    if shifts.out[s] * side <= 0:
        shifts.out[s] = 0
    if side == 0:
        return False
    if shifts.out[s] == 0:
        shifts.out_since_ms[s], shifts.out_mean[s], shifts.out_dev[s] = start_ms, y, 0.0
    shifts.out[s] += side
    samples = abs(shifts.out[s])
    rate = 1.0 / min(samples, limits.memory)
    shifts.out_dev[s] += rate * (abs(y - shifts.out_mean[s]) - shifts.out_dev[s])
    shifts.out_mean[s] += rate * (y - shifts.out_mean[s])
    lasted_ms = end_ms - shifts.out_since_ms[s]
    if lasted_ms < limits.adopt_after_ms or samples < ADOPT_SAMPLES:
        return False
    shifts.out[s] = shifts.back[s] = 0
    shifts.former[s], shifts.former_until_ms[s] = levels.level[s], end_ms + DAY_MS
    _move(levels, s, shifts.out_mean[s] - season[s])
    levels.scatter[s] = max(levels.scatter[s], TO_SIGMA * shifts.out_dev[s])
    return True


@inlined
def _move(levels: Levels, s: int, level: float) -> None:
    levels.base[s] += level - levels.level[s]
    levels.level[s], levels.trend[s] = level, 0.0


@inlined
def _learn_level(
    levels: Levels,
    profiles: Profiles,
    scored: Scored,
    s: int,
    limits: Limits,
    start_ms: int,
    end_ms: int,
) -> None:
    expected, spread = scored.expected[s], scored.spread[s]
    deviation, strange = scored.y[s] - expected, scored.z[s] * spread
    anomalous = scored.scores[s] >= _ANOMALOUS
    caution, most = 0.1 if anomalous else 1.0, 2.5 * spread
    step = max(1.0 / (levels.n[s] + 1), 1.0 / limits.memory) * caution
    shift = strange + INSIDE * (deviation - strange)
    shift = max(-most, min(most, shift))
    levels.n[s] = min(levels.n[s] + 1, _MOST_SAMPLES)
    levels.level[s] += levels.trend[s] + step * shift
    levels.trend[s] = 0.98 * (levels.trend[s] + 0.02 * step * shift)
    size = min(max(abs(strange), 0.5 * abs(deviation)), 4.0 * spread)
    rate = max(1.0 / (levels.n[s] + 1), 0.02) * caution
    levels.scatter[s] += rate * (TO_SIGMA * size - levels.scatter[s])
    passed = min((end_ms - levels.end_ms[s]) / BASE_MS, 0.1)
    levels.end_ms[s] = end_ms
    levels.base[s] += passed * (levels.level[s] - levels.base[s])
    if not anomalous:
        clipped = max(-most, min(most, deviation))
        profile.learn(profiles, s, start_ms, clipped + expected - levels.base[s])
