"""Holds a detector's raw score to what that detector has said of its own series before."""

from bisect import insort
from collections.abc import Iterable
from math import inf, log, log10

from detectors.base import State

LN10 = log(10)
_NO_TAIL = (inf, inf, 1.0)
RAISED = 1.5
"""Raw scores from here on are of a run, which counts once."""


class TailCalibrator:
    """-log10 of the probability of a raw score, from the series' own history of raw scores.

    Peaks over threshold: the highest peaks of the history tell how heavy the tail of the raw
    score is, and an exponential tail, fitted by their mean excess, carries on beyond them (raw
    scores are logarithms, so this is a power law in the deviation). Neighbouring high scores are
    one peak, as usual with extremes, so that an outage counts once and not once a sample. On a
    series that is noisy by nature the peaks are high and what was called one in a million is
    called one in a hundred; on a well-behaved one the raw score stands.

    Parameters
    ----------
    peaks
        How many of the highest peaks are kept.
    horizon
        Samples after which the older half of the history is forgotten.
    prior_excess
        Mean excess expected before the series has shown its own; 1/ln 10 is that of a raw score
        that is a true -log10 p.
    prior_weight
        How many peaks that expectation is worth.
    cap
        No peak is remembered as higher than this, so that one outage does not hide the next.
    outage_samples
        A run of at least so many raised raw scores that goes above 3 is an outage and not noise:
        it is left out of the history. 0 if noise comes in runs as well.
    fleet
        The common history of all series of this kind, which learns along. A raw score is as
        unlikely here as it is on its like elsewhere.

    References
    ----------
    Coles, S. (2001). An Introduction to Statistical Modeling of Extreme Values, chapters 4 and 5.
    Siffer, A. et al. (2017). Anomaly Detection in Streams with Extreme Value Theory.
    """

    __slots__ = (
        "_before",
        "_before_top",
        "_n",
        "_run",
        "_run_samples",
        "_top",
        "cap",
        "fleet",
        "horizon",
        "outage_samples",
        "peaks",
        "prior_excess",
        "prior_weight",
    )

    def __init__(
        self,
        *,
        peaks: int = 16,
        horizon: int = 2000,
        prior_excess: float = 1 / LN10,
        prior_weight: float = 6.0,
        cap: float = 12.0,
        outage_samples: int = 0,
        fleet: "FleetCalibrator | None" = None,
    ) -> None:
        self.peaks = peaks
        self.horizon = horizon
        self.prior_excess = prior_excess
        self.prior_weight = prior_weight
        self.cap = cap
        self.outage_samples = outage_samples
        self.fleet = fleet
        self._n = 0.0
        self._top: list[float] = []
        self._before = 0.0
        self._before_top: list[float] = []
        self._run = 0.0
        self._run_samples = 0

    @property
    def samples(self) -> float:
        """Samples in the remembered history."""
        return self._before + self._n

    def score(self, raw: float) -> float:
        """The calibrated score; never higher than the raw one."""
        own = self._score(raw)
        return own if self.fleet is None else min(own, self.fleet.score(raw))

    def _score(self, raw: float) -> float:
        if raw < 1.0:
            return raw
        base, edge, slope = self.tail()
        return min(raw, base if raw <= edge else base + (raw - edge) / slope)

    def tail(self) -> tuple[float, float, float]:
        """The score of a raw score up to the edge of the tail, that edge, and how much further
        out a raw score must be to score one more. All raw scores stand while there is no history.
        """
        n = self._before + self._n
        if n < 1:
            return _NO_TAIL
        top = sorted(self._top + self._before_top)[-self.peaks :]
        k = max(1, min(self.peaks, int(n / 10)))
        edge = top[-k] if len(top) >= k else 0.0
        excess = 0.0
        for peak in top[-k:]:
            excess += peak
        excess += self.prior_weight * self.prior_excess - k * edge
        return log10((n + 2) / (k + 1)), edge, excess / (k + self.prior_weight) * LN10

    def learn(self, raw: float, samples: float = 1.0) -> None:
        """Takes one raw score in; `samples` counts the quiet samples it stands for."""
        if raw >= RAISED:
            self._run = max(self._run, min(raw, self.cap))
            self._run_samples += 1
            return
        if self._run_samples:
            outage = self._run >= 3.0 and 0 < self.outage_samples <= self._run_samples
            if not outage:
                self.take(self._run, self._run_samples)
            self._run, self._run_samples = 0.0, 0
        self.take(raw, samples)

    def take(self, peak: float, samples: float) -> None:
        """Takes in one peak, and how many samples it is the highest of."""
        if self.fleet is not None:
            self.fleet.take(peak, samples)
        self._n += samples
        if peak > 0.0:
            self._keep(peak)
        self._grow_old()

    def _keep(self, peak: float) -> None:
        top = self._top
        if len(top) < self.peaks or peak > top[0]:
            if len(top) >= self.peaks:
                del top[0]
            insort(top, peak)

    def _grow_old(self) -> None:
        """Begins with the newer half of the history when it is full."""
        if self._n >= self.horizon:
            self._before, self._before_top = self._n, self._top
            self._n, self._top = 0.0, []

    def dump(self) -> State:
        """The history."""
        return [self._n, self._top, self._before, self._before_top, self._run, self._run_samples]

    def load(self, state: State) -> None:
        """Takes the history from `dump`."""
        self._n, self._top, self._before, self._before_top, self._run, self._run_samples = state
        self._top, self._before_top = list(self._top), list(self._before_top)


class FleetCalibrator(TailCalibrator):
    """The common history of many series, in which all of a moment's samples count at once.

    What it takes waits for `settle`, so that what a series is held to does not depend on which
    others have come before it in the same window. Parameters as of `TailCalibrator`.
    """

    __slots__ = ("_tail", "_waiting", "_waiting_samples")

    def __init__(
        self, *, peaks: int = 64, horizon: int = 100_000, prior_excess: float = 0.6, cap: float = 60
    ) -> None:
        super().__init__(peaks=peaks, horizon=horizon, prior_excess=prior_excess, cap=cap)
        self._waiting: list[float] = []
        self._waiting_samples = 0.0
        self._tail: tuple[float, float, float] | None = None

    def tail(self) -> tuple[float, float, float]:
        if self._tail is None:
            self._tail = super().tail()
        return self._tail

    def take(self, peak: float, samples: float) -> None:
        self._waiting_samples += samples
        if peak > 0.0:
            self._waiting.append(peak)

    def take_all(self, peaks: Iterable[float], samples: float) -> None:
        """Takes in peaks, and how many samples they and the quiet ones among them stand for."""
        self._waiting_samples += samples
        self._waiting.extend(peaks)

    def settle(self) -> None:
        """Learns what it has taken since the last time."""
        if not self._waiting_samples:
            return
        self._n += self._waiting_samples
        for peak in self._waiting:
            self._keep(peak)
        self._waiting, self._waiting_samples, self._tail = [], 0.0, None
        self._grow_old()

    def load(self, state: State) -> None:
        super().load(state)
        self._waiting, self._waiting_samples, self._tail = [], 0.0, None
