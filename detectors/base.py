"""The contract of a detector, after River's: score a sample, then learn it, and explain."""

from typing import Any, NamedTuple, Protocol

from schemas.anomalies import AnomalyKind, Forecast
from schemas.observations import Observation


class UnknownDetectorError(ValueError):
    """The configuration names a detector that there is not, or parameters that it does not take."""


class Sample(NamedTuple):
    """One observation of a series with the window that it belongs to, Unix milliseconds."""

    start_ms: int
    end_ms: int
    observation: Observation


class Explanation(NamedTuple):
    """What the last scored sample was held against, in the series' own unit.

    `confirmed` says that the evidence is more than one noisy sample; only then may it open an
    incident. `reason` is a sentence for people. A `forecast` goes with the kind of that name;
    `since_ms` says when it began, where that is not when the detector began to speak.
    """

    kind: AnomalyKind
    value: float
    expected: float
    lower: float
    upper: float
    reason: str
    confirmed: bool = True
    forecast: Forecast | None = None
    since_ms: int | None = None


State = list[Any]
"""What `dump` gives: lists, dicts, numbers and strings that msgpack can hold."""


class Detector(Protocol):
    """Judges one aspect of one series, strictly causally and deterministically.

    `score_one` is called first and changes nothing that is learnt; then `explain`, if the score
    is worth it; then `learn_one` with the same sample. A detector that is still learning scores 0.
    The score is -log10 of the probability that a healthy series looks like this or worse, so one
    threshold means the same on every series.
    """

    def score_one(self, x: Sample) -> float:
        """-log10 of the calibrated tail probability; 0 while learning and within bounds."""

    def learn_one(self, x: Sample) -> None:
        """Takes the sample into the state, the less the more anomalous it was."""

    def explain(self) -> Explanation:
        """What the last scored sample was held against."""

    def dump(self) -> State:
        """The whole learnt state."""

    def load(self, state: State) -> None:
        """Takes a state from `dump` of a detector with the same parameters."""
