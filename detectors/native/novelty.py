"""`NoveltyDetector`s in columns: step by step what `detectors.novelty` and its views do."""

from math import inf, isfinite
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.native import grids as grid
from detectors.native.compile import compiled, inlined
from detectors.native.grids import Grids
from detectors.novelty import (
    MOST,
    MOST_SCORE,
    NOTABLE_NOVELTY,
    NOTABLE_SCORE,
    QUIET_FACTOR,
    QUIET_SAMPLES,
    WEIGHTS,
)
from detectors.novelty_views import (
    BLOCK,
    GREATESTS,
    LEAST,
    LEAST_LEVEL_RATE,
    LEASTS,
    MOST_DAYS,
    SHRINKAGE_DAYS,
    SLOT_MS,
    SLOTS,
    SUMS,
)

_VALUE, _STEP, _FLOOR, _CEILING, _DAY = range(5)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Views(NamedTuple):
    """The columns of all series' `Views`; the last axis is the series."""

    samples: Integers
    block_sum: Floats
    block_least: Floats
    greatest: Floats
    sums: Floats
    leasts: Floats
    greatests: Floats
    level: Floats
    last_slot: Integers
    profile: Floats
    days: npt.NDArray[np.uint8]


class News(NamedTuple):
    """How strong the latest novelty of each series was, and the samples since."""

    peak: Floats
    since_peak: Integers
    least_difference: Floats


class Looks(NamedTuple):
    """What was scored and is to be learnt: of each series its value and whether there was one, what
    each view shows and whether it shows anything, how novel that is, and the score."""

    values: Floats
    present: Flags
    numbers: Floats
    valid: Flags
    novelty: Floats
    scores: Floats


@compiled
def score(
    views: Views,
    grids: Grids,
    news: News,
    looks: Looks,
    time_ms: int,
    values: Floats,
    warmup_samples: int,
) -> None:
    """As `NoveltyDetector.score_one` of each series, with one value each; what is no finite number
    is no sample."""
    many = values.size
    for s in range(many):
        looks.present[s] = isfinite(values[s])
        looks.scores[s] = looks.novelty[s] = 0.0
        if not looks.present[s]:
            continue
        value = values[s] if abs(values[s]) >= LEAST else 0.0
        looks.values[s] = value = max(-MOST, min(MOST, value))
        _look(views, looks, s, time_ms, value)
        strongest, most = 0, 0.0
        for view in range(len(WEIGHTS)):
            row = view * many + s
            if looks.valid[view, s] and grids.samples[row] >= warmup_samples:
                found = WEIGHTS[view] * grid.novelty(grids, row, looks.numbers[view, s])
                if found > most:
                    strongest, most = view, found
        looks.novelty[s] = most
        if most == 0.0 or _is_old(news, s, most):
            continue
        row = strongest * many + s
        span = grids.high[row] - grids.low[row]
        if span > 0.0:
            missed = most / WEIGHTS[strongest] * span
        else:
            missed = abs(looks.numbers[strongest, s] - grids.low[row])
        if missed >= news.least_difference[s]:
            looks.scores[s] = min(most * (NOTABLE_SCORE / NOTABLE_NOVELTY), MOST_SCORE)


@inlined
def _is_old(news: News, s: int, novelty: float) -> bool:
    return news.since_peak[s] < QUIET_SAMPLES and novelty < QUIET_FACTOR * news.peak[s]


@inlined
def _look(views: Views, looks: Looks, s: int, time_ms: int, value: float) -> None:
    """As `Views.look`."""
    blocks, within = divmod(views.samples[s], BLOCK)
    sums = views.sums
    looks.valid[:, s] = True
    looks.numbers[_VALUE, s] = value
    now = views.block_sum[s] + value + sums[(blocks - 1) % SUMS, s]
    before = sums[(blocks - 2) % SUMS, s] + sums[(blocks - 3) % SUMS, s]
    step = now / (within + 1 + BLOCK) - before / (2 * BLOCK)
    looks.valid[_STEP, s] = blocks >= SUMS
    looks.numbers[_STEP, s] = step if abs(step) >= LEAST else 0.0
    least, greatest = min(value, views.block_least[s]), max(value, views.greatest[s])
    for i in range(LEASTS):
        least = min(least, views.leasts[i, s])
    for i in range(GREATESTS):
        greatest = max(greatest, views.greatests[i, s])
    looks.numbers[_FLOOR, s], looks.numbers[_CEILING, s] = least, greatest
    slot = time_ms // SLOT_MS
    at = slot % SLOTS
    days = int(views.days[at, s]) - int(slot == views.last_slot[s])
    looks.valid[_DAY, s] = days > 0
    if days > 0:
        deviation = views.profile[at, s] * (days / (days + SHRINKAGE_DAYS))
        day = value - (views.level[s] + deviation)
        looks.numbers[_DAY, s] = day if abs(day) >= LEAST else 0.0


@compiled
def learn(views: Views, grids: Grids, news: News, looks: Looks, time_ms: int) -> None:
    """As `NoveltyDetector.learn_one` of each series that had a sample."""
    many = looks.values.size
    for s in range(many):
        if not looks.present[s]:
            continue
        if looks.novelty[s] > 0.0 and not _is_old(news, s, looks.novelty[s]):
            news.peak[s], news.since_peak[s] = looks.novelty[s], 0
        news.since_peak[s] = min(news.since_peak[s] + 1, QUIET_SAMPLES)
        for view in range(len(WEIGHTS)):
            if looks.valid[view, s]:
                grid.learn(grids, view * many + s, looks.numbers[view, s])
        _learn_day(views, s, time_ms // SLOT_MS, looks.values[s])
        _learn_block(views, s, looks.values[s])


@inlined
def _learn_block(views: Views, s: int, value: float) -> None:
    views.samples[s] += 1
    views.block_sum[s] += value
    views.block_least[s] = min(views.block_least[s], value)
    views.greatest[s] = max(views.greatest[s], value)
    if views.samples[s] % BLOCK:
        return
    block = views.samples[s] // BLOCK - 1
    views.sums[block % SUMS, s] = views.block_sum[s]
    views.leasts[block % LEASTS, s] = views.block_least[s]
    views.block_sum[s], views.block_least[s] = 0.0, inf
    if block % 2:
        views.greatests[block // 2 % GREATESTS, s] = views.greatest[s]
        views.greatest[s] = -inf


@inlined
def _learn_day(views: Views, s: int, slot: int, value: float) -> None:
    at = slot % SLOTS
    if slot != views.last_slot[s]:
        views.last_slot[s] = slot
        if views.days[at, s] < MOST_DAYS:
            views.days[at, s] += 1
    days, samples = int(views.days[at, s]), views.samples[s]
    level = views.level[s] if samples else value
    level += max(1.0 / (samples + 1), LEAST_LEVEL_RATE) * (value - level)
    views.level[s] = level
    known = views.profile[at, s]
    views.profile[at, s] = known + (0.3 / days if days < 6 else 0.05) * (value - level - known)
