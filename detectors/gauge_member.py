"""A gauge of the bank as detectors like any other."""

from detectors.base import Explanation, Sample, State
from detectors.calibration import FleetCalibrator
from detectors.gauge_bank import GaugeBank
from detectors.seasonal import Parameters, SeasonalDetector


class Gauge:
    """One gauge's place in the bank.

    Parameters
    ----------
    bank
        Where the gauge is.
    name, least_difference, fleet
        As of `GaugeBank.place`.
    parameters
        Of its `SeasonalDetector`; None if it has none, or one that is not in the bank.
    """

    __slots__ = ("bank", "fleet", "last", "parameters", "place")

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
        self.last: Sample | None = None

    def new_seasonal(self) -> SeasonalDetector:
        """A seasonal detector as this gauge has it, that has learnt nothing."""
        assert self.parameters is not None, "the gauge has a seasonal detector in the bank"
        return SeasonalDetector(**self.parameters._asdict(), fleet=self.fleet)


class NoveltyMember:
    """Says of one gauge what the bank says of it.

    `score_one` gives what the last `GaugeBank.score` gave, and `learn_one` does nothing: whoever
    holds the bank scores it before and has it learn after. `dump` gives nothing, since the bank
    saves all at once.
    """

    __slots__ = ("gauge",)

    kept_as = "NoveltyMember"

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge

    def score_one(self, x: Sample) -> float:
        gauge = self.gauge
        gauge.last = x
        return gauge.bank.novelty[gauge.place]

    def learn_one(self, x: Sample) -> None:
        """Nothing: whoever holds the bank has it learn."""

    def explain(self) -> Explanation:
        gauge = self.gauge
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
        gauge.last = x
        return gauge.bank.seasonal[gauge.place]

    def learn_one(self, x: Sample) -> None:
        """Nothing: whoever holds the bank has it learn."""

    def explain(self) -> Explanation:
        gauge = self.gauge
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
            self.gauge.bank.put(self.gauge.place, detector)
