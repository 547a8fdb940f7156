"""Of all pairs of things that are counted, how firmly they go together: `detectors.invariants`."""

from math import inf, sqrt
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.native.compile import compiled

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CLUMP: Final = 2.0
CLUMP_WEIGHT: Final = 4.0
"""Misses come in clumps of so many at first, as far as so many misses tell."""
KNOWN: Final = 20.0
"""Counts of a thing and of what it is held against before anything is said of the two."""
KNOWN_WINDOWS: Final = 5.0
LOOSE: Final = 0.3
LOOSE_AFTER: Final = 60.0
"""A pair that has missed so large a share of at least so many is not watched any more."""
MISSED: Final = 0.5
"""So much less than expected is a miss, since expected counts are no whole numbers."""
SURE: Final = 2.0
RIGHT: Final = 0.25
"""Where so many were expected and less than this share of them is missing, all is right."""


class Learnt(NamedTuple):
    """Of each thing how many came and in how many windows; of each pair how many of the second
    were missing by the first, and the sum of their squares by window."""

    totals: Floats
    windows: Floats
    misses: Floats
    squares: Floats


class Firm(NamedTuple):
    """What follows from that: which pairs are believed, and their numbers."""

    tight: Flags
    ratio: Floats
    clump: Floats
    share: Floats


class Hits(NamedTuple):
    """Pairs of which the second has stayed away, with `k` of `n` missing in the last `spans`
    windows; `windows` counts those with misses, `firsts` says how far back the first is."""

    others: Integers
    things: Integers
    k: Floats
    n: Floats
    spans: Integers
    firsts: Integers
    windows: Integers


@compiled
def count(learnt: Learnt, counts: Floats, weight: float) -> None:
    """Adds the counts of a window."""
    for i in range(counts.size):
        learnt.totals[i] += weight * counts[i]
        if counts[i] > 0.0:
            learnt.windows[i] += weight


@compiled
def miss(learnt: Learnt, counts: Floats, weight: float) -> None:
    """Adds what a window missed, by the ratios that are known."""
    totals, misses, squares = learnt.totals, learnt.misses, learnt.squares
    for i in range(counts.size):
        if totals[i] <= 0.0:
            continue
        for j in range(counts.size):
            missing = max(totals[j] / totals[i] * counts[i] - counts[j], 0.0) * weight
            misses[i, j] += missing
            squares[i, j] += missing * missing / weight
            if misses[i, j] > LOOSE * totals[j] and totals[j] >= LOOSE_AFTER:
                misses[i, j], squares[i, j] = inf, 0.0


@compiled
def draw(learnt: Learnt, firm: Firm, things: int, most: float) -> None:
    """Finds out which pairs of the things are believed: those that miss a share of at most `most`,
    by an upper estimate."""
    totals, windows = learnt.totals, learnt.windows
    for i in range(things):
        known = totals[i] >= KNOWN and windows[i] >= KNOWN_WINDOWS
        for j in range(things):
            both = known and totals[j] >= KNOWN and windows[j] >= KNOWN_WINDOWS
            firm.tight[i, j] = False
            if not both or i == j or learnt.misses[i, j] == inf:
                continue
            clump = (learnt.squares[i, j] + CLUMP * CLUMP_WEIGHT) / (
                learnt.misses[i, j] + CLUMP_WEIGHT
            )
            clump = max(clump, 1.0)
            missed, came = learnt.misses[i, j] / clump, totals[j] / clump
            share = (missed + 0.5) / (came + 1.0)
            firm.tight[i, j] = share + 0.5 * sqrt(missed) / (came + 1.0) <= most
            firm.ratio[i, j] = totals[j] / totals[i]
            firm.clump[i, j], firm.share[i, j] = clump, share


@compiled
def look(firm: Firm, things: int, allowed: Flags, newest: Floats, hits: Hits) -> tuple[int, int]:
    """Writes down the believed pairs of which the second is missing in the newest window.

    Returns how many these are, and how many were looked at.
    """
    many = looked_at = 0
    for i in range(things):
        now = newest[i] if i < newest.size else 0.0
        for j in range(things):
            if not (firm.tight[i, j] and allowed[i, j]):
                continue
            looked_at += 1
            expected = firm.ratio[i, j] * now
            short = expected - (newest[j] if j < newest.size else 0.0)
            if short >= MISSED and short >= RIGHT * expected:
                hits.others[many], hits.things[many] = i, j
                many += 1
    return many, looked_at


@compiled
def add_up(
    firm: Firm, stack: Floats, hits: Hits, many: int, least: float, least_share: float
) -> int:
    """Adds up the misses of each pair in `hits` back to the last window in which it was right.

    `stack` has the counts of a window in each row, the newest first. Keeps those that miss `least`
    and `least_share` of what was expected; returns how many.
    """
    kept = 0
    for at in range(many):
        i, j = hits.others[at], hits.things[at]
        k = n = 0.0
        first = windows = 0
        span = stack.shape[0]
        for row in range(stack.shape[0]):
            expected = firm.ratio[i, j] * stack[row, i]
            short = expected - stack[row, j]
            if expected >= SURE and short < RIGHT * expected:
                span = row
                break
            k += short
            n += expected
            if short >= MISSED:
                windows += 1
                first = row + 1
        if k >= least and k >= least_share * n:
            hits.others[kept], hits.things[kept] = i, j
            hits.k[kept], hits.n[kept] = k, n
            hits.spans[kept], hits.firsts[kept], hits.windows[kept] = span, first, windows
            kept += 1
    return kept


def first(hits: Hits, many: int) -> Hits:
    """The first so many of the pairs."""
    columns: list[Any] = [column[:many] for column in hits]
    return Hits(*columns)
