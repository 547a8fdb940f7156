"""How often one error template comes in one service."""

import msgspec

from detectors.base import State
from detectors.calibration import TailCalibrator
from detectors.tails import gamma_poisson_scores

_PRIOR_LINES = 0.5
_PRIOR_WINDOWS = 10.0
_MOST_SHAPE = 2.0


class Recent(msgspec.Struct, array_like=True, gc=False):
    """Lines of a template in one window that is still being judged together with later ones."""

    end_ms: int
    active: int
    lines: int
    told: bool = False


class TemplateRate:
    """How often one template comes in one service, per window in which that service logs at all.

    A gamma-Poisson count: the rate is learnt from a prior; lines come in clumps, so the predictive
    tail is never narrower than that of gamma shape 2. A template without any history is simply one
    whose rate is known to be low by all the windows in which it did not come. The raw score is
    held to its own history by `TailCalibrator`. Lines are learnt only when they are too old to be
    judged, so that a slow drip does not make itself usual. `usual` counts those learnt that were
    never told as anomalous.
    """

    __slots__ = (
        "_lines",
        "_windows",
        "calibrator",
        "first_ms",
        "learnt_at",
        "recent",
        "since_ms",
        "total",
        "usual",
    )

    def __init__(self) -> None:
        self.calibrator = TailCalibrator(outage_samples=3)
        self._lines = 0.0
        self._windows = 0.0
        self.learnt_at = 0
        self.first_ms = 0
        self.since_ms = 0
        self.total = 0
        self.usual = 0
        self.recent: list[Recent] = []

    def expected(self, first_active: int, fleet_rate: float) -> float:
        """Lines a window, from the windows before the `first_active`th and from elsewhere."""
        windows = self._windows + max(first_active - 1 - self.learnt_at, 0)
        lines = self._lines + _PRIOR_LINES + _PRIOR_WINDOWS * fleet_rate
        return lines / (windows + _PRIOR_WINDOWS)

    def score(self, lines: int, windows: int, expected: float) -> tuple[float, float]:
        """Raw and calibrated score of `lines` lines in `windows` windows, `expected` in each."""
        mean = expected * windows
        if lines <= 2 * mean:
            return 0.0, 0.0
        shape = min(self._lines + _PRIOR_LINES, _MOST_SHAPE)
        raw, _ = gamma_poisson_scores(float(lines), mean, shape)
        return raw, self.calibrator.score(raw)

    def age(self, before_ms: int, told_weight: float) -> None:
        """Learns the lines of windows that ended at or before `before_ms`."""
        while self.recent and self.recent[0].end_ms <= before_ms:
            old = self.recent.pop(0)
            self._windows += old.active - self.learnt_at
            self.learnt_at = old.active
            self._lines += old.lines * (told_weight if old.told else 1.0)
            self.usual += 0 if old.told else old.lines
        if self._windows > 4000:
            self._windows /= 2
            self._lines /= 2

    def dump(self) -> State:
        """The whole state."""
        return [
            self._lines,
            self._windows,
            self.learnt_at,
            self.first_ms,
            self.since_ms,
            self.total,
            self.usual,
            [msgspec.to_builtins(r) for r in self.recent],
            self.calibrator.dump(),
        ]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        self._lines, self._windows, self.learnt_at = state[:3]
        self.first_ms, self.since_ms, self.total, self.usual, recent, calibrator = state[3:]
        self.recent = msgspec.convert(recent, list[Recent])
        self.calibrator.load(calibrator)
