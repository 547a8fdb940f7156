"""The novelty detector of many series: by name, in parts that are scored, saved and restored."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
import numpy as np

from detectors.novelty import WARMUP_SAMPLES
from detectors.novelty_grids import Floats, Integers
from detectors.novelty_part import NoveltyPart, PartStateError

PART_SERIES: Final = 2048
"""So many that the cost of a step of numpy is spread, so few that its numbers stay in a cache."""


class NoveltyBank:
    """One novelty detector a series, as arrays; series may come and go at any time.

    `place` gives a series its place, an index that stays until `forget`. `observe` takes one value
    a place and scores it as `NoveltyDetector` would, which a property test holds it to. `dump`
    gives the parts in which anything has changed since the last `dump`, each by its number; the
    last ones of every number restore the bank.

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

    def place(self, name: str) -> int:
        """The place of a series, which is new if it had none."""
        known = self._places.get(name)
        if known is not None:
            return known
        if not self._free:
            self._grow()
        at = self._places[name] = self._free.pop()
        part, column = divmod(at, self.part_series)
        self._names[part][column] = name
        self._changed.add(part)
        return at

    def places_with(self, names: list[str]) -> int:
        """Gives all of `names` a place; returns `places`."""
        for name in names:
            self.place(name)
        return self.places

    def forget(self, name: str) -> None:
        """Gives a series' place free. Raises `KeyError` if it has none."""
        at = self._places.pop(name)
        part, column = divmod(at, self.part_series)
        self._names[part][column] = None
        self._parts[part].clear(column)
        self._free.append(at)
        self._changed.add(part)

    def observe(self, times_ms: int | Integers, values: Floats) -> Floats:
        """Scores and learns one sample of each place; see `NoveltyPart.observe`.

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
        for number, (part, here) in enumerate(self._slices()):
            if not np.isfinite(values[here]).any():
                continue
            scores[here] = part.observe(times[here], values[here])
            self._changed.add(number)
        return scores

    def dump(self, *, every: bool = False) -> dict[int, bytes]:
        """The parts changed since the last `dump`, or `every` one, by number."""
        numbers = range(len(self._parts)) if every else sorted(self._changed)
        self._changed = set()
        return {n: msgspec.msgpack.encode([self._names[n], self._parts[n].dump()]) for n in numbers}

    def load(self, parts: Mapping[int, bytes]) -> None:
        """Takes the latest dump of every part.

        Raises `PartStateError` if one is missing or is of another version or size; the bank is
        then as it was.
        """
        fresh = NoveltyBank(self.part_series, self.warmup_samples)
        for number in range(len(parts)):
            if number not in parts:
                raise PartStateError(f"part {number} of {len(parts)} of the bank is missing")
            fresh._restore(number, parts[number])
        self.__dict__.update(fresh.__dict__)

    def _restore(self, number: int, dumped: bytes) -> None:
        try:
            names, state = msgspec.msgpack.decode(dumped, type=tuple[list[str | None], bytes])
        except (msgspec.DecodeError, ValueError) as error:
            raise PartStateError(f"part {number} of the bank cannot be read: {error}") from error
        part = NoveltyPart(self.part_series, self.warmup_samples)
        part.load(state)
        self._parts.append(part)
        self._names.append(names)
        begin = number * self.part_series
        self._places.update({n: begin + i for i, n in enumerate(names) if n is not None})
        self._free[:0] = [begin + i for i, n in enumerate(names) if n is None][::-1]

    def _grow(self) -> None:
        begin = self.places
        self._parts.append(NoveltyPart(self.part_series, self.warmup_samples))
        self._names.append([None] * self.part_series)
        self._free.extend(range(begin + self.part_series - 1, begin - 1, -1))

    def _slices(self) -> Iterator[tuple[NoveltyPart, slice]]:
        for number, part in enumerate(self._parts):
            begin = number * self.part_series
            yield part, slice(begin, begin + self.part_series)
