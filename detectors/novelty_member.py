"""A series of the bank as a detector like any other."""

from detectors.base import Explanation, Sample, State
from detectors.novelty_bank import NoveltyBank


class NoveltyMember:
    """Says of one series what the bank says of it; the bank scores and learns all at once.

    `score_one` gives what the last `NoveltyBank.score` gave, and `learn_one` and `dump` do nothing:
    whoever holds the bank scores it before, has it learn after, and saves it.

    Parameters
    ----------
    bank
        Where the series is.
    name, least_difference
        As of `NoveltyBank.place`.
    """

    __slots__ = ("_bank", "_last", "place")

    def __init__(self, bank: NoveltyBank, name: str, least_difference: float) -> None:
        self.place = bank.place(name, least_difference)
        self._bank = bank
        self._last: Sample | None = None

    def score_one(self, x: Sample) -> float:
        self._last = x
        return self._bank.scores[self.place]

    def learn_one(self, x: Sample) -> None:
        """Nothing: the bank learns all series at once."""

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        detector = self._bank.detector(self.place)
        detector.score_one(self._last)
        return detector.explain()

    def dump(self) -> State:
        """Nothing: the bank saves all series at once."""
        return []

    def load(self, state: State) -> None:
        """Nothing, as `dump` gives nothing."""
