"""A block of series whose `SeasonalDetector`s are columns: the same numbers, to the bit."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import State
from detectors.calibration import FleetCalibrator
from detectors.calibration_columns import CalibratorColumns, held_to_fleets
from detectors.native import seasonal as native
from detectors.native.calibrators import Taken
from detectors.native.seasonal import Band, Levels, Limits, Scored
from detectors.novelty_grids import Floats, Integers
from detectors.profile_columns import ProfileColumns
from detectors.seasonal import CARRY, LEAST_SIZE, MOST_SIZES, TAIL_DEGREES, Parameters
from detectors.shift import TO_SIGMA
from detectors.shift_columns import ShiftColumns
from detectors.squash import squash_all
from detectors.tails import student_scores

_NUMBERS = ("size", "matters", "level", "trend", "scatter", "evidence", "base")


class SeasonalPart:
    """`size` seasonal detectors that give, sample by sample, what `SeasonalDetector` gives.

    First `score`, then `learn`; what the series teach their fleets waits for the fleets' `settle`.
    `least_difference` is the smallest that matters of each series; neither it nor the fleet that a
    series is held to is state.

    Parameters
    ----------
    size
        Series. Each step is taken for all of them, with or without a sample.
    parameters
        Of all its detectors; those that only matter to `explain` play no part.
    """

    def __init__(self, size: int, parameters: Parameters) -> None:
        self.size = size
        self.parameters = parameters
        self.least_difference: Floats = np.zeros(size)
        self._fleets: list[FleetCalibrator | None] = [None]
        self._fleet_of: Integers = np.zeros(size, np.int64)
        self._warmup = np.zeros((parameters.warmup_samples, size))
        self._warm: Integers = np.zeros(size, np.int64)
        self._n = np.zeros(size, np.int64)
        self._numbers = {name: np.zeros(size) for name in _NUMBERS}
        self._numbers["size"][:] = 1.0
        self._end_ms = np.zeros(size, np.int64)
        self._levels = Levels(self._n, self._end_ms, **self._numbers)
        self._shift = ShiftColumns(size)
        self._calibrators = CalibratorColumns(size)
        self._profile = ProfileColumns(size)
        self._limits = Limits(
            parameters.memory,
            parameters.relative_floor,
            parameters.adopt_after_ms,
            self._calibrators.cap,
            self._calibrators.horizon,
        )
        self._scored = _room(size)
        self._taken = Taken(
            np.zeros(size), np.zeros(2 * size, np.int64), np.zeros(2 * size), np.zeros(1, np.int64)
        )
        self._window: tuple[int, int, Band] | None = None

    def arrays(self) -> Mapping[str, tuple[NDArray[Any], int]]:
        """All state by name, each with the axis that is the series."""
        arrays = {name: (a, a.ndim - 1) for name, a in self._profile.arrays().items()}
        arrays |= {name: (a, 0) for name, a in self._calibrators.arrays().items()}
        arrays |= {name: (a, 0) for name, a in self._shift.arrays().items()}
        arrays |= {name: (a, 0) for name, a in self._numbers.items()}
        arrays |= {"warmup": (self._warmup, 1), "warm": (self._warm, 0)}
        arrays |= {"n": (self._n, 0), "end_ms": (self._end_ms, 0)}
        return {f"season_{name}": array for name, array in arrays.items()}

    def load(self, series: Integers, dumped: Mapping[str, bytes]) -> None:
        """Takes what `arrays` held of as many series. Raises `KeyError` if an array is missing."""
        many = len(series)
        if not many:
            return
        for name, (array, axis) in self.arrays().items():
            loaded = np.frombuffer(dumped[name], array.dtype)
            if array is self._warmup:
                # It has as many rows as samples were needed then.
                rows = loaded.reshape(-1, many)[: len(array)]
                array[: len(rows), series] = rows
                continue
            shape = (*array.shape[:axis], many, *array.shape[axis + 1 :])
            array[(slice(None),) * axis + (series,)] = loaded.reshape(shape)
        np.minimum(self._warm, self.parameters.warmup_samples - 1, out=self._warm)
        self._profile.forget_derived()

    def join(self, series: int, fleet: FleetCalibrator | None) -> None:
        """Lets a series be held to a fleet, and teach it."""
        if fleet not in self._fleets:
            used = sorted(set(self._fleet_of.tolist()) | {0})
            self._fleets = [*(self._fleets[i] for i in used), fleet]
            self._fleet_of = np.searchsorted(used, self._fleet_of)
        self._fleet_of[series] = self._fleets.index(fleet)

    def score(self, start_ms: int, end_ms: int, values: Floats) -> Floats:
        """Scores one sample of each series, all of one window, and keeps it to be learnt.

        What is no finite number is no sample. Returns the scores as of
        `SeasonalDetector.score_one`, 0 where there was no sample; they stand until the next are
        asked for.
        """
        band, x = self._profile.band(start_ms), self._scored
        self._window = (start_ms, end_ms, band)
        many = native.score(
            self._levels, self._shift.columns, x, band, self._limits, start_ms, values
        )
        if many:
            strange = x.strange[:many]
            x.raw[strange] = found = self._evidence_of(strange, x.z[strange])
            x.scores[strange] = self._calibrated(strange, found)
        return x.scores

    def _evidence_of(self, series: Integers, z: Floats) -> Floats:
        alone = student_scores(np.abs(z), TAIL_DEGREES)
        before = self._numbers["evidence"][series]
        before = np.maximum(np.where(z > 0, before, -before), 0.0)
        return alone + np.minimum(CARRY * before, alone)

    def _calibrated(self, series: Integers, raw: Floats) -> Floats:
        own, at = self._calibrators.score(series, raw), self._fleet_of[series].tolist()
        return np.minimum(own, held_to_fleets(raw, [self._fleets[i] for i in at]))

    def learn(self) -> None:
        """Learns the samples that were scored last; once."""
        if self._window is None:
            return
        (start_ms, end_ms, band), self._window = self._window, None
        young = np.flatnonzero(self._scored.young)
        if len(young):
            self._warm_up(young, end_ms)
        taken = self._taken
        native.learn(
            self._levels,
            self._shift.columns,
            self._calibrators.columns,
            self._profile.columns,
            self._scored,
            band.season,
            self._limits,
            start_ms,
            end_ms,
            taken,
        )
        self._profile.learnt(start_ms)
        many = taken.many.item()
        self._teach(taken.samples, taken.series[:many], taken.peaks[:many])

    def _teach(self, samples: Floats, series: Integers, peaks: Floats) -> None:
        """Lets the fleets take what their series have learnt."""
        counts = np.bincount(self._fleet_of, samples, len(self._fleets)).tolist()
        found: list[list[float]] = [[] for _ in counts]
        for fleet, peak in zip(self._fleet_of[series].tolist(), peaks.tolist(), strict=True):
            found[fleet].append(peak)
        for one, count, of_one in zip(self._fleets, counts, found, strict=True):
            if one is not None and count:
                one.take_all(of_one, count)

    def _warm_up(self, series: Integers, end_ms: int) -> None:
        self._warmup[self._warm[series], series] = self._scored.values[series]
        self._warm[series] += 1
        ready = series[self._warm[series] >= self.parameters.warmup_samples]
        if len(ready):
            self._begin(ready, end_ms)

    def _begin(self, series: Integers, end_ms: int) -> None:
        """What the first samples say of level, size and scatter."""
        numbers, values = self._numbers, self._warmup[:, series]
        many, matters = len(values), self.least_difference[series]
        sizes = np.abs(values)
        magnitude = np.maximum(_median(sizes), 1e-6 * sizes.max(0))
        known = (magnitude > 0) | (matters > 0)
        size = np.where(known, np.maximum(np.maximum(magnitude, matters), LEAST_SIZE), 1.0)
        y = squash_all(np.clip(values / size, -MOST_SIZES, MOST_SIZES))
        level = _median(y)
        off = np.zeros(len(series))
        for row in y:
            off += np.abs(row - level)
        numbers["size"][series], numbers["matters"][series] = size, 0.25 * matters / size
        numbers["level"][series], numbers["base"][series] = level, level
        numbers["scatter"][series] = TO_SIGMA * off / many
        self._n[series], self._end_ms[series] = many, end_ms
        self._warmup[:, series], self._warm[series] = 0.0, 0

    def dump_one(self, series: int) -> State:
        """What `SeasonalDetector.dump` gives of one series."""
        numbers = [self._numbers[name][series].item() for name in _NUMBERS]
        warm = int(self._warm[series])
        return [
            self._warmup[:warm, series].tolist(),
            self._n[series].item(),
            *numbers,
            self._end_ms[series].item(),
            self._shift.dump(series),
            self._calibrators.dump(series),
            self._profile.dump(series),
        ]

    def load_one(self, series: int, state: State) -> None:
        """Takes what `SeasonalDetector.dump` gives into one series."""
        warmup, self._n[series], *numbers, end_ms, shift, calibrator, profile = state
        self._warmup[:, series] = 0.0
        self._warmup[: len(warmup), series], self._warm[series] = warmup, len(warmup)
        for name, value in zip(_NUMBERS, numbers, strict=True):
            self._numbers[name][series] = value
        self._end_ms[series] = end_ms
        self._shift.load(series, shift)
        self._calibrators.load(series, calibrator)
        self._profile.load(series, profile)

    def clear(self, series: int) -> None:
        """Makes one series new."""
        for array, axis in self.arrays().values():
            array[(slice(None),) * axis + (series,)] = 0
        self._numbers["size"][series] = 1.0
        self._profile.arrays()["hour"][series] = -1
        self._profile.forget_derived()


def _room(size: int) -> Scored:
    """Room for what is scored of so many series."""
    floats: dict[str, Any] = {name: np.zeros(size) for name in Scored._fields}
    flags = {name: np.zeros(size, np.bool_) for name in ("young", "alive", "back")}
    return Scored(**{**floats, **flags, "strange": np.zeros(size, np.int64)})


def _median(values: Floats) -> Floats:
    """Of each column, as `statistics.median` gives it."""
    ordered = np.sort(values, axis=0)
    middle = len(ordered) // 2
    found: Floats = ordered[middle]
    return found if len(ordered) % 2 else (ordered[middle - 1] + found) / 2
