"""How often one thing comes for another, and how unlikely it is that it stays away so often."""

from collections.abc import Sequence
from functools import cache
from math import log10
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc  # type: ignore[import-untyped]

from detectors.base import State
from detectors.native import invariants as native
from detectors.native.invariants import Firm, Hits, Learnt

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LOWEST_P = 1e-60
_MEMORY_WINDOWS = 4_000.0


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
        self._learnt = Learnt(np.zeros(0), np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0)))
        self._firm = _firm(0)
        self._is_drawn = False

    def add(self) -> int | None:
        """The number of a new thing; None if there is no room."""
        if self.things >= self.most:
            return None
        self.things += 1
        size = len(self._learnt.totals)
        if self.things > size:
            self._grow(min(max(8, 2 * size), self.most))
        return self.things - 1

    def _grow(self, size: int) -> None:
        more = size - len(self._learnt.totals)
        self._learnt = Learnt(*(np.pad(array, (0, more)) for array in self._learnt))
        self._firm, self._is_drawn = _firm(size), False

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
        native.count(self._learnt, counts, weight)
        self.windows += weight
        self._is_drawn = False

    def _miss(self, counts: Floats, weight: float) -> None:
        native.miss(self._learnt, counts, weight)

    def _fade(self) -> None:
        self.windows /= 2
        for array in self._learnt:
            np.multiply(array, 0.5, out=array)

    def missing(self, recent: Sequence[Floats], allowed: Flags) -> dict[int, Missing]:
        """What has stayed away in the last of the windows, and for how long, by its number.

        `recent` has the counts of the last windows, the newest last; `allowed` says of each pair
        whether the second may be missed because of the first.
        """
        if not self._is_drawn:
            native.draw(self._learnt, self._firm, self.things, self.tight)
            self._is_drawn = True
        hits = _room(len(self._learnt.totals))
        many, looked_at = native.look(self._firm, self.things, allowed, recent[-1], hits)
        if many:
            stack = np.zeros((len(recent), self.things))
            for row, counts in zip(stack, reversed(recent), strict=True):
                row[: len(counts)] = counts
            many = native.add_up(
                self._firm, stack, hits, many, self.least_missing, self.least_share
            )
        if not many:
            return {}
        return self._most_unlikely(native.first(hits, many), log10(looked_at))

    def _most_unlikely(self, hits: Hits, price: float) -> dict[int, Missing]:
        """Of each thing that is missed the pair by which that is most unlikely."""
        pairs = (hits.others, hits.things)
        # Misses of different windows are not of one clump.
        clump = np.minimum(self._firm.clump[pairs], hits.k / np.maximum(hits.windows, 1))
        clump = np.maximum(clump, 1.0)
        k = np.maximum(hits.k, 1e-9)
        tail = betainc(k / clump, (hits.n - hits.k) / clump + 1.0, self._firm.share[pairs])
        raws = (-np.log10(np.maximum(tail, _LOWEST_P)) - price).tolist()
        best: dict[int, Missing] = {}
        for raw, other, thing, k, n, *rest in zip(
            raws, *(column.tolist() for column in hits), strict=True
        ):
            if raw > 0 and (thing not in best or raw > best[thing].raw):
                best[thing] = Missing(raw, other, n - k, n, *rest)
        return best

    def dump(self) -> State:
        """The whole state; of the pairs only those that are still watched."""
        n, learnt = self.things, self._learnt
        misses, squares = learnt.misses[:n, :n], learnt.squares[:n, :n]
        living = np.argwhere(np.isfinite(misses) & (misses > 0))
        dead = np.argwhere(np.isinf(misses))
        return [
            n,
            self.windows,
            learnt.totals[:n].tolist(),
            learnt.windows[:n].tolist(),
            [[i, j, float(misses[i, j]), float(squares[i, j])] for i, j in living.tolist()],
            (dead[:, 0] * n + dead[:, 1]).tolist(),
        ]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        things, self.windows, totals, windows_of, living, dead = state
        self.things = things
        self._learnt = Learnt(np.zeros(0), np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0)))
        self._grow(max(8, things))
        learnt = self._learnt
        learnt.totals[:things], learnt.windows[:things] = totals, windows_of
        for i, j, misses, squares in living:
            learnt.misses[i, j], learnt.squares[i, j] = misses, squares
        for place in dead:
            learnt.misses[divmod(place, things)] = np.inf


def _firm(size: int) -> Firm:
    """Of pairs of so many things none that is believed."""
    pairs = (size, size)
    return Firm(np.zeros(pairs, np.bool_), np.zeros(pairs), np.zeros(pairs), np.zeros(pairs))


@cache
def _room(size: int) -> Hits:
    """Room for all pairs of so many things, which one after the other uses."""
    pairs = size * size
    return Hits(
        np.zeros(pairs, np.int64),
        np.zeros(pairs, np.int64),
        np.zeros(pairs),
        np.zeros(pairs),
        np.zeros(pairs, np.int64),
        np.zeros(pairs, np.int64),
        np.zeros(pairs, np.int64),
    )
