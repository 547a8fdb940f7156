"""Observations in, anomalies out: every series' detectors, tick by tick, over all sources."""

from collections.abc import Sequence
from math import isfinite

import msgspec

from detectors.base import Detector, Sample
from detectors.error_logs import LogTemplates
from detectors.registry import Registry
from detectors.silence import SilenceWatch
from schemas.anomalies import Anomaly, AnomalyBatch, Call, ServiceTraffic
from schemas.configuration import Catalogue, Detection, Windows
from schemas.observations import Observation, ObservationBatch, ObservationKind
from streams.align import Aligner
from streams.merge import merge

_VERSION = 1
_DEFAULT_TIER = 3
_CORROBORATES_FROM = 4.0
"""Scores from here up to the threshold are told too, as corroboration."""
_FORGET_MS = 14 * 86_400_000
_DAY_MS = 86_400_000


class _Series:
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


class Detect:
    """The detect stage of one shard. Pure; see `streams.stage.Stage`.

    Batches are put in order over all sources, and observations of one series from several sources
    are merged. The grid of windows is then worked through tick by tick: whatever a tick brought is
    scored and learnt, and what should have reported by then and has not is silent. What comes out
    does not depend on how the input was cut into batches.

    Parameters
    ----------
    shard
        Number of the partition of the observations topic.
    sources
        Names of all raw partitions, `topic/partition`, that are waited for.
    windows, detection, catalogue
        The configuration; thresholds follow the services' tiers.

    Raises
    ------
    UnknownDetectorError
        A rule names a detector that there is not.
    """

    def __init__(
        self,
        shard: int,
        sources: Sequence[str],
        windows: Windows,
        detection: Detection,
        catalogue: Catalogue,
    ) -> None:
        self.source = f"shard/{shard}"
        self._window_ms = round(windows.window_seconds * 1000)
        self._registry = Registry(detection)
        self._tiers = {service.name: service.tier for service in catalogue.services}
        self._aligner: Aligner[ObservationBatch] = Aligner(sources)
        self._tick_ms: int | None = None
        self._series: dict[str, _Series] = {}
        self._silence = SilenceWatch(self._window_ms, detection.silence_after_intervals)
        self._logs = LogTemplates(pool_ms=max(60_000, 6 * self._window_ms))
        self._calls: set[tuple[str, str]] = set()

    @property
    def watermark_ms(self) -> int | None:
        """The last window that all sources have passed; None before the first."""
        return self._aligner.watermark_ms

    @property
    def late(self) -> int:
        """Batches dropped because their source was idle and the others had gone on."""
        return self._aligner.late

    @property
    def series(self) -> int:
        """Series that are remembered."""
        return len(self._series)

    def process(self, batch: Sequence[ObservationBatch]) -> list[AnomalyBatch]:
        """Takes batches of any sources in; returns ticks with something to say, and progress."""
        said: list[AnomalyBatch] = []
        released = self._aligner.add(batch)
        for end_ms, batches in released:
            self._pass_silent_ticks(end_ms, said)
            observations = merge([o for b in batches for o in b.observations])
            self._tick(end_ms, observations, said)
        if released and (not said or said[-1].window_end_ms < released[-1][0]):
            said.append(AnomalyBatch(source=self.source, window_end_ms=released[-1][0]))
        return said

    def _pass_silent_ticks(self, end_ms: int, said: list[AnomalyBatch]) -> None:
        """Works through the ticks before `end_ms` at which a silence falls due."""
        while True:
            deadline = self._silence.next_deadline()
            if deadline is None or deadline >= end_ms:
                return
            self._tick(deadline, [], said)

    def _tick(self, end_ms: int, observations: list[Observation], said: list[AnomalyBatch]) -> None:
        if self._tick_ms is not None and end_ms // _DAY_MS != self._tick_ms // _DAY_MS:
            self._forget(end_ms // _DAY_MS * _DAY_MS - _FORGET_MS)
        self._tick_ms = end_ms
        start_ms = end_ms - self._window_ms
        traffic: dict[str, ServiceTraffic] = {}
        anomalies: list[Anomaly] = []
        calls: list[Call] = []
        logs: list[Observation] = []
        for o in observations:
            if o.kind == "log":
                logs.append(o)
                continue
            if o.kind == "requests" and o.operation is None and o.caller is None:
                traffic[o.service] = ServiceTraffic(o.service, o.count, o.errors or 0)
            if o.caller is not None and (o.caller, o.service) not in self._calls:
                self._calls.add((o.caller, o.service))
                calls.append(Call(o.caller, o.service))
            self._judge(Sample(start_ms, end_ms, o), anomalies)
            self._silence.heard(o, end_ms)
        if logs:
            self._judge_logs(start_ms, end_ms, logs, anomalies)
        self._judge_silence(start_ms, end_ms, anomalies)
        if anomalies or calls:
            said.append(self._batch(end_ms, anomalies, calls, traffic))

    def _batch(
        self,
        end_ms: int,
        anomalies: list[Anomaly],
        calls: list[Call],
        traffic: dict[str, ServiceTraffic],
    ) -> AnomalyBatch:
        services = sorted({a.service for a in anomalies})
        counted = [
            msgspec.structs.replace(
                a, requests=traffic[a.service].requests, errors=traffic[a.service].errors
            )
            if a.service in traffic and not a.requests
            else a
            for a in anomalies
        ]
        return AnomalyBatch(
            source=self.source,
            window_end_ms=end_ms,
            anomalies=tuple(sorted(counted, key=lambda a: a.id)),
            calls=tuple(calls),
            traffic=tuple(traffic[service] for service in services if service in traffic),
        )

    def _judge(self, x: Sample, anomalies: list[Anomaly]) -> None:
        o = x.observation
        series = self._series.get(o.series)
        if series is None:
            series = self._series[o.series] = self._new_series(o.series, o.kind, o.service)
        if series.kind != o.kind or not isfinite(o.sum):
            return
        series.last_ms = x.end_ms
        for i, detector in enumerate(series.detectors):
            score = detector.score_one(x)
            if score >= min(_CORROBORATES_FROM, series.threshold):
                series.since_ms[i] = series.since_ms[i] or x.start_ms
                anomalies.append(_anomaly(x, detector, score, series, i))
            else:
                series.since_ms[i] = 0
            detector.learn_one(x)

    def _new_series(self, name: str, kind: ObservationKind, service: str) -> _Series:
        detectors = self._registry.detectors(name, kind)
        return _Series(service, kind, detectors, self._threshold(name, service))

    def _threshold(self, series: str, service: str) -> float:
        return self._registry.threshold(series, self._tiers.get(service, _DEFAULT_TIER))

    def _judge_logs(
        self, start_ms: int, end_ms: int, logs: list[Observation], anomalies: list[Anomaly]
    ) -> None:
        for f in self._logs.process(start_ms, end_ms, logs, _CORROBORATES_FROM):
            if not self._registry.enabled(f.series):
                continue
            threshold = self._threshold(f.series, f.service)
            e = f.explanation
            anomalies.append(
                Anomaly(
                    series=f.series,
                    service=f.service,
                    kind=e.kind,
                    window_start_ms=start_ms,
                    window_end_ms=end_ms,
                    since_ms=f.since_ms,
                    score=round(f.score, 3),
                    value=e.value,
                    expected=e.expected,
                    lower=e.lower,
                    upper=e.upper,
                    reason=e.reason,
                    example=f.example,
                    opens=e.confirmed and f.score >= threshold,
                )
            )

    def _judge_silence(self, start_ms: int, end_ms: int, anomalies: list[Anomaly]) -> None:
        for s in self._silence.due(end_ms):
            if not self._registry.enabled(s.series):
                continue
            threshold = self._threshold(s.series, s.service)
            e = s.explanation
            anomalies.append(
                Anomaly(
                    series=s.series,
                    service=s.service,
                    kind="silence",
                    window_start_ms=start_ms,
                    window_end_ms=end_ms,
                    since_ms=s.since_ms,
                    score=threshold,
                    value=e.value,
                    expected=e.expected,
                    lower=e.lower,
                    upper=e.upper,
                    reason=e.reason,
                    instance=s.instance,
                    opens=e.confirmed,
                )
            )

    def _forget(self, before_ms: int) -> None:
        self._series = {n: s for n, s in self._series.items() if s.last_ms >= before_ms}
        self._silence.forget(before_ms)

    def snapshot(self) -> bytes:
        """The whole state."""
        series = [
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
        return msgspec.msgpack.encode(
            [
                _VERSION,
                self._aligner.snapshot(),
                self._tick_ms,
                self._registry.dump(),
                series,
                self._silence.dump(),
                self._logs.dump(),
                sorted(self._calls),
            ]
        )

    def restore(self, data: bytes) -> None:
        """Takes the state from `snapshot`. Raises `ValueError` if it is of another version.

        A series whose detectors the configuration has changed since starts to learn anew.
        """
        try:
            version, *state = msgspec.msgpack.decode(data)
        except (msgspec.DecodeError, TypeError, ValueError) as error:
            raise ValueError(f"not a snapshot of the detect stage: {error}") from error
        if version != _VERSION:
            raise ValueError(
                f"snapshot of the detect stage has version {version}, expected {_VERSION}; "
                "start from the beginning of the topic or with the release that wrote it"
            )
        aligner, self._tick_ms, fleets, series, silence, logs, calls = state
        self._aligner.restore(aligner, ObservationBatch)
        self._registry.load(fleets)
        self._series = {}
        for name, service, kind, last_ms, since_ms, dumped in series:
            s = self._series[name] = self._new_series(name, kind, service)
            s.last_ms = last_ms
            if [type(d).__name__ for d in s.detectors] != [n for n, _ in dumped]:
                continue
            s.since_ms = list(since_ms)
            for detector, (_, learnt) in zip(s.detectors, dumped, strict=True):
                detector.load(learnt)
        self._silence.load(silence)
        self._logs.load(logs)
        self._calls = {(caller, callee) for caller, callee in calls}


def _anomaly(x: Sample, detector: Detector, score: float, series: _Series, i: int) -> Anomaly:
    o, e = x.observation, detector.explain()
    return Anomaly(
        series=o.series,
        service=o.service,
        kind=e.kind,
        window_start_ms=x.start_ms,
        window_end_ms=x.end_ms,
        since_ms=series.since_ms[i],
        score=round(score, 3),
        value=e.value,
        expected=e.expected,
        lower=e.lower,
        upper=e.upper,
        reason=e.reason,
        requests=o.count if o.kind == "requests" else 0,
        errors=(o.errors or 0) if o.kind == "requests" else 0,
        instance=o.instance,
        operation=o.operation,
        caller=o.caller,
        opens=e.confirmed and score >= series.threshold,
    )
