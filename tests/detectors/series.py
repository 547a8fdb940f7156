"""Made-up observations for the detectors' tests."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import ceil, log

from detectors.base import Detector, Sample
from schemas.observations import Observation, Sketch

START_MS = 1_700_006_400_000  # midnight, a Wednesday
DAY_MS = 86_400_000


def gauge(i: int, value: float, metric: str = "queue_length", step_ms: int = 60_000) -> Sample:
    """The `i`th sample of a gauge, one every `step_ms`."""
    end_ms = START_MS + i * step_ms
    o = Observation(f'{metric}{{service="cart"}}', "cart", "gauge", 1, value, value, value, value)
    return Sample(end_ms - 10_000, end_ms, o)


def requests(i: int, count: int, errors: int | None = None) -> Sample:
    """The `i`th window of 10 s of a service's requests."""
    end_ms = START_MS + i * 10_000
    o = Observation('requests{service="cart"}', "cart", "requests", count, errors=errors)
    return Sample(end_ms - 10_000, end_ms, o)


def durations(i: int, seconds: Sequence[float], metric: str = "duration_seconds") -> Sample:
    """The `i`th window of 10 s of a service's durations."""
    end_ms = START_MS + i * 10_000
    gamma = 1.01 / 0.99
    bins = Counter(ceil(log(s) / log(gamma)) for s in seconds)
    o = Observation(
        f'{metric}{{service="cart"}}',
        "cart",
        "duration",
        len(seconds),
        sum(seconds),
        min(seconds),
        max(seconds),
        sketch=Sketch(0.01, 0, dict(bins)),
    )
    return Sample(end_ms - 10_000, end_ms, o)


def scores(detector: Detector, samples: Iterable[Sample]) -> list[float]:
    """Scores and learns every sample, as the bank does."""
    said = []
    for x in samples:
        said.append(detector.score_one(x))
        detector.learn_one(x)
    return said
