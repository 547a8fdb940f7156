"""A series that stays away from its level: when that becomes the new level."""

from detectors.base import State
from schemas.times import DAY_MS

ADOPT_SAMPLES = 10
BACK_SAMPLES = 3
TO_SIGMA = 1.2533
"""Standard deviations in a mean absolute deviation, of a Gaussian."""


class LevelShift:
    """Counts a run of samples on one side of the bounds, and the level that they keep to.

    What has lasted for `adopt_after_ms`, and for ten samples, is adopted. For a day after that the
    level from before is remembered: whoever goes back to it, as after an outage that lasted for
    longer, does nothing strange, and it is the level again after three samples.

    Parameters
    ----------
    adopt_after_ms
        A lasting shift is adopted after this long.
    memory
        Samples over which the new level forgets.
    """

    __slots__ = (
        "_back",
        "_dev",
        "_former",
        "_former_until_ms",
        "_mean",
        "adopt_after_ms",
        "memory",
        "out",
        "since_ms",
    )

    def __init__(self, adopt_after_ms: int, memory: int) -> None:
        self.adopt_after_ms = adopt_after_ms
        self.memory = memory
        self.out = 0
        """Samples of the run, negative below the bounds."""
        self.since_ms = 0
        self._mean = 0.0
        self._dev = 0.0
        self._former = 0.0
        self._former_until_ms = 0
        self._back = 0

    def note(self, start_ms: int, end_ms: int, y: float, side: int) -> tuple[float, float] | None:
        """Takes a sample in, `side` 1 or -1 if it is out; the new level and its scatter, if any."""
        if side == 0 or (self.out and (self.out > 0) != (side > 0)):
            self.out = 0
        if side == 0:
            return None
        if not self.out:
            self.since_ms, self._mean, self._dev = start_ms, y, 0.0
        self.out += side
        rate = 1.0 / min(abs(self.out), self.memory)
        self._dev += rate * (abs(y - self._mean) - self._dev)
        self._mean += rate * (y - self._mean)
        if end_ms - self.since_ms < self.adopt_after_ms or abs(self.out) < ADOPT_SAMPLES:
            return None
        self.out = 0
        return self._mean, TO_SIGMA * self._dev

    def adopted(self, end_ms: int, former: float) -> None:
        """Remembers the level that another has taken the place of."""
        self._former, self._former_until_ms, self._back = former, end_ms + DAY_MS, 0

    def is_back(self, start_ms: int, level: float, reach: float) -> bool:
        """Whether a level is the one from before, as far as that is still remembered."""
        return start_ms < self._former_until_ms and abs(level - self._former) <= reach

    def back(self) -> float | None:
        """Counts a sample that was back at the level from before; that level once it has stayed."""
        self._back += 1
        if self._back < BACK_SAMPLES:
            return None
        self._former_until_ms = 0
        return self._former

    def dump(self) -> State:
        """The run and the level from before."""
        return [
            self.out,
            self.since_ms,
            self._mean,
            self._dev,
            self._former,
            self._former_until_ms,
            self._back,
        ]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        self.out, self.since_ms, self._mean, self._dev, *rest = state
        self._former, self._former_until_ms, self._back = rest
