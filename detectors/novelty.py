"""Novelty: a sample is as anomalous as it is far from everything seen before, in five views."""

from math import isfinite
from typing import Final

from detectors.base import Explanation, Sample, State
from detectors.novelty_grid import ValueGrid
from detectors.novelty_views import LEAST, Views
from detectors.units import show_in_unit, subject
from schemas.units import metric_of

VIEWS: Final = ("value", "step", "floor", "ceiling", "day")
WEIGHTS: Final = (1.0, 0.25, 0.3, 0.15, 0.25)
"""How much the novelty of each view counts; the strongest alone is the sample's."""

NOTABLE_NOVELTY: Final = 0.025
"""The part of the range by which a value must miss all others to score `NOTABLE_SCORE`."""
NOTABLE_SCORE: Final = 6.0
MOST_SCORE: Final = 60.0

QUIET_SAMPLES: Final = 100
"""So long after a novelty another must be `QUIET_FACTOR` times as strong to count."""
QUIET_FACTOR: Final = 1.6
WARMUP_SAMPLES: Final = 72
MOST: Final = 1e150


class NoveltyDetector:
    """Tells samples unlike any before: a value never had, a step, a moved floor or ceiling, or
    what is not usual at this time of day.

    Each of five views of the series (`novelty_views.Views`) remembers where it has been for some
    6,000 samples (`novelty_grid.ValueGrid`). The novelty of a sample is the greatest, over the
    views, of weight times distance to the nearest remembered number in parts of the range
    remembered: holes within the range count like leaving it. After a novelty the same or a little
    more is no news for a while. There is no model of noise, no range known beforehand, and all
    state has a fixed size (about 2 KiB), so a bank of many series is arrays (`GaugeBank`).

    The score is proportional to the novelty, `NOTABLE_SCORE` at `NOTABLE_NOVELTY`: a number on the
    product's scale, found where it serves all recorded series alike, not a fitted probability.
    One sample proves nothing, so an explanation is never `confirmed`: novelty corroborates.

    Parameters
    ----------
    warmup_samples
        Samples of a view before it speaks.
    least_difference
        What misses all that was seen by less than this, in the series' own unit, scores 0, however
        quiet the series is; it is learnt like anything else.
    """

    def __init__(
        self, warmup_samples: int = WARMUP_SAMPLES, *, least_difference: float = 0.0
    ) -> None:
        self.warmup_samples = warmup_samples
        self.least_difference = least_difference
        self.views = Views()
        self.grids = tuple(ValueGrid() for _ in VIEWS)
        self.peak = 0.0
        self.since_peak = QUIET_SAMPLES
        self._last: Sample | None = None
        self._looks: tuple[float | None, ...] = ()
        self._strongest = 0
        self._novelty = 0.0
        self._value = 0.0

    def score_one(self, x: Sample) -> float:
        self._last = x
        self._novelty = 0.0
        self._looks = ()
        value = x.observation.mean
        if not isfinite(value):
            return 0.0
        self._value = value = bounded(value)
        self._looks = self.views.look(x.start_ms, value)
        for i, look in enumerate(self._looks):
            grid = self.grids[i]
            if look is None or grid.samples < self.warmup_samples:
                continue
            novelty = grid.novelty(look)
            if novelty and (novelty := WEIGHTS[i] * novelty) > self._novelty:
                self._novelty, self._strongest = novelty, i
        if not self._novelty or self._is_old_news() or self._is_tiny():
            return 0.0
        return min(self._novelty * (NOTABLE_SCORE / NOTABLE_NOVELTY), MOST_SCORE)

    def _is_old_news(self) -> bool:
        return self.since_peak < QUIET_SAMPLES and self._novelty < QUIET_FACTOR * self.peak

    def _is_tiny(self) -> bool:
        grid, look = self.grids[self._strongest], self._looks[self._strongest]
        span = grid.high - grid.low
        if span > 0.0 or look is None:
            return self._novelty / WEIGHTS[self._strongest] * span < self.least_difference
        return abs(look - grid.low) < self.least_difference

    def learn_one(self, x: Sample) -> None:
        if not self._looks:
            return
        if self._novelty > 0.0 and not self._is_old_news():
            self.peak, self.since_peak = self._novelty, 0
        if self.since_peak < QUIET_SAMPLES:
            self.since_peak += 1
        for grid, look in zip(self.grids, self._looks, strict=True):
            if look is not None:
                grid.learn(look)
        self.views.learn(x.start_ms, self._value)

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        o = self._last.observation
        metric = metric_of(o.series)
        look = (self._looks and self._looks[self._strongest]) or o.mean
        base = self.views.bases(self._last.start_ms)[self._strongest]
        grid = self.grids[self._strongest]
        value, low, high = base + look, base + grid.low, base + grid.high
        below, above = (base + edge for edge in grid.seen_beside(look))
        within = low <= value <= high
        expected = below if abs(value - below) <= abs(above - value) else above
        edges = (below, above) if within else (low, high)
        first, last = (show_in_unit(edge, metric) for edge in edges)
        before = f"never between {first} and {last}" if within else f"always {first} to {last}"
        name = subject(o.series, o.service, o.instance, o.operation)
        what = _WHAT[VIEWS[self._strongest]].format(name=name, value=show_in_unit(value, metric))
        reason = f"{what}; in the last {grid.remembered:,} samples {before}"
        return Explanation("novelty", value, expected, low, high, reason, confirmed=False)

    def dump(self) -> State:
        return [self.views.dump(), [g.dump() for g in self.grids], self.peak, self.since_peak]

    def load(self, state: State) -> None:
        views, grids, self.peak, self.since_peak = state
        self.views.load(views)
        for grid, dumped in zip(self.grids, grids, strict=True):
            grid.load(dumped)


_WHAT = {
    "value": "{name} is {value}",
    "step": "{name} has stepped to a mean of {value}",
    "floor": "the least of {name} in the last 72 samples is {value}",
    "ceiling": "the greatest of {name} in the last 192 samples is {value}",
    "day": "{name} is {value}, unusual at this time of day",
}


def bounded(value: float) -> float:
    """The value with its magnitude held to what differences and sums can be made of."""
    if abs(value) < LEAST:
        return 0.0
    return max(-MOST, min(MOST, value))
