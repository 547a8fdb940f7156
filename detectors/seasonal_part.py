"""A block of series whose `SeasonalDetector`s are arrays: the same numbers, to the bit."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.base import State
from detectors.calibration import FleetCalibrator
from detectors.calibration_columns import CalibratorColumns, held_to_fleets
from detectors.novelty_grids import Flags, Floats, Integers
from detectors.profile_columns import ProfileColumns
from detectors.seasonal import (
    BASE_MS,
    CARRY,
    INSIDE,
    LEAST_SIZE,
    MOST_SIZES,
    TAIL_DEGREES,
    Parameters,
)
from detectors.shift import TO_SIGMA
from detectors.shift_columns import Levels, ShiftColumns
from detectors.squash import squash_all
from detectors.tails import student_scores

_MOST_SAMPLES: Final = 1_000_000
_NUMBERS = ("size", "matters", "level", "trend", "scatter", "evidence", "base")


class _Scored(NamedTuple):
    """What was scored and is to be learnt."""

    start_ms: int
    end_ms: int
    values: Floats
    present: Flags
    alive: Flags
    y: Floats
    season: Floats
    expected: Floats
    spread: Floats
    z: Floats
    back: Integers
    raw: Floats
    scores: Floats


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
        self._shift = ShiftColumns(size, parameters.adopt_after_ms, parameters.memory)
        self._calibrators = CalibratorColumns(size)
        self._profile = ProfileColumns(size)
        self._scored: _Scored | None = None

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

    @np.errstate(over="ignore", invalid="ignore")
    def score(self, start_ms: int, end_ms: int, values: Floats) -> Floats:
        """Scores one sample of each series, all of one window, and keeps it to be learnt.

        What is no finite number is no sample. Returns the scores as of
        `SeasonalDetector.score_one`, 0 where there was no sample.
        """
        numbers = self._numbers
        present = np.isfinite(values)
        values = np.where(present, values, 0.0)
        alive = present & (self._n > 0)
        sizes = np.clip(values / numbers["size"], -MOST_SIZES, MOST_SIZES)
        y = squash_all(sizes)
        season, below, above = self._profile.band(start_ms)
        expected = numbers["level"] + numbers["trend"]
        expected += season
        spread = self._least_scatter(sizes, y)
        np.maximum(spread, numbers["scatter"], out=spread)
        spread *= np.sqrt(2.0 / np.maximum(self._n, 1) + 1.0)
        off = y - expected
        off -= np.clip(off, below, above)
        z = off / spread
        far = np.flatnonzero(alive & (np.abs(z) >= 2.0))
        raw, scores = np.zeros(self.size), np.zeros(self.size)
        back = self._shift.is_back(far, start_ms, y[far] - season[far], 4.0 * spread[far])
        strange = far[~back]
        if len(strange):
            raw[strange] = found = self._evidence_of(strange, z[strange])
            scores[strange] = self._calibrated(strange, found)
        self._scored = _Scored(
            start_ms,
            end_ms,
            values,
            present,
            alive,
            y,
            season,
            expected,
            spread,
            z,
            far[back],
            raw,
            scores,
        )
        return scores

    def _least_scatter(self, sizes: Floats, y: Floats) -> Floats:
        relative: Floats = np.clip(np.abs(y), 0.3, 1.0)
        relative *= self.parameters.relative_floor
        matters = self._numbers["matters"] / np.sqrt(sizes * sizes + 1.0)
        np.maximum(relative, matters, out=relative)
        return relative

    def _evidence_of(self, series: Integers, z: Floats) -> Floats:
        alone = student_scores(np.abs(z), TAIL_DEGREES)
        before = self._numbers["evidence"][series]
        before = np.maximum(np.where(z > 0, before, -before), 0.0)
        return alone + np.minimum(CARRY * before, alone)

    def _calibrated(self, series: Integers, raw: Floats) -> Floats:
        own, at = self._calibrators.score(series, raw), self._fleet_of[series].tolist()
        return np.minimum(own, held_to_fleets(raw, [self._fleets[i] for i in at]))

    @np.errstate(over="ignore", invalid="ignore")
    def learn(self) -> None:
        """Learns the samples that were scored last; once."""
        x, self._scored = self._scored, None
        if x is None:
            return
        young = np.flatnonzero(x.present & (self._n == 0))
        if len(young):
            self._warm_up(young, x)
        taken = self._calibrators.learn(x.raw, x.alive)
        self._teach(taken.samples, taken.series, taken.peaks)
        deviation = x.y - x.expected
        evidence = np.where(deviation > 0, x.raw, -x.raw)
        np.copyto(self._numbers["evidence"], evidence, where=x.alive)
        rest = x.alive.copy()
        rest[self._note_shifts(x)] = False
        self._learn_level(x, deviation, rest)

    def _teach(self, samples: Floats, series: Integers, peaks: Floats) -> None:
        """Lets the fleets take what their series have learnt."""
        counts = np.bincount(self._fleet_of, samples, len(self._fleets)).tolist()
        found: list[list[float]] = [[] for _ in counts]
        for fleet, peak in zip(self._fleet_of[series].tolist(), peaks.tolist(), strict=True):
            found[fleet].append(peak)
        for one, count, of_one in zip(self._fleets, counts, found, strict=True):
            if one is not None and count:
                one.take_all(of_one, count)

    def _note_shifts(self, x: _Scored) -> Integers:
        """Series whose level has become another with this sample."""
        level, scatter = self._numbers["level"], self._numbers["scatter"]
        looked_at = x.alive & ((np.abs(x.z) > 2.0) | (self._shift.out != 0))
        back = x.back[looked_at[x.back]]
        looked_at[back] = False
        stayed = self._shift.back(back)
        self._move(stayed)
        at = np.flatnonzero(looked_at & ((np.abs(x.z) > 4.0) | (self._shift.out != 0)))
        if not len(at):
            return stayed.series
        side = (x.z[at] > 4.0).astype(np.int64) - (x.z[at] < -4.0)
        new = self._shift.note(at, x.start_ms, x.end_ms, x.y[at], side)
        self._shift.adopted(new.series, x.end_ms, level[new.series])
        self._move(new._replace(level=new.level - x.season[new.series]))
        scatter[new.series] = np.maximum(scatter[new.series], new.scatter)
        return np.concatenate((stayed.series, new.series))

    def _move(self, new: Levels) -> None:
        level, base = self._numbers["level"], self._numbers["base"]
        base[new.series] += new.level - level[new.series]
        level[new.series] = new.level
        self._numbers["trend"][new.series] = 0.0

    def _learn_level(self, x: _Scored, deviation: Floats, rest: Flags) -> None:
        numbers, n = self._numbers, self._n
        level, trend, scatter = numbers["level"], numbers["trend"], numbers["scatter"]
        anomalous = x.scores >= 4.0
        caution = np.where(anomalous, 0.1, 1.0)
        step = np.maximum(1.0 / (n + 1), 1.0 / self.parameters.memory) * caution
        most = 2.5 * x.spread
        clipped = np.clip(deviation, -most, most)
        strange = x.z * x.spread
        shift = deviation - strange
        shift *= INSIDE
        shift += strange
        shift = np.clip(shift, -most, most)
        n += rest
        np.minimum(n, _MOST_SAMPLES, out=n)
        np.copyto(level, level + (trend + step * shift), where=rest)
        np.copyto(trend, 0.98 * (trend + 0.02 * step * shift), where=rest)
        size = np.maximum(np.abs(strange), 0.5 * np.abs(deviation))
        np.minimum(size, 4.0 * x.spread, out=size)
        rate = np.maximum(1.0 / (n + 1), 0.02)
        rate *= caution
        np.copyto(scatter, scatter + rate * (TO_SIGMA * size - scatter), where=rest)
        self._learn_season(x, clipped, rest, anomalous)

    def _learn_season(self, x: _Scored, clipped: Floats, rest: Flags, anomalous: Flags) -> None:
        base = self._numbers["base"]
        passed = np.minimum((x.end_ms - self._end_ms) / BASE_MS, 0.1)
        np.copyto(self._end_ms, x.end_ms, where=rest)
        np.copyto(base, base + passed * (self._numbers["level"] - base), where=rest)
        self._profile.learn(x.start_ms, clipped + x.expected - base, rest & ~anomalous)

    def _warm_up(self, series: Integers, x: _Scored) -> None:
        self._warmup[self._warm[series], series] = x.values[series]
        self._warm[series] += 1
        ready = series[self._warm[series] >= self.parameters.warmup_samples]
        if len(ready):
            self._begin(ready, x.end_ms)

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


def _median(values: Floats) -> Floats:
    """Of each column, as `statistics.median` gives it."""
    ordered = np.sort(values, axis=0)
    middle = len(ordered) // 2
    found: Floats = ordered[middle]
    return found if len(ordered) % 2 else (ordered[middle - 1] + found) / 2
