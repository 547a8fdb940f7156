"""Any of River's anomaly detectors as a detector of ours."""

from importlib import import_module
from inspect import signature
from math import cos, pi, sin
from typing import Any

from river import anomaly, compose, preprocessing
from river.base.anomaly_detector import AnomalyDetector, SupervisedAnomalyDetector

from detectors.base import Explanation, Sample, State, UnknownDetectorError
from detectors.calibration import TailCalibrator
from detectors.units import show, show_in_unit, subject
from schemas.times import DAY_MS
from schemas.units import metric_of

_GENERATION = 512


def river_class(path: str) -> type[Any]:
    """The class at a dotted path. Raises `UnknownDetectorError` if it is no anomaly detector."""
    module, _, name = path.rpartition(".")
    known = sorted(
        n
        for n in anomaly.__all__
        if issubclass(
            getattr(anomaly, n),
            (AnomalyDetector, SupervisedAnomalyDetector),
        )
        and not n.endswith("Filter")
    )
    hint = f"use `default` or one of {', '.join(f'river.anomaly.{n}' for n in known)}"
    if module.partition(".")[0] != "river":
        raise UnknownDetectorError(f"detector {path!r} is not one of River's; {hint}")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UnknownDetectorError(f"there is no detector {path!r}; {hint}") from error
    detectors = (AnomalyDetector, SupervisedAnomalyDetector)
    if not (isinstance(found, type) and issubclass(found, detectors)):
        raise UnknownDetectorError(f"{path!r} is not an anomaly detector of River's; {hint}")
    return found


class RiverDetector:
    """Wraps a River anomaly detector: features from the sample, and its score on our scale.

    Unsupervised detectors see {"value", "count", "minimum", "maximum"}, scaled to 0..1 by what was
    seen; supervised ones predict the value from the time of day. The raw score is put on the scale
    of -log10 p by its own history (`TailCalibrator`), or, with an explicit `threshold` in the
    detector's own score, so that this threshold comes out as `at_threshold`.

    A River model has no portable state, and pickles must not be read from a topic. So the model
    at any time is one that has learnt the last 512 to 1024 samples: a new one is begun every 512
    and takes over when it has seen as many, and a snapshot is those samples.

    Parameters
    ----------
    path, parameters
        The class by its path, `river.anomaly.HalfSpaceTrees`, and its parameters.
    threshold
        In the detector's own score; None to calibrate by history.
    warmup_samples
        Samples before it speaks.

    Raises
    ------
    UnknownDetectorError
        The path or the parameters are wrong.
    """

    def __init__(
        self,
        path: str,
        parameters: dict[str, Any],
        threshold: float | None,
        warmup_samples: int,
        at_threshold: float,
    ) -> None:
        self.path = path
        self.threshold = threshold
        self.warmup_samples = warmup_samples
        self.at_threshold = at_threshold
        self.calibrator = TailCalibrator(prior_weight=2.0, cap=float("inf"))
        self._class = river_class(path)
        self._supervised = issubclass(self._class, SupervisedAnomalyDetector)
        self._parameters = dict(parameters)
        if "seed" in signature(self._class).parameters:
            self._parameters.setdefault("seed", 1)
        self._learnt: list[list[float]] = []
        self._model = self._new()
        self._next = self._new()
        self._n = 0
        self._mean = 0.0
        self._last: Sample | None = None
        self._raw = 0.0
        self._score = 0.0

    def _new(self) -> Any:
        try:
            model = self._class(**self._parameters)
        except (TypeError, ValueError) as error:
            takes = ", ".join(signature(self._class).parameters)
            raise UnknownDetectorError(
                f"detector {self.path!r} with {self._parameters}: {error}; it takes {takes}"
            ) from error
        if self._supervised:
            return model
        return compose.Pipeline(preprocessing.MinMaxScaler(), model)

    @staticmethod
    def _numbers(x: Sample) -> list[float]:
        o = x.observation
        if o.kind in ("requests", "log"):
            return [float(o.count), float(o.count), 0.0, 0.0, float(x.start_ms)]
        return [o.mean, float(o.count), o.min, o.max, float(x.start_ms)]

    def _score_model(self, numbers: list[float]) -> float:
        features, y = self._features(numbers)
        if self._supervised:
            return float(self._model.score_one(features, y))
        return float(self._model.score_one(features))

    def _learn_model(self, model: Any, numbers: list[float]) -> None:
        features, y = self._features(numbers)
        if self._supervised:
            model.learn_one(features, y)
        else:
            model.learn_one(features)

    def _features(self, numbers: list[float]) -> tuple[dict[str, float], float]:
        value, count, low, high, start_ms = numbers
        if self._supervised:
            turn = 2 * pi * (start_ms % DAY_MS) / DAY_MS
            return {"sine": sin(turn), "cosine": cos(turn)}, value
        return {"value": value, "count": count, "minimum": low, "maximum": high}, value

    def score_one(self, x: Sample) -> float:
        self._last = x
        self._raw = self._score = 0.0
        if self._n < self.warmup_samples:
            return 0.0
        self._raw = self._score_model(self._numbers(x))
        if self.threshold is not None:
            self._score = max(0.0, self.at_threshold * self._raw / self.threshold)
        else:
            self._score = self._calibrated(self._raw)
        return self._score

    def _calibrated(self, raw: float) -> float:
        return self.calibrator.score(raw)

    def learn_one(self, x: Sample) -> None:
        numbers = self._numbers(x)
        if self._n >= self.warmup_samples and self.threshold is None:
            self.calibrator.learn(self._raw)
        self._n += 1
        self._mean += max(1.0 / self._n, 0.01) * (numbers[0] - self._mean)
        self._take(numbers)

    def _take(self, numbers: list[float]) -> None:
        self._learnt.append(numbers)
        self._learn_model(self._model, numbers)
        if len(self._learnt) > _GENERATION:
            self._learn_model(self._next, numbers)
        if len(self._learnt) == 2 * _GENERATION:
            self._model, self._next = self._next, self._new()
            del self._learnt[:_GENERATION]

    def explain(self) -> Explanation:
        assert self._last is not None, "score_one comes before explain"
        o = self._last.observation
        value, metric = self._numbers(self._last)[0], metric_of(o.series)
        name = self.path.rpartition(".")[2]
        reason = (
            f"{subject(o.series, o.service, o.instance, o.operation)} is "
            f"{show_in_unit(value, metric)}, usually about {show_in_unit(self._mean, metric)}; "
            f"{name} gives it {show(self._raw)}"
        )
        return Explanation("level", value, self._mean, self._mean, self._mean, reason)

    def dump(self) -> State:
        return [self._learnt, self._n, self._mean, self.calibrator.dump()]

    def load(self, state: State) -> None:
        learnt, n, mean, calibrator = state
        self._model, self._next, self._learnt = self._new(), self._new(), []
        for numbers in learnt:
            self._take(list(numbers))
        self._n, self._mean = n, mean
        self.calibrator.load(calibrator)
