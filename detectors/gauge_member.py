"""A gauge of the bank as detectors like any other."""

from detectors.base import Explanation, Sample, State
from detectors.calibration import FleetCalibrator
from detectors.gauge_bank import GaugeBank
from detectors.novelty import NoveltyDetector
from detectors.seasonal import Parameters, SeasonalDetector


class Gauge:
    """One gauge's place in the bank, or its own detectors while it is alone.

    Where only few gauges report at once, the bank is more work than detectors of their own: so a
    gauge may `leave` it with its state, and `join` it again; what is told is the same. After `save`
    of each gauge the bank saves all at once.

    Parameters
    ----------
    bank
        Where the gauge is.
    name, least_difference, fleet
        As of `GaugeBank.place`.
    parameters
        Of its `SeasonalDetector`; None if it has none, or one that is not in the bank.
    """

    __slots__ = ("bank", "fleet", "last", "novelty", "parameters", "place", "seasonal")

    def __init__(
        self,
        bank: GaugeBank,
        name: str,
        least_difference: float,
        parameters: Parameters | None = None,
        fleet: FleetCalibrator | None = None,
    ) -> None:
        self.place = bank.place(name, least_difference, fleet, seasonal=parameters is not None)
        self.bank = bank
        self.parameters = parameters
        self.fleet = fleet
        self.novelty: NoveltyDetector | None = None
        self.seasonal: SeasonalDetector | None = None
        self.last: Sample | None = None

    def leave(self) -> None:
        """From now on the gauge has detectors of its own."""
        if self.novelty is None:
            self.novelty = self.bank.novelty_of(self.place)
            if self.parameters is not None:
                self.seasonal = self.bank.season_of(self.place, self.new_seasonal())

    def join(self) -> None:
        """From now on the gauge is scored by the bank."""
        if self.novelty is not None:
            self.save()
            self.novelty = self.seasonal = None

    def save(self) -> None:
        """Puts the state of its own detectors, if it has any, where the bank saves it."""
        if self.novelty is not None:
            self.bank.put(self.place, self.novelty, self.seasonal)

    def new_seasonal(self) -> SeasonalDetector:
        """A seasonal detector as this gauge has it, that has learnt nothing."""
        assert self.parameters is not None, "the gauge has a seasonal detector in the bank"
        return SeasonalDetector(**self.parameters._asdict(), fleet=self.fleet)


class NoveltyMember:
    """Says of one gauge what the bank says of it, or what its own novelty detector says.

    In the bank, `score_one` gives what the last `GaugeBank.score` gave, and `learn_one` does
    nothing: whoever holds the bank scores it before and has it learn after. `dump` gives nothing,
    since the bank saves all at once.
    """

    __slots__ = ("gauge",)

    kept_as = "NoveltyMember"

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge

    def score_one(self, x: Sample) -> float:
        gauge = self.gauge
        if gauge.novelty is not None:
            return gauge.novelty.score_one(x)
        gauge.last = x
        return gauge.bank.novelty[gauge.place]

    def learn_one(self, x: Sample) -> None:
        if self.gauge.novelty is not None:
            self.gauge.novelty.learn_one(x)

    def explain(self) -> Explanation:
        gauge = self.gauge
        if gauge.novelty is not None:
            return gauge.novelty.explain()
        assert gauge.last is not None, "score_one comes before explain"
        detector = gauge.bank.novelty_of(gauge.place)
        detector.score_one(gauge.last)
        return detector.explain()

    def dump(self) -> State:
        """Nothing: the bank saves all gauges at once."""
        return []

    def load(self, state: State) -> None:
        """Nothing, as `dump` gives nothing."""


class SeasonalMember:
    """As `NoveltyMember`, of the gauge's seasonal detector."""

    __slots__ = ("gauge",)

    kept_as = SeasonalDetector.__name__

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge

    def score_one(self, x: Sample) -> float:
        gauge = self.gauge
        if gauge.seasonal is not None:
            return gauge.seasonal.score_one(x)
        gauge.last = x
        return gauge.bank.seasonal[gauge.place]

    def learn_one(self, x: Sample) -> None:
        if self.gauge.seasonal is not None:
            self.gauge.seasonal.learn_one(x)

    def explain(self) -> Explanation:
        gauge = self.gauge
        if gauge.seasonal is not None:
            return gauge.seasonal.explain()
        assert gauge.last is not None, "score_one comes before explain"
        detector = gauge.bank.season_of(gauge.place, gauge.new_seasonal())
        detector.score_one(gauge.last)
        return detector.explain()

    def dump(self) -> State:
        """Nothing: the bank saves all gauges at once."""
        return []

    def load(self, state: State) -> None:
        """Takes the state of a `SeasonalDetector` of its own, as earlier releases saved it."""
        if state:
            detector = self.gauge.new_seasonal()
            detector.load(state)
            self.gauge.bank.put(self.gauge.place, None, detector)
