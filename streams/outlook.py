"""What to expect of an incident, learned from those that are closed: its category, how hard it is
to recover from, and how long it will last. Pure.

The models are River's: a Bernoulli naive Bayes for the two classes, and Bayesian linear regression
(Bishop, Pattern Recognition and Machine Learning, 3.3) on the logarithm of the duration. How sure
they are is not their own opinion: once an incident is closed, what was said of it when it was
opened is judged (progressive validation), and the shares of right answers and the errors of those
predictions are what is said. With fewer closed incidents than `least` nothing is. Where the models
predicted the last incidents no better than the plainest rule (the most frequent class, the median
duration), that rule speaks, and `Outlook.plain` says so.

The state is the closed incidents themselves, from which the models are made anew.
"""

from bisect import insort
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from math import ceil, exp, log, log1p
from statistics import median

import msgspec

from schemas.configuration import Service
from schemas.incidents import Incident, Signal
from schemas.outlook import PARTS, Category, Complexity, Guess, Outlook, Part

MOST = 500
"""Closed incidents remembered, as systems change; past it the oldest `FORGET` go at once, since
the models are made anew then: they know nothing that is not remembered."""

FORGET = 100

RECENT = 100
"""Predictions that the stated certainty comes from."""

COVERAGE = 0.8
"""Share of the durations that shall lie in the stated interval."""

_CATEGORY: dict[str, Category] = {
    "saturation": "capacity",
    "forecast": "capacity",
    "network": "network",
    "new_error_template": "software",
    "error_log_rate": "software",
    "code_path": "software",
    "report": "other",
    "error_ratio": "software",
    "latency": "performance",
    "traffic": "demand",
    "silence": "availability",
    "level": "other",
    "novelty": "other",
}
_HARD_MS = 7_200_000
_SIMPLE_MS = 1_800_000
_MANY_SERVICES = 5


class Example(msgspec.Struct, frozen=True):
    """A closed incident: what was known of it when it was opened, and what came of it.

    `guess` is what was expected of it then; None if nothing was.
    """

    features: dict[str, float]
    category: Category
    complexity: Complexity
    lasted_ms: int
    guess: Outlook | None = None


class Validation(msgspec.Struct, frozen=True):
    """How good the predictions of the last `examples` closed incidents were.

    `category_right` and `complexity_right` are shares; `off_by` is the factor by which the
    duration was missed at the median, and `within` the share inside the stated interval. All are
    None before anything was predicted.
    """

    examples: int
    category_right: float | None
    complexity_right: float | None
    off_by: float | None
    within: float | None


def category_of(signals: Iterable[Signal], cause: str | None) -> Category:
    """What kind of trouble it is: after the strongest signal of its likely cause."""
    found = sorted(
        signals, key=lambda s: (s.service != cause, _CATEGORY[s.kind] == "other", -s.score)
    )
    return _CATEGORY[found[0].kind] if found else "other"


def complexity_of(incident: Incident) -> Complexity:
    """How hard the recovery was, from how it went: who had to see to it, how long, how far."""
    lasted_ms = lasted(incident)
    if incident.reopened or lasted_ms > _HARD_MS or len(incident.services) > _MANY_SERVICES:
        return "hard"
    if incident.acknowledged_by is None:
        return "self_healing"
    return "simple" if lasted_ms <= _SIMPLE_MS else "moderate"


def lasted(incident: Incident) -> int:
    """From its first sign to its last, milliseconds."""
    return max(incident.last_anomaly_ms - incident.first_anomaly_ms, 0)


def example_of(incident: Incident, features: dict[str, float]) -> Example:
    """A closed incident as an example; `features` are those of when it was opened."""
    complexity, lasted_ms = complexity_of(incident), lasted(incident)
    return Example(features, incident.category, complexity, lasted_ms, incident.outlook)


def features_of(incident: Incident, catalogue: Mapping[str, Service]) -> dict[str, float]:
    """What is known of an incident early on, as River takes it: names with numbers."""
    cause = incident.suspected_causes[0] if incident.suspected_causes else ""
    known = catalogue.get(cause)
    features = {f"kind={signal.kind}": 1.0 for signal in incident.signals}
    features[f"cause={cause}"] = 1.0
    features[f"tier={known.tier if known else 'unknown'}"] = 1.0
    features[f"severity={incident.severity}"] = 1.0
    features["services"] = log1p(len(incident.services))
    features["always"] = 1.0
    return features


class Lessons:
    """Learns from closed incidents and says what to expect of open ones.

    Parameters
    ----------
    least
        Closed incidents before anything is said.
    """

    def __init__(self, least: int = 20) -> None:
        self.least = least
        self._examples: list[Example] = []
        self._models: _Models | None = None

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def examples(self) -> list[Example]:
        """The closed incidents that are remembered: the whole state."""
        return self._examples

    def learn(self, example: Example) -> None:
        """Takes a closed incident in, and judges what was expected of it."""
        self._examples.append(example)
        if len(self._examples) > MOST:
            del self._examples[:FORGET]
            self._models = None
        elif self._models is not None:
            self._models.learn(example)

    def outlook(self, features: dict[str, float]) -> Outlook | None:
        """What to expect; None while there are fewer than `least` closed incidents."""
        if len(self._examples) < self.least:
            return None
        return self._learned().outlook(features, len(self._examples))

    def validation(self) -> Validation:
        """How good the last predictions were."""
        return self._learned().validation()

    def _learned(self) -> "_Models":
        """The models; made only when they are asked for, as River takes a second to import."""
        if self._models is None:
            self._models = _Models()
            for example in self._examples:
                self._models.learn(example)
        return self._models

    def load(self, examples: Sequence[Example]) -> None:
        """Takes the `examples` of others, and makes the same models of them."""
        self._examples = list(examples)
        self._models = None


