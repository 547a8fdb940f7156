"""A series of the bank as a detector like any other."""

from detectors.base import Explanation, Sample, State
from detectors.novelty import NoveltyDetector
from detectors.novelty_bank import NoveltyBank


class NoveltyMember:
    """Says of one series what the bank says of it, or what its own detector says while it is alone.

    In the bank, `score_one` gives what the last `NoveltyBank.score` gave, and `learn_one` does
    nothing: whoever holds the bank scores it before and has it learn after. Where only few series
    report at once, that is more work than a detector a series: so a member may `leave` the bank
    with its state, and `join` it again; what is told is the same. `dump` gives nothing: after
    `save` of each member the bank saves all at once.

    Parameters
    ----------
    bank
        Where the series is.
    name, least_difference
        As of `NoveltyBank.place`.
    """

    __slots__ = ("_alone", "_bank", "_last", "place")

    def __init__(self, bank: NoveltyBank, name: str, least_difference: float) -> None:
        self.place = bank.place(name, least_difference)
        self._bank = bank
        self._alone: NoveltyDetector | None = None
        self._last: Sample | None = None

    def leave(self) -> None:
        """From now on the series has a detector of its own."""
        if self._alone is None:
            self._alone = self._bank.detector(self.place)

    def join(self) -> None:
        """From now on the series is scored by the bank."""
        self.save()
        self._alone = None

    def save(self) -> None:
        """Puts the state of its own detector, if it has one, where the bank saves it."""
        if self._alone is not None:
            self._bank.put(self.place, self._alone)

    def score_one(self, x: Sample) -> float:
        if self._alone is not None:
            return self._alone.score_one(x)
        self._last = x
        return self._bank.scores[self.place]

    def learn_one(self, x: Sample) -> None:
        if self._alone is not None:
            self._alone.learn_one(x)

    def explain(self) -> Explanation:
        if self._alone is not None:
            return self._alone.explain()
        assert self._last is not None, "score_one comes before explain"
        detector = self._bank.detector(self.place)
        detector.score_one(self._last)
        return detector.explain()

    def dump(self) -> State:
        """Nothing: the bank saves all series at once."""
        return []

    def load(self, state: State) -> None:
        """Nothing, as `dump` gives nothing."""
