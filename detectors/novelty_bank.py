"""The novelty detector of many series: by name, in parts that are scored, saved and restored."""

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import Final

import msgspec
import numpy as np

from detectors.novelty import WARMUP_SAMPLES, NoveltyDetector
from detectors.novelty_grids import Floats, Integers
from detectors.novelty_part import NoveltyPart, PartStateError

PART_SERIES: Final = 1024
"""So many that the cost of a step of numpy is spread, so few that its numbers stay in a cache."""

_PAYS_FROM: Final = 48
_PAYS_FROM_SHARE: Final = 1 / 16
"""Samples at once for which a part costs less than a detector a series: a fixed number, for the
steps of numpy, and a share of its places, as each step is taken for all of them. Measured."""

_DUMPED = tuple[int, dict[int, str], bytes]


class NoveltyBank:
    """One novelty detector a series, as arrays; series may come and go at any time.

    `place` gives a series its place, an index that stays until `forget`. `score` takes one value a
    place and scores it as `NoveltyDetector` would, which a property test holds it to; `learn` then
    learns them. `dump` gives the parts in which anything has changed since the last `dump`, each
    by its number; the last ones of every number restore the bank.

    Parameters
    ----------
    part_series
        Series a part.
    warmup_samples
        As of `NoveltyDetector`.

    Example
    -------
    >>> bank = NoveltyBank()
    >>> values = np.full(bank.places_with(["cart", "checkout"]), np.nan)
    >>> values[bank.place("cart")] = 0.25
    >>> float(bank.observe(1_700_000_000_000, values).max())
    0.0
    """

    def __init__(
        self, part_series: int = PART_SERIES, warmup_samples: int = WARMUP_SAMPLES
    ) -> None:
        self.part_series = part_series
        self.warmup_samples = warmup_samples
        self._parts: list[NoveltyPart] = []
        self._names: list[list[str | None]] = []
        self._places: dict[str, int] = {}
        self._free: list[int] = []
        self._changed: set[int] = set()
        self._scored: list[int] = []
        self.scores: list[float] = []

    def __len__(self) -> int:
        """How many series it holds."""
        return len(self._places)

    @property
    def places(self) -> int:
        """How many values `observe` takes: the places of all parts, free ones as well."""
        return len(self._parts) * self.part_series

    @property
    def bytes_per_series(self) -> float:
        """Bytes of the arrays a place; 0 for an empty bank."""
        parts = self._parts
        return sum(part.bytes_per_series for part in parts) / len(parts) if parts else 0.0

    def place(self, name: str, least_difference: float = 0.0) -> int:
        """The place of a series, which is new if it had none.

        `least_difference` is as of `NoveltyDetector`; it is not saved with the bank.
        """
        at = self._places.get(name)
        if at is None:
            at = self._new_place(name)
        part, series = divmod(at, self.part_series)
        self._parts[part].least_difference[series] = least_difference
        return at

    def _new_place(self, name: str) -> int:
        if not self._free:
            self._grow()
        at = self._places[name] = heappop(self._free)
        part, series = divmod(at, self.part_series)
        self._names[part][series] = name
        self._changed.add(part)
        return at

    def places_with(self, names: Iterable[str]) -> int:
        """Gives all of `names` a place; returns `places`."""
        for name in names:
            self.place(name)
        return self.places

    def forget(self, name: str) -> None:
        """Gives a series' place free. Raises `KeyError` if it has none."""
        at = self._places.pop(name)
        part, series = divmod(at, self.part_series)
        self._names[part][series] = None
        self._parts[part].clear(series)
        heappush(self._free, at)
        self._changed.add(part)
        self._drop_empty_parts()

    def _drop_empty_parts(self) -> None:
        """Drops the last parts as long as no series is in them."""
        while self._names and not any(name is not None for name in self._names[-1]):
            self._names.pop()
            self._parts.pop()
            self._free = [at for at in self._free if at < self.places]
            heapify(self._free)

    def clear(self, name: str) -> None:
        """Makes a series as new as if it had just got its place; its `least_difference` stays.

        Raises `KeyError` if it has no place.
        """
        part, series = divmod(self._places[name], self.part_series)
        least_difference = self._parts[part].least_difference[series]
        self._parts[part].clear(series)
        self._parts[part].least_difference[series] = least_difference
        self._changed.add(part)

    def score(self, times_ms: int | Integers, values: Floats) -> Floats:
        """Scores one sample of each place, and keeps it for `learn`; see `NoveltyPart.score`.

        Parameters
        ----------
        times_ms
            Start of the samples' windows, Unix milliseconds; one for all, or one a place.
        values
            One value a place, NaN where there is no sample.

        Raises
        ------
        ValueError
            There are not as many values as `places`.
        """
        if len(values) != self.places:
            raise ValueError(f"the bank has {self.places} places, and {len(values)} values came")
        times = np.broadcast_to(np.asarray(times_ms, np.int64), len(values))
        scores = np.zeros(len(values))
        present = np.isfinite(values).reshape(-1, self.part_series).any(1)
        self._scored = np.flatnonzero(present).tolist()
        for number in self._scored:
            here = slice(number * self.part_series, (number + 1) * self.part_series)
            scores[here] = self._parts[number].score(times[here], values[here])
        self.scores = scores.tolist()
        return scores

    def learn(self) -> None:
        """Learns what was scored last."""
        for number in self._scored:
            self._parts[number].learn()
        self._changed.update(self._scored)
        self._scored = []

    def observe(self, times_ms: int | Integers, values: Floats) -> Floats:
        """Scores and learns one sample of each place."""
        scores = self.score(times_ms, values)
        self.learn()
        return scores

    def detector(self, place: int) -> NoveltyDetector:
        """A detector of its own in the state of the series at a place, as of its last `learn`."""
        part, series = divmod(place, self.part_series)
        return self._parts[part].detector(series)

    def put(self, place: int, detector: NoveltyDetector) -> None:
        """Takes the state of a detector, one from `detector` that has gone on alone, into its
        place."""
        part, series = divmod(place, self.part_series)
        self._parts[part].put(series, detector)
        self._changed.add(part)

    def pays(self, samples: int) -> bool:
        """Whether so many samples at once are scored faster here than by detectors of their own."""
        one = _PAYS_FROM + self.part_series * _PAYS_FROM_SHARE
        return samples >= one * len(self._parts)

    def dump(self, *, every: bool = False) -> dict[int, bytes]:
        """The parts changed since the last `dump`, or `every` one, by number.

        A part that was dropped as no series is left in it is dumped as no bytes.
        """
        numbers = range(len(self._parts)) if every else sorted(self._changed)
        self._changed = set()
        return {n: self._dump_part(n) for n in numbers}

    def _dump_part(self, number: int) -> bytes:
        if number >= len(self._parts):
            return b""
        names = {i: name for i, name in enumerate(self._names[number]) if name is not None}
        state = self._parts[number].dump(np.array(list(names), np.int64))
        return msgspec.msgpack.encode([self.part_series, names, state])

    def load(self, parts: Mapping[int, bytes]) -> None:
        """Takes the latest dump of every part.

        Raises `PartStateError` if one is missing or is of another version or size; the bank is
        then as it was.
        """
        fresh = NoveltyBank(self.part_series, self.warmup_samples)
        kept = {number: part for number, part in parts.items() if part}
        for number in range(len(kept)):
            if number not in kept:
                raise PartStateError(f"part {number} of {len(kept)} of the bank is missing")
            fresh._restore(number, kept[number])
        self.__dict__.update(fresh.__dict__)

    def _restore(self, number: int, dumped: bytes) -> None:
        try:
            size, names, state = msgspec.msgpack.decode(dumped, type=_DUMPED)
        except (msgspec.DecodeError, ValueError) as error:
            raise PartStateError(f"part {number} of the bank cannot be read: {error}") from error
        if size != self.part_series:
            raise PartStateError(
                f"part {number} of the bank is for {size} series, not for {self.part_series}; "
                "begin with an empty bank"
            )
        self._grow()
        self._parts[number].load(np.array(list(names), np.int64), state)
        begin = number * self.part_series
        for series, name in names.items():
            self._names[number][series] = name
            self._places[name] = begin + series
        self._free = [at for at in self._free if at - begin not in names]

    def _grow(self) -> None:
        begin = self.places
        self._parts.append(NoveltyPart(self.part_series, self.warmup_samples))
        self._names.append([None] * self.part_series)
        self._free.extend(range(begin, begin + self.part_series))