class _Models:
    """River's models, and how their predictions fared."""

    def __init__(self) -> None:
        from river.linear_model import BayesianLinearRegression  # noqa: PLC0415
        from river.naive_bayes import BernoulliNB  # noqa: PLC0415
        from river.preprocessing import TargetStandardScaler  # noqa: PLC0415

        self._category = BernoulliNB()
        self._complexity = BernoulliNB()
        self._duration = TargetStandardScaler(BayesianLinearRegression())
        self._categories: Counter[str] = Counter()
        self._complexities: Counter[str] = Counter()
        self._logs: list[float] = []
        self._gains: dict[Part, deque[float]] = {part: deque(maxlen=RECENT) for part in PARTS}
        self._category_right: deque[bool] = deque(maxlen=RECENT)
        self._complexity_right: deque[bool] = deque(maxlen=RECENT)
        self._errors: deque[float] = deque(maxlen=RECENT)
        self._within: deque[bool] = deque(maxlen=RECENT)

    def learn(self, example: Example) -> None:
        """Judges what was expected of the example, if anything was, and then learns it."""
        x, seconds = example.features, max(example.lasted_ms / 1000, 1.0)
        if example.guess is not None:
            self._judge(example, example.guess, seconds)
        if self._logs:
            self._compare(example, log(seconds))
        self._categories[example.category] += 1
        self._complexities[example.complexity] += 1
        insort(self._logs, log(seconds))
        self._category.learn_one(x, example.category)
        self._complexity.learn_one(x, example.complexity)
        self._duration.learn_one(x, log(seconds))

    def _judge(self, example: Example, guess: Outlook, seconds: float) -> None:
        self._category_right.append(guess.category.value == example.category)
        self._complexity_right.append(guess.complexity.value == example.complexity)
        self._errors.append(abs(log(seconds) - log(max(guess.lasts_ms, 1) / 1000)))
        if guess.lasts_from_ms is not None and guess.lasts_to_ms is not None:
            self._within.append(guess.lasts_from_ms <= seconds * 1000 <= guess.lasts_to_ms)

    def _compare(self, example: Example, lasted: float) -> None:
        """Notes by how much the models predict it better than the plainest rules do."""
        (category, plain_category), (complexity, plain_complexity), (lasts, middle) = (
            self._predictions(example.features)
        )
        right = (category == example.category) - (plain_category == example.category)
        self._gains["category"].append(right)
        right = (complexity == example.complexity) - (plain_complexity == example.complexity)
        self._gains["complexity"].append(right)
        self._gains["duration"].append(abs(lasted - middle) - abs(lasted - lasts))

    def _predictions(
        self, x: dict[str, float]
    ) -> tuple[tuple[str, str], tuple[str, str], tuple[float, float]]:
        """Category, complexity and log seconds, each by the models and by the plainest rule."""
        return (
            (self._category.predict_one(x), self._categories.most_common(1)[0][0]),
            (self._complexity.predict_one(x), self._complexities.most_common(1)[0][0]),
            (float(self._duration.predict_one(x)), median(self._logs)),
        )

    def outlook(self, x: dict[str, float], examples: int) -> Outlook:
        category, complexity, lasts = self._predictions(x)
        plain = tuple(part for part in PARTS if sum(self._gains[part]) <= 0)
        expected = lasts["duration" in plain]
        margin = self._margin() if self._errors else None
        return Outlook(
            examples=examples,
            category=self._guess(category["category" in plain], self._category_right),
            complexity=self._guess(complexity["complexity" in plain], self._complexity_right),
            lasts_ms=_ms(expected),
            lasts_from_ms=None if margin is None else _ms(expected - margin),
            lasts_to_ms=None if margin is None else _ms(expected + margin),
            plain=plain,
        )

    @staticmethod
    def _guess(value: str, right: deque[bool]) -> Guess:
        """The guess with the share of right ones among the last, after Laplace's rule."""
        return Guess(value=value, sure=round((sum(right) + 1) / (len(right) + 2), 3))

    def _margin(self) -> float:
        """Error of the log duration that `COVERAGE` of the last predictions did not pass.

        Split conformal prediction (Lei et al. 2018): the ceil((n + 1) × coverage)-th smallest.
        """
        errors = sorted(self._errors)
        return errors[min(ceil((len(errors) + 1) * COVERAGE), len(errors)) - 1]

    def validation(self) -> Validation:
        errors = sorted(self._errors)
        return Validation(
            examples=len(errors),
            category_right=_share(self._category_right),
            complexity_right=_share(self._complexity_right),
            off_by=exp(errors[len(errors) // 2]) if errors else None,
            within=_share(self._within),
        )


def _share(right: deque[bool]) -> float | None:
    return sum(right) / len(right) if right else None


def _ms(log_seconds: float) -> int:
    return round(exp(min(log_seconds, 20.0)) * 1000)
