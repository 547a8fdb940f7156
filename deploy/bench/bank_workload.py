"""Made-up telemetry of many series for `tocsin bench bank`: levels, days, noise, spikes, gaps."""

from math import tau

import numpy as np

from detectors.novelty_grids import Floats

STEP_MS = 300_000
_START_MS = 1_700_006_400_000
_DAY_STEPS = 86_400_000 // STEP_MS
_SPIKES = 0.0005
_STEPS = 0.0002
_GAPS = 0.01


class Fleet:
    """`series` series with one sample in five minutes, the same for the same `seed`.

    Levels are spread over several orders of magnitude. Each series swings with the day and has its
    own noise; of the samples 1 in 2,000 is a spike, 1 in 5,000 begins a new level, and 1 in 100 is
    missing.
    """

    def __init__(self, series: int, seed: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        self._level = np.exp(self._random.normal(3.0, 2.0, series))
        self._swing = self._random.random(series) * 0.5
        self._phase = self._random.random(series) * tau
        self._noise = self._random.random(series) * 0.2
        self._tick = 0

    def next(self) -> tuple[int, Floats]:
        """The next time, Unix milliseconds, and one value a series, NaN where one is missing."""
        random, many = self._random, len(self._level)
        steps = random.random(many) < _STEPS
        self._level[steps] *= random.uniform(0.7, 1.4, int(steps.sum()))
        day = np.sin(tau * self._tick / _DAY_STEPS + self._phase)
        shape = 1.0 + self._swing * day + self._noise * random.standard_normal(many)
        values: Floats = self._level * shape
        values[random.random(many) < _SPIKES] *= 3.0
        values[random.random(many) < _GAPS] = np.nan
        self._tick += 1
        return _START_MS + self._tick * STEP_MS, values
