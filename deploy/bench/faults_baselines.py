"""What others would say of the same recording: two plain detection rules to stand beside ours.

Each looks at every series that ingest gives, one value a window, and what it reports goes through
the same incident stage and the same scoring as the product's own anomalies.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from math import sqrt
from typing import Protocol

from deploy.bench.faults_values import Measured, values
from schemas.anomalies import Anomaly, AnomalyBatch, Call
from schemas.configuration import Configuration
from schemas.incidents import IncidentEvent
from schemas.observations import Observation, ObservationBatch
from schemas.times import DAY_MS
from streams.incidents import IncidentStage
from streams.merge import merge

HOUR_MS = 3_600_000
LEAST_SAMPLES = 20
"""Samples of a series before a rule may speak, as many as ours waits for."""


class Value(Protocol):
    """A rule's memory of one series."""

    def judge(self, end_ms: int, value: float) -> tuple[float, float] | None:
        """Expected value and deviations from it if the rule fires; learns the value either way."""


class Span:
    """Mean and deviation over the values of the last `span_ms`, and of the last `least` values."""

    __slots__ = ("_square", "_sum", "_values", "least", "span_ms")

    def __init__(self, span_ms: int, least: int = 1) -> None:
        self.span_ms, self.least = span_ms, least
        self._values: deque[tuple[int, float]] = deque()
        self._sum = self._square = 0.0

    def __len__(self) -> int:
        return len(self._values)

    def add(self, end_ms: int, value: float) -> None:
        """Takes a value in, and drops those that have become too old."""
        self._values.append((end_ms, value))
        self._sum += value
        self._square += value * value
        while self._is_old(end_ms):
            _, old = self._values.popleft()
            self._sum -= old
            self._square -= old * old

    def _is_old(self, end_ms: int) -> bool:
        return len(self) > self.least and self._values[0][0] <= end_ms - self.span_ms

    @property
    def mean(self) -> float:
        """Mean; 0 of nothing."""
        return self._sum / len(self._values) if self._values else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of the population; 0 of nothing."""
        if not self._values:
            return 0.0
        return sqrt(max(self._square / len(self._values) - self.mean**2, 0.0))


class ThreeSigma:
    """Further than three standard deviations from the mean of the last hour.

    Shewhart's control chart (1931) as alerting rules write it:
    `abs(x - avg_over_time(x[1h])) > 3 * stddev_over_time(x[1h])`. Of series that report rarely the
    last samples are taken instead of the last hour.
    """

    __slots__ = ("_hour",)

    def __init__(self) -> None:
        self._hour = Span(HOUR_MS, LEAST_SAMPLES)

    def judge(self, end_ms: int, value: float) -> tuple[float, float] | None:
        mean, deviation, enough = self._hour.mean, self._hour.deviation, len(self._hour)
        self._hour.add(end_ms, value)
        if enough < LEAST_SAMPLES:
            return None
        away = abs(value - mean) / max(deviation, 1e-9 * max(abs(mean), 1e-9))
        return (mean, away) if away > 3 else None


class SeasonalBands:
    """Outside both a short-term band and the band of the same hour on the days before.

    The two bands of Grafana's `promql-anomaly-detection` rules (2024): the last hour's mean, and
    the mean of that hour of the days before, each with three standard deviations of the last 26
    hours; both must be left for `HOLD_MS`. Without a day of history the short band is all there is.
    """

    HOLD_MS = 60_000

    __slots__ = ("_days", "_hour", "_long", "_since_ms")

    def __init__(self) -> None:
        self._hour = Span(HOUR_MS)
        self._long = Span(26 * HOUR_MS)
        self._days: deque[tuple[int, float]] = deque()
        self._since_ms = 0

    def judge(self, end_ms: int, value: float) -> tuple[float, float] | None:
        enough = len(self._long) >= LEAST_SAMPLES
        middles = [self._hour.mean, *self._seasonal(end_ms)]
        scale = max(self._long.deviation, 1e-9 * max(abs(middles[0]), 1e-9))
        near = min(middles, key=lambda middle: abs(value - middle))
        away = abs(value - near) / scale
        self._learn(end_ms, value)
        if not enough or away <= 3:
            self._since_ms = 0
            return None
        self._since_ms = self._since_ms or end_ms
        return (near, away) if end_ms - self._since_ms >= self.HOLD_MS else None

    def _seasonal(self, end_ms: int) -> Iterator[float]:
        """The hour's mean a day ago and earlier, half an hour further on."""
        wanted = (end_ms + HOUR_MS // 2) % DAY_MS
        for then_ms, mean in self._days:
            apart = abs(then_ms % DAY_MS - wanted)
            if end_ms - then_ms > DAY_MS // 2 and min(apart, DAY_MS - apart) <= HOUR_MS // 2:
                yield mean

    def _learn(self, end_ms: int, value: float) -> None:
        self._hour.add(end_ms, value)
        self._long.add(end_ms, value)
        if not self._days or end_ms - self._days[-1][0] >= HOUR_MS:
            self._days.append((end_ms, self._hour.mean))
        while self._days[0][0] < end_ms - 8 * DAY_MS:
            self._days.popleft()


RULES: dict[str, type[Value]] = {"three_sigma": ThreeSigma, "seasonal_bands": SeasonalBands}


class Baseline:
    """A rule over all series of one recording, with an incident stage of its own."""

    def __init__(self, rule: type[Value], configuration: Configuration) -> None:
        self._rule = rule
        self._series: dict[str, Value] = {}
        self._since: dict[str, tuple[int, int]] = {}
        self._calls: set[tuple[str, str]] = set()
        self._window_ms = round(configuration.windows.window_seconds * 1000)
        self._stage = IncidentStage(
            configuration.environment,
            ["baseline"],
            configuration.windows,
            configuration.incidents,
            configuration.catalogue,
        )

    def take(self, batches: Sequence[ObservationBatch]) -> list[IncidentEvent]:
        """Judges what ingest gave, window by window; returns what incidents came of it."""
        said = []
        for end_ms, together in groupby(batches, key=lambda batch: batch.window_end_ms):
            observations = merge([o for batch in together for o in batch.observations])
            said.append(
                AnomalyBatch(
                    source="baseline",
                    window_end_ms=end_ms,
                    anomalies=tuple(self._judge(end_ms, observations)),
                    calls=self._new_calls(observations),
                )
            )
        return self._stage.process(said)

    def _judge(self, end_ms: int, observations: Sequence[Observation]) -> Iterator[Anomaly]:
        for value in values(observations):
            series = self._series.get(value.name)
            if series is None:
                series = self._series[value.name] = self._rule()
            found = series.judge(end_ms, value.value)
            if found is not None:
                yield self._anomaly(end_ms, value, *found)

    def _anomaly(self, end_ms: int, value: Measured, expected: float, away: float) -> Anomaly:
        start_ms = end_ms - self._window_ms
        since_ms, last_ms = self._since.get(value.name, (start_ms, start_ms))
        since_ms = since_ms if start_ms - last_ms <= 60_000 else start_ms
        self._since[value.name] = (since_ms, end_ms)
        return Anomaly(
            series=value.name,
            service=value.service,
            kind=value.kind,
            window_start_ms=start_ms,
            window_end_ms=end_ms,
            since_ms=since_ms,
            score=min(away, 300.0),
            value=value.value,
            expected=expected,
            lower=expected,
            upper=expected,
            reason=f"{away:.1f} deviations from what was expected",
            caller=value.caller,
        )

    def _new_calls(self, observations: Iterable[Observation]) -> tuple[Call, ...]:
        seen = {(o.caller, o.service) for o in observations if o.caller is not None}
        fresh = sorted((a, b) for a, b in seen - self._calls if a is not None)
        self._calls |= seen - {(None, "")}
        return tuple(Call(caller, callee) for caller, callee in fresh)
