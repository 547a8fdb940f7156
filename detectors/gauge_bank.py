"""The default detectors of many gauges: by name, in parts that are scored, saved and restored."""

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import Final

import msgspec
import numpy as np

from detectors.calibration import FleetCalibrator
from detectors.gauge_part import GaugePart, PartStateError
from detectors.novelty import WARMUP_SAMPLES, NoveltyDetector
from detectors.novelty_grids import Floats
from detectors.seasonal import Parameters, SeasonalDetector

PART_SERIES: Final = 4096
"""So many that the cost of a step of numpy is spread, so few that its numbers stay in a cache."""

_DUMPED = tuple[int, dict[int, str], bytes]


class GaugeBank:
    """The default detectors of gauges as arrays; gauges may come and go at any time.

    `place` gives a gauge its place, an index that stays until `forget`. `score` takes one value a
    place, all of one window, and scores it as `NoveltyDetector` and `SeasonalDetector` would, which
    a property test holds it to; `learn` then learns them. `dump` gives the parts in which anything
    has changed since the last `dump`, each by its number; the last ones of every number restore
    the bank.

    Parameters
    ----------
    part_series
        Gauges a part.
    warmup_samples, parameters
        As of `NoveltyDetector`, and of all `SeasonalDetector`s.

    Attributes
    ----------
    novelty, seasonal
        What the last `score` gave by each of the two detectors, by place.

    Example
    -------
    >>> bank = GaugeBank()
    >>> values = np.full(bank.places_with(["cart", "checkout"]), np.nan)
    >>> values[bank.place("cart")] = 0.25
    >>> float(bank.observe(1_700_000_000_000, 1_700_000_010_000, values).max())
    0.0
    """

    def __init__(
        self,
        part_series: int = PART_SERIES,
        warmup_samples: int = WARMUP_SAMPLES,
        parameters: Parameters | None = None,
    ) -> None:
        self.part_series = part_series
        self.warmup_samples = warmup_samples
        self.parameters = parameters or Parameters()
        self._parts: list[GaugePart] = []
        self._names: list[list[str | None]] = []
        self._places: dict[str, int] = {}
        self._free: list[int] = []
        self._changed: set[int] = set()
        self._scored: list[int] = []
        self.novelty: list[float] = []
        self.seasonal: list[float] = []

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

    def place(
        self,
        name: str,
        least_difference: float = 0.0,
        fleet: FleetCalibrator | None = None,
        *,
        seasonal: bool = True,
    ) -> int:
        """The place of a gauge, which is new if it had none.

        `least_difference` is the smallest that matters in its unit, `fleet` the common history of
        its metric, and `seasonal` says whether it has a `SeasonalDetector` here; none of these is
        saved with the bank.
        """
        at = self._places.get(name)
        if at is None:
            at = self._new_place(name)
        part, gauge = divmod(at, self.part_series)
        self._parts[part].set(gauge, least_difference, fleet, seasonal=seasonal)
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
        self._parts[part].set(series, 0.0, None, seasonal=False)
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
        """Makes a gauge as new as if it had just got its place.

        Raises `KeyError` if it has none.
        """
        part, gauge = divmod(self._places[name], self.part_series)
        self._parts[part].clear(gauge)
        self._changed.add(part)

    def score(self, start_ms: int, end_ms: int, values: Floats) -> Floats:
        """Scores one sample of each place, and keeps it for `learn`.

        Parameters
        ----------
        start_ms, end_ms
            The window that the samples belong to, Unix milliseconds.
        values
            One value a place, NaN where there is no sample.

        Returns the higher score of each gauge's two detectors.

        Raises
        ------
        ValueError
            There are not as many values as `places`.
        """
        if len(values) != self.places:
            raise ValueError(f"the bank has {self.places} places, and {len(values)} values came")
        novelty, seasonal = np.zeros(len(values)), np.zeros(len(values))
        present = np.isfinite(values).reshape(-1, self.part_series).any(1)
        self._scored = np.flatnonzero(present).tolist()
        for number in self._scored:
            here = slice(number * self.part_series, (number + 1) * self.part_series)
            part = self._parts[number]
            novelty[here], seasonal[here] = part.score(start_ms, end_ms, values[here])
        self.novelty, self.seasonal = novelty.tolist(), seasonal.tolist()
        return np.maximum(novelty, seasonal)

    def learn(self) -> None:
        """Learns what was scored last."""
        for number in self._scored:
            self._parts[number].learn()
        self._changed.update(self._scored)
        self._scored = []

    def observe(self, start_ms: int, end_ms: int, values: Floats) -> Floats:
        """Scores and learns one sample of each place; see `score`."""
        scores = self.score(start_ms, end_ms, values)
        self.learn()
        return scores

    def novelty_of(self, place: int) -> NoveltyDetector:
        """A detector of its own in the state of the gauge at a place, as of its last `learn`."""
        part, gauge = divmod(place, self.part_series)
        return self._parts[part].novelty.detector(gauge)

    def season_of(self, place: int, fresh: SeasonalDetector) -> SeasonalDetector:
        """`fresh`, a new detector of its own, in the state of the gauge at a place."""
        part, gauge = divmod(place, self.part_series)
        fresh.load(self._parts[part].season.dump_one(gauge))
        return fresh

    def put(self, place: int, seasonal: SeasonalDetector) -> None:
        """Takes the state of a seasonal detector of its own into its place."""
        part, gauge = divmod(place, self.part_series)
        self._parts[part].season.load_one(gauge, seasonal.dump())
        self._changed.add(part)

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
        fresh = GaugeBank(self.part_series, self.warmup_samples, self.parameters)
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
        self._parts.append(GaugePart(self.part_series, self.warmup_samples, self.parameters))
        self._names.append([None] * self.part_series)
        self._free.extend(range(begin, begin + self.part_series))
