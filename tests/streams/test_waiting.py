"""What waits is folded, in whatever parts, to the bit as it is one value after the other."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from streams.native.folds import DURATION, GAUGE, Values
from streams.sketches import PER_LOG
from streams.waiting import Waiting
from streams.windows import DurationCell, GaugeCell


def columns(values: list[float], times: list[int]) -> Values:
    return Values(np.array(values), np.full(len(values), np.nan), np.array(times, np.int64))


def fold_in_parts(cell: GaugeCell | DurationCell, kind: int, values: list[float]) -> None:
    """Some at a time, some of those in two blocks, the last of it at once."""
    chance, waiting = random.Random(len(values)), Waiting()
    times = [chance.randrange(50) for _ in values]
    cuts = [0, *sorted(chance.sample(range(1, len(values)), 6)), len(values)]
    for start, end in pairwise(cuts):
        begin = waiting.block(columns(values[start:end], times[start:end]))
        waiting.add(waiting.stream(cell, kind), begin, begin + end - start)
        if chance.random() < 0.5:
            waiting.fold(all_of_it=False)
            assert len(cell.pending) < 64
    waiting.fold(all_of_it=True)
    cell.fold(all_of_it=True)  # what has been pending since an earlier time, if nothing came after
    assert cell.pending == []


def test_exact_sums_are_rounded_as_fsum_rounds_them() -> None:
    values = [1e16, 1.0, -1e16, 1e-16, 1.0, 2.0**-53, 1.0 + 2.0**-52, -1e300, 1e300] * 20
    one, other = GaugeCell([]), GaugeCell([])
    fold_in_parts(one, GAUGE, values)
    chance = random.Random(len(values))
    other.pending = [(chance.randrange(50), value) for value in values]
    other.fold(all_of_it=True)
    assert one == other


@pytest.mark.parametrize("edge", [False, True])
def test_durations_come_into_the_same_bins(edge: bool) -> None:
    chance = random.Random(1)
    if edge:  # the edges of bins, and their neighbours
        at = [math.exp(n / PER_LOG) for n in range(-1_000, 900)]
        values = [x for v in at for x in (math.nextafter(v, 0), v, math.nextafter(v, 1e9))]
    else:
        values = [10 ** chance.uniform(-10, 7) for _ in range(20_000)] + [0.0, 1e-9, 9e-10]
    one, other = DurationCell([]), DurationCell(list(values))
    fold_in_parts(one, DURATION, values)
    other.fold(all_of_it=True)
    assert one == other
    assert list(one.bins) == list(other.bins)
