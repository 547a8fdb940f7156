"""The detectors of all series, and what they have to say of a tick's samples."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import msgspec
import numpy as np

from detectors.base import Detector, Explanation, Sample, State
from detectors.gauge_bank import GaugeBank
from detectors.gauge_member import Gauge, NoveltyMember, SeasonalMember
from detectors.novelty import NoveltyDetector
from detectors.registry import Registry
from detectors.seasonal import Parameters, SeasonalDetector
from schemas.anomalies import Anomaly
from schemas.observations import Observation, ObservationKind
from schemas.units import metric_of

CORROBORATES_FROM = 4.0
"""Scores from here up to the threshold are told too, as corroboration."""

_PART_SERIES = 256
"""Gauges a part of their bank. Larger parts serve 100,000 series a third faster, smaller ones
the hundreds that most shards have."""


class Series:
    """The detectors of one series, since when each has been anomalous, and its threshold.

    `gauge` is what of them is in the bank of gauges, if any is, and `apart` are the others with
    their numbers. `least` is the score from which on something is told.
    """

    __slots__ = (
        "apart",
        "detectors",
        "gauge",
        "kind",
        "last_ms",
        "least",
        "service",
        "since_ms",
        "threshold",
    )

    def __init__(
        self,
        service: str,
        kind: ObservationKind,
        detectors: Sequence[Detector],
        threshold: float,
        gauge: Gauge | None,
    ) -> None:
        self.service = service
        self.kind = kind
        self.detectors = detectors
        self.since_ms = [0] * len(detectors)
        self.threshold = threshold
        self.least = min(threshold, CORROBORATES_FROM)
        self.last_ms = 0
        self.gauge = gauge
        self.apart = [
            (i, detector)
            for i, detector in enumerate(detectors)
            if not isinstance(detector, NoveltyMember | SeasonalMember)
        ]


class Bank:
    """One set of detectors a series, made when the series is first seen.

    The default detectors of gauges are one `GaugeBank`: what they say is the same, and takes less
    time.

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
        self._gauges = GaugeBank(_PART_SERIES, parameters=registry.parameters)
        self._parameters: dict[Parameters, Parameters] = {}
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

    def judge(self, samples: Sequence[Sample]) -> list[Anomaly]:
        """Scores and learns the samples of one window, of admitted series and at most one of each;
        returns what is anomalous.

        What is no number, or of another kind than its series has been, is left out.
        """
        known = [(self._series[x.observation.series], x) for x in samples]
        taken = [(s, x) for s, x in known if self._takes(s, x.observation)]
        scores = self._score_gauges(taken)
        told: list[Anomaly] = []
        for series, x in taken:
            gauge = series.gauge
            if gauge is not None and scores[gauge.place] >= series.least:
                told += self._judge_one(series, x, list(enumerate(series.detectors)))
            else:
                told += self._judge_one(series, x, series.apart)
        for series, x in taken:
            for _, detector in series.apart:
                detector.learn_one(x)
        self._gauges.learn()
        self._registry.settle()
        return told

    @staticmethod
    def _takes(series: Series, o: Observation) -> bool:
        return series.kind == o.kind and isfinite(o.sum)

    def _score_gauges(self, taken: Sequence[tuple[Series, Sample]]) -> list[float]:
        """Has the bank score the gauges of a window at once; the highest score of each place."""
        row = {s.gauge.place: x.observation.mean for s, x in taken if s.gauge is not None}
        if not row:
            return []
        values = np.full(self._gauges.places, np.nan)
        values[list(row)] = list(row.values())
        x = taken[0][1]
        scores: list[float] = self._gauges.score(x.start_ms, x.end_ms, values).tolist()
        return scores

    @staticmethod
    def _judge_one(
        series: Series, x: Sample, asked: Sequence[tuple[int, Detector]]
    ) -> list[Anomaly]:
        """What some of the series' detectors have to say; the others have nothing."""
        series.last_ms = x.end_ms
        told: list[Anomaly] = []
        since_ms, series.since_ms = series.since_ms, [0] * len(series.detectors)
        for i, detector in asked:
            score = detector.score_one(x)
            if score >= series.least:
                series.since_ms[i] = since_ms[i] or x.start_ms
                told.append(_anomaly(x, detector, score, series, i))
        return told if len(told) < 2 else _distinct(told)

    def threshold(self, series: str, service: str) -> float:
        """The score from which on an anomaly of this series counts."""
        return self._registry.threshold(series, self._tiers.get(service, self._default_tier))

    def _new(self, name: str, kind: ObservationKind, service: str) -> Series:
        detectors = self._registry.detectors(name, kind)
        gauge = self._gauge(name, detectors)
        if gauge is not None:
            detectors = [_member(d, gauge) for d in detectors]
        return Series(service, kind, detectors, self.threshold(name, service), gauge)

    def _gauge(self, name: str, detectors: Sequence[Detector]) -> Gauge | None:
        """The series' place in the bank of gauges, if it has a novelty detector."""
        novelty = next((d for d in detectors if isinstance(d, NoveltyDetector)), None)
        if novelty is None:
            return None
        least = novelty.least_difference
        seasonal = next((d for d in detectors if isinstance(d, SeasonalDetector)), None)
        if seasonal is None or not seasonal.parameters.learns_as(self._gauges.parameters):
            return Gauge(self._gauges, name, least)
        parameters = self._parameters.setdefault(seasonal.parameters, seasonal.parameters)
        return Gauge(self._gauges, name, least, parameters, seasonal.calibrator.fleet)

    def forget(self, before_ms: int) -> None:
        """Drops the series that have not been seen since, and what only they had in common."""
        for name in [n for n, s in self._series.items() if s.last_ms < before_ms]:
            if self._series.pop(name).gauge is not None:
                self._gauges.forget(name)
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
                [[_kept_as(d), d.dump()] for d in s.detectors],
            ]
            for name, s in self._series.items()
        ]
        return [self._registry.dump(), series, list(self._gauges.dump(every=True).values())]

    def load(self, state: State) -> None:
        """Takes a state from `dump`; series whose detectors are others now start anew."""
        fleets, dumped, parts = state
        self._registry.load(fleets)
        self._gauges.load(dict(enumerate(parts)))
        self._series = {}
        for name, service, kind, last_ms, since_ms, learnt in dumped:
            s = self._series[name] = self._new(name, kind, service)
            s.last_ms = last_ms
            had = [n for n, _ in learnt]
            if [_kept_as(d) for d in s.detectors] != had:
                self._begin_anew(name, s, had)
                continue
            s.since_ms = list(since_ms)
            for detector, (_, state_of_one) in zip(s.detectors, learnt, strict=True):
                if isinstance(detector, SeasonalDetector) and not state_of_one and s.gauge:
                    # It was in the bank of gauges until a rule gave it parameters of its own.
                    self._gauges.season_of(s.gauge.place, detector)
                else:
                    detector.load(state_of_one)

    def _begin_anew(self, name: str, series: Series, had: Sequence[str]) -> None:
        """Drops what the bank of gauges knew of a series whose detectors are others now."""
        if NoveltyMember.kept_as not in had:
            return
        if series.gauge is None:
            self._gauges.forget(name)
        else:
            self._gauges.clear(name)


def _member(detector: Detector, gauge: Gauge) -> Detector:
    """The detector, or what stands for it in the bank of gauges."""
    if isinstance(detector, NoveltyDetector):
        return NoveltyMember(gauge)
    if isinstance(detector, SeasonalDetector) and gauge.parameters is not None:
        return SeasonalMember(gauge)
    return detector


def _kept_as(detector: Detector) -> str:
    """By which name a detector is saved: the same in the bank of gauges and outside."""
    if isinstance(detector, NoveltyMember | SeasonalMember):
        return detector.kept_as
    return type(detector).__name__


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
