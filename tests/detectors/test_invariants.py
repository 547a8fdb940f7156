"""Of pairs of things the compiled code says what their definition says."""

from math import inf, log10, sqrt
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc  # type: ignore[import-untyped]

from detectors.invariants import Floats, Invariants, Missing


class Plain:
    """`Invariants`, pair by pair, for so many things from the start."""

    def __init__(self, things: int) -> None:
        self.every = range(things)
        self.totals = [0.0] * things
        self.windows = [0.0] * things
        self.misses = {(a, b): 0.0 for a in self.every for b in self.every}
        self.squares = dict(self.misses)

    def count(self, counts: Floats, weight: float) -> None:
        for a in self.every:
            self.totals[a] += weight * counts[a]
            self.windows[a] += weight * (counts[a] > 0)

    def miss(self, counts: Floats, weight: float) -> None:
        for a, b in self.misses:
            if self.totals[a]:
                missing = weight * max(self.totals[b] / self.totals[a] * counts[a] - counts[b], 0)
                self.misses[a, b] += missing
                self.squares[a, b] += missing**2 / weight
                if self.misses[a, b] > 0.3 * self.totals[b] and self.totals[b] >= 60:
                    self.misses[a, b] = inf

    def believed(self, a: int, b: int) -> tuple[float, float] | None:
        """Share of misses and their clump, if the pair hardly ever misses."""
        known = all(self.totals[x] >= 20 and self.windows[x] >= 5 for x in (a, b))
        if a == b or not known or self.misses[a, b] == inf:
            return None
        clump = max((self.squares[a, b] + 8.0) / (self.misses[a, b] + 4.0), 1.0)
        missed, came = self.misses[a, b] / clump, self.totals[b] / clump
        share = (missed + 0.5) / (came + 1.0)
        return (share, clump) if share + 0.5 * sqrt(missed) / (came + 1.0) <= 0.1 else None

    def missing(self, recent: list[Floats]) -> dict[int, Missing]:
        pairs = {pair: self.believed(*pair) for pair in self.misses}
        price = log10(max(sum(found is not None for found in pairs.values()), 1))
        best: dict[int, Missing] = {}
        for (a, b), found in pairs.items():
            if found is None:
                continue
            lost = self.lost(recent, a, b, price, *found)
            if lost is not None and (b not in best or lost.raw > best[b].raw):
                best[b] = lost
        return best

    def lost(
        self, recent: list[Floats], a: int, b: int, price: float, share: float, clump: float
    ) -> Missing | None:
        expected = [self.totals[b] / self.totals[a] * counts[a] for counts in reversed(recent)]
        short = [e - counts[b] for e, counts in zip(expected, reversed(recent), strict=True)]
        if short[0] < 0.5 or short[0] < 0.25 * expected[0]:
            return None
        right = [e >= 2.0 and s < 0.25 * e for e, s in zip(expected, short, strict=True)]
        span = right.index(True) if True in right else len(right)
        k, n = sum(short[:span]), sum(expected[:span])
        if k < 4.0 or k < 0.3 * n:
            return None
        away = [i + 1 for i in range(span) if short[i] >= 0.5]
        clump = max(min(clump, k / len(away)), 1.0)
        raw = -log10(max(betainc(k / clump, (n - k) / clump + 1.0, share), 1e-60)) - price
        return Missing(raw, a, n - k, n, span, away[-1], len(away)) if raw > 0 else None


def numbers(lost: Missing) -> list[float]:
    """Without the other thing: two of them may tell the same."""
    return [*lost._replace(other=0)]


def windows(seed: int, things: int) -> list[Floats]:
    """Things that go together but for some misses, and one that stays away now and then."""
    random = Random(seed)
    each = [random.choice((0.5, 1, 1, 2, 3)) for _ in range(things)]
    misses = random.choice((0.0, 0.01, 0.2))
    rows = []
    for t in range(120):
        load = random.randint(0, 12)
        row = [0 if random.random() < misses else int(load * one) for one in each]
        if t % 40 > 28:
            row[seed % things] = int(row[seed % things] * random.choice((0, 0, 0.5)))
        rows.append(np.array(row, np.float64))
    return rows


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 11))
def test_what_stays_away_is_what_its_definition_says(seed: int, things: int) -> None:
    rows, plain, compiled = windows(seed, things), Plain(things), Invariants()
    allowed = np.ones((things, things), np.bool_)
    for _ in range(things):
        compiled.add()
    for row in rows[:12]:
        plain.count(row, 1.0)
    for row in rows[:12]:
        plain.miss(row, 1.0)
    compiled.begin(rows[:12])
    for t in range(12, len(rows)):
        recent = rows[max(t - 17, 0) : t + 1]
        expected, found = plain.missing(recent), compiled.missing(recent, allowed)
        assert found.keys() == expected.keys()
        for thing, lost in found.items():
            assert numbers(lost) == pytest.approx(numbers(expected[thing]), rel=1e-9)
        weight = 0.05 if expected else 1.0
        plain.miss(rows[t], weight)
        plain.count(rows[t], weight)
        compiled.learn(rows[t], weight)
        if t == 60:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(compiled.dump()))
            compiled = Invariants()
            compiled.load(state)


def test_what_may_not_be_missed_because_of_another_is_not() -> None:
    compiled, allowed = Invariants(), np.zeros((2, 2), np.bool_)
    for _ in range(2):
        compiled.add()
    compiled.begin([np.array([9.0, 9.0])] * 20)
    gone = [np.array([9.0, 0.0])] * 5
    assert compiled.missing(gone, allowed) == {}
    allowed[0, 1] = True
    assert compiled.missing(gone, allowed)[1].other == 0


def test_what_came_apart_once_is_not_believed_again() -> None:
    compiled, allowed = Invariants(), np.ones((2, 2), np.bool_)
    for _ in range(2):
        compiled.add()
    both, one = np.array([9.0, 9.0]), np.array([9.0, 0.0])
    compiled.begin([both] * 20)
    assert compiled.missing([one] * 5, allowed)
    for counts in [one] * 10 + [both] * 400:
        compiled.learn(counts, 1.0)
    assert compiled.missing([one] * 5, allowed) == {}
