"""How often one thing comes for another, and how unlikely it is that it stays away so often."""

from collections.abc import Sequence
from math import log10
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc  # type: ignore[import-untyped]

from detectors.base import State

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LOWEST_P = 1e-60
_CLUMP, _CLUMP_WEIGHT = 2.0, 4.0
"""Misses come in clumps of so many at first, as far as so many misses tell."""
_KNOWN = 20.0
"""Counts of a thing and of what it is held against before anything is said of the two."""
_KNOWN_WINDOWS = 5.0
_LOOSE, _LOOSE_AFTER = 0.3, 60.0
"""A pair that has missed so large a share of at least so many is not watched any more."""
_MEMORY_WINDOWS = 4_000.0
_MISSED = 0.5
"""So much less than expected is a miss, since expected counts are no whole numbers."""
_SURE, _RIGHT = 2.0, 0.25
"""Where so many were expected and less than this share of them is missing, all is right."""


class Missing(NamedTuple):
    """That a thing has stayed away although another came.

    `raw` is -log10 of the tail probability of so many misses in the last `span` windows; `windows`
    counts those in which it stayed away, the first of which is the `first`th from the end.
    """

    raw: float
    other: int
    came: float
    expected: float
    span: int
    first: int
    windows: int


class Invariants:
    """Learns of all pairs of things that are counted window by window how firmly they go together.

    Where two steps belong to one path through the code, one comes a constant number of times for
    the other, however the load varies. For each pair, A and B, the ratio of all B to all A is
    learnt, and the share of the B expected in a window by its A that did not come. Only pairs that
    hardly ever miss are believed (`tight`): an upper estimate of that share is at most `tight`.
    Of these, how unlikely as many misses are is a binomial tail: the regularised incomplete beta
    function, with misses counted in clumps of the size that they usually come in, less the price
    of looking at so many pairs.

    Parameters
    ----------
    most
        Things counted; later ones are not looked at.
    tight
        Share of misses up to which a pair is believed.
    least_missing, least_share
        Fewer misses than that, or a smaller share of what was expected, are nobody's business.

    References
    ----------
    Lou, J.-G. et al. (2010). Mining invariants from console logs for system problem detection.
    Jiang, G., Chen, H., Yoshihira, K. (2006). Modeling and tracking of transaction flow dynamics
    for fault detection in complex systems.
    """

    def __init__(
        self,
        *,
        most: int = 48,
        tight: float = 0.1,
        least_missing: float = 4.0,
        least_share: float = 0.3,
    ) -> None:
        self.most = most
        self.tight = tight
        self.least_missing = least_missing
        self.least_share = least_share
        self.things = 0
        self.windows = 0.0
        self._totals: Floats = np.zeros(0)
        self._windows_of: Floats = np.zeros(0)
        self._misses: Floats = np.zeros((0, 0))
        self._squares: Floats = np.zeros((0, 0))
        self._firm: _Firm | None = None

    def add(self) -> int | None:
        """The number of a new thing; None if there is no room."""
        if self.things >= self.most:
            return None
        self.things += 1
        if self.things > len(self._totals):
            self._grow(min(max(8, 2 * len(self._totals)), self.most))
        return self.things - 1

    def _grow(self, size: int) -> None:
        more = size - len(self._totals)
        self._totals = np.pad(self._totals, (0, more))
        self._windows_of = np.pad(self._windows_of, (0, more))
        self._misses = np.pad(self._misses, (0, more))
        self._squares = np.pad(self._squares, (0, more))
        self._firm = None

    def begin(self, windows: Sequence[Floats]) -> None:
        """Takes the counts of the first windows in, all at once.

        So misses are counted with the ratio that these windows have in the end: the ratio of the
        first one or two says little, and what it misses less.
        """
        for counts in windows:
            self._count(counts, 1.0)
        for counts in windows:
            self._miss(counts, 1.0)

    def learn(self, counts: Floats, weight: float) -> None:
        """Takes the counts of one further window in."""
        self._miss(counts, weight)
        self._count(counts, weight)
        if self.windows >= _MEMORY_WINDOWS:
            self._fade()

    def _count(self, counts: Floats, weight: float) -> None:
        n = len(counts)
        self._totals[:n] += weight * counts
        self._windows_of[:n] += weight * (counts > 0)
        self.windows += weight
        self._firm = None

    def _miss(self, counts: Floats, weight: float) -> None:
        n = len(counts)
        totals, misses, squares = self._totals[:n], self._misses[:n, :n], self._squares[:n, :n]
        known = totals > 0
        ratio = totals[None, :] / np.where(known, totals, 1.0)[:, None]
        missing = np.maximum(ratio * counts[:, None] - counts[None, :], 0.0)
        missing *= weight * known[:, None]
        misses += missing
        squares += missing * missing / weight
        loose = (misses > _LOOSE * totals[None, :]) & (totals[None, :] >= _LOOSE_AFTER)
        misses[loose], squares[loose] = np.inf, 0.0

    def _fade(self) -> None:
        self.windows /= 2
        self._totals *= 0.5
        self._windows_of *= 0.5
        self._misses *= 0.5
        self._squares *= 0.5

    def missing(self, recent: Sequence[Floats], allowed: Flags) -> dict[int, Missing]:
        """What has stayed away in the last of the windows, and for how long, by its number.

        `recent` has the counts of the last windows, the newest last; `allowed` says of each pair
        whether the second may be missed because of the first.
        """
        firm = self._firm
        if firm is None:
            firm = self._firm = self._firm_pairs()
        n = firm.things
        tight = firm.tight & allowed[:n, :n]
        newest = recent[-1]
        now = np.zeros(n)
        now[: min(n, len(newest))] = newest[:n]
        expected = firm.ratio * now[:, None]
        short = expected - now[None, :]
        hit = tight & (short >= _MISSED) & (short >= _RIGHT * expected)
        if not hit.any():
            return {}
        others, things = np.nonzero(hit)
        return self._judge(firm, others, things, recent, log10(tight.sum()))

    def _judge(
        self,
        firm: "_Firm",
        others: NDArray[np.intp],
        things: NDArray[np.intp],
        recent: Sequence[Floats],
        price: float,
    ) -> dict[int, Missing]:
        """Adds up each pair's misses back to the last window in which it was right."""
        stack = np.zeros((len(recent), firm.things))
        for row, counts in zip(stack, reversed(recent), strict=True):
            row[: len(counts)] = counts[: firm.things]
        expected = firm.ratio[others, things] * stack[:, others]
        short = expected - stack[:, things]
        right = (expected >= _SURE) & (short < _RIGHT * expected)
        spans = np.where(right.any(axis=0), right.argmax(axis=0), len(stack))
        within = np.arange(len(stack))[:, None] < spans[None, :]
        k, n = (short * within).sum(axis=0), (expected * within).sum(axis=0)
        missed = (short >= _MISSED) & within
        windows = missed.sum(axis=0)
        firsts = len(stack) - missed[::-1].argmax(axis=0)
        # Misses of different windows are not of one clump.
        clump = np.maximum(np.minimum(firm.clump[others, things], k / np.maximum(windows, 1)), 1.0)
        tail = betainc(
            np.maximum(k, 1e-9) / clump, (n - k) / clump + 1.0, firm.share[others, things]
        )
        raw = -np.log10(np.maximum(tail, _LOWEST_P)) - price
        enough = (k >= self.least_missing) & (k >= self.least_share * n) & (raw > 0)
        best: dict[int, Missing] = {}
        for at in np.flatnonzero(enough):
            thing = int(things[at])
            if thing not in best or raw[at] > best[thing].raw:
                came = float(n[at] - k[at])
                best[thing] = Missing(
                    float(raw[at]),
                    int(others[at]),
                    came,
                    float(n[at]),
                    int(spans[at]),
                    int(firsts[at]),
                    int(windows[at]),
                )
        return best

    def _firm_pairs(self) -> "_Firm":
        n = self.things
        totals, misses = self._totals[:n], self._misses[:n, :n]
        ratio = totals[None, :] / np.where(totals > 0, totals, 1.0)[:, None]
        clump = (self._squares[:n, :n] + _CLUMP * _CLUMP_WEIGHT) / (misses + _CLUMP_WEIGHT)
        clump = np.maximum(clump, 1.0)
        missed, came = misses / clump, totals[None, :] / clump
        share = (missed + 0.5) / (came + 1.0)
        most = share + 0.5 * np.sqrt(missed) / (came + 1.0)
        ready = (totals >= _KNOWN) & (self._windows_of[:n] >= _KNOWN_WINDOWS)
        tight = (most <= self.tight) & ready[None, :] & ready[:, None]
        np.fill_diagonal(tight, val=False)
        return _Firm(n, tight, ratio, clump, share)

    def dump(self) -> State:
        """The whole state; of the pairs only those that are still watched."""
        n = self.things
        living = np.argwhere(np.isfinite(self._misses[:n, :n]) & (self._misses[:n, :n] > 0))
        dead = np.argwhere(np.isinf(self._misses[:n, :n]))
        return [
            n,
            self.windows,
            self._totals[:n].tolist(),
            self._windows_of[:n].tolist(),
            [
                [i, j, float(self._misses[i, j]), float(self._squares[i, j])]
                for i, j in living.tolist()
            ],
            (dead[:, 0] * n + dead[:, 1]).tolist(),
        ]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        things, self.windows, totals, windows_of, living, dead = state
        self.things = things
        self._totals, self._windows_of = np.zeros(0), np.zeros(0)
        self._misses, self._squares = np.zeros((0, 0)), np.zeros((0, 0))
        self._grow(max(8, things))
        self._totals[:things], self._windows_of[:things] = totals, windows_of
        for i, j, misses, squares in living:
            self._misses[i, j], self._squares[i, j] = misses, squares
        for place in dead:
            self._misses[divmod(place, things)] = np.inf


class _Firm(NamedTuple):
    """What follows from the learnt: which pairs are believed, and their numbers."""

    things: int
    tight: Flags
    ratio: Floats
    clump: Floats
    share: Floats
