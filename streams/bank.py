"""The detectors of all series, and what they have to say of one sample."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import msgspec

from detectors.base import Detector, Explanation, Sample, State
from detectors.registry import Registry
from schemas.anomalies import Anomaly
from schemas.observations import Observation, ObservationKind
from schemas.units import metric_of

CORROBORATES_FROM = 4.0
"""Scores from here up to the threshold are told too, as corroboration."""


class Series:
    """The detectors of one series, since when each has been anomalous, and its threshold."""

    __slots__ = ("detectors", "kind", "last_ms", "service", "since_ms", "threshold")

    def __init__(
        self,
        service: str,
        kind: ObservationKind,
        detectors: Sequence[Detector],
        threshold: float,
    ) -> None:
        self.service = service
        self.kind = kind
        self.detectors = detectors
        self.since_ms = [0] * len(detectors)
        self.threshold = threshold
        self.last_ms = 0


class Bank:
    """One set of detectors a series, made when the series is first seen.

    Parameters
    ----------
    registry
        Says which detectors a series has and which score counts.
    tiers
        The tier of each service that has one.
    most
        Series watched at once. A new one beyond is not watched, and each of its observations is
        counted in `left_out`, until others have been forgotten: what is known is worth more than
        names that come and go.
    """

    def __init__(
        self, registry: Registry, tiers: dict[str, int], most: int, default_tier: int = 3
    ) -> None:
        self.most = most
        self.left_out = 0
        self._registry = registry
        self._tiers = tiers
        self._default_tier = default_tier
        self._series: dict[str, Series] = {}

    def __len__(self) -> int:
        return len(self._series)

    def admit(self, o: Observation) -> bool:
        """Whether the observation's series is watched, from now on if it is new and has room."""
        if o.series in self._series:
            return True
        if len(self._series) >= self.most:
            self.left_out += 1
            return False
        self._series[o.series] = self._new(o.series, o.kind, o.service)
        return True

    def judge(self, x: Sample) -> list[Anomaly]:
        """Scores and learns one sample of an admitted series; returns what is anomalous.

        What is no number, or of another kind than its series has been, is left out.
        """
        o = x.observation
        series = self._series[o.series]
        if series.kind != o.kind or not isfinite(o.sum):
            return []
        series.last_ms = x.end_ms
        told: list[Anomaly] = []
        for i, detector in enumerate(series.detectors):
            score = detector.score_one(x)
            if score >= CORROBORATES_FROM or score >= series.threshold:
                series.since_ms[i] = series.since_ms[i] or x.start_ms
                told.append(_anomaly(x, detector, score, series, i))
            else:
                series.since_ms[i] = 0
            detector.learn_one(x)
        return told if len(told) < 2 else _distinct(told)

    def threshold(self, series: str, service: str) -> float:
        """The score from which on an anomaly of this series counts."""
        return self._registry.threshold(series, self._tiers.get(service, self._default_tier))

    def _new(self, name: str, kind: ObservationKind, service: str) -> Series:
        detectors = self._registry.detectors(name, kind)
        return Series(service, kind, detectors, self.threshold(name, service))

    def forget(self, before_ms: int) -> None:
        """Drops the series that have not been seen since, and what only they had in common."""
        self._series = {n: s for n, s in self._series.items() if s.last_ms >= before_ms}
        self._registry.keep({metric_of(n) for n, s in self._series.items() if s.kind == "gauge"})

    def dump(self) -> State:
        """What the detectors have learnt, and what they have in common."""
        series: list[Any] = [
            [
                name,
                s.service,
                s.kind,
                s.last_ms,
                s.since_ms,
                [[type(d).__name__, d.dump()] for d in s.detectors],
            ]
            for name, s in self._series.items()
        ]
        return [self._registry.dump(), series]

    def load(self, state: State) -> None:
        """Takes a state from `dump`; series whose detectors are others now start anew."""
        fleets, dumped = state
        self._registry.load(fleets)
        self._series = {}
        for name, service, kind, last_ms, since_ms, learnt in dumped:
            s = self._series[name] = self._new(name, kind, service)
            s.last_ms = last_ms
            if [type(d).__name__ for d in s.detectors] != [n for n, _ in learnt]:
                continue
            s.since_ms = list(since_ms)
            for detector, (_, state_of_one) in zip(s.detectors, learnt, strict=True):
                detector.load(state_of_one)


def anomaly_of(series: str, service: str, x: tuple[int, int], e: Explanation) -> Anomaly:
    """An anomaly of the window `x` as explained, not yet with its score and its run."""
    return Anomaly(
        series=series,
        service=service,
        kind=e.kind,
        window_start_ms=x[0],
        window_end_ms=x[1],
        since_ms=x[0],
        score=0.0,
        value=e.value,
        expected=e.expected,
        lower=e.lower,
        upper=e.upper,
        reason=e.reason,
        opens=False,
        confirmed=e.confirmed,
        forecast=e.forecast,
    )


def _distinct(told: list[Anomaly]) -> list[Anomaly]:
    """One of each kind, the clearest: a resource that is full is told by two detectors."""
    best: dict[str, Anomaly] = {}
    for anomaly in told:
        known = best.get(anomaly.kind)
        if known is None or (anomaly.opens, anomaly.score) > (known.opens, known.score):
            best[anomaly.kind] = anomaly
    return list(best.values())


def _anomaly(x: Sample, detector: Detector, score: float, series: Series, i: int) -> Anomaly:
    o, e = x.observation, detector.explain()
    counted = o.kind == "requests"
    return msgspec.structs.replace(
        anomaly_of(o.series, o.service, (x.start_ms, x.end_ms), e),
        since_ms=e.since_ms or series.since_ms[i],
        score=round(score, 3),
        requests=o.count if counted else 0,
        errors=(o.errors or 0) if counted else 0,
        instance=o.instance,
        operation=o.operation,
        caller=o.caller,
        opens=e.confirmed and score >= series.threshold,
        threshold=series.threshold,
    )
