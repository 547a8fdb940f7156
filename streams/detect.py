"""Observations in, anomalies out: every series' detectors, tick by tick, over all sources."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from detectors.base import Sample
from detectors.error_logs import LogTemplates
from detectors.limits import rules_of
from detectors.loading import load
from detectors.registry import Registry
from detectors.silence import SilenceWatch
from detectors.steps import StepWatch
from schemas.anomalies import Anomaly, AnomalyBatch, Call, ServiceTraffic
from schemas.configuration import Catalogue, Detection, Windows
from schemas.observations import Observation, ObservationBatch
from schemas.times import DAY_MS
from streams.align import Aligner
from streams.bank import CORROBORATES_FROM, Bank, anomaly_of
from streams.detect_versions import DETECT
from streams.graph import MAX_EDGES
from streams.merge import merge
from streams.series import series_id
from streams.shed import DEFAULT_TIER
from streams.steps import steps_of

_FORGET_MS = 14 * DAY_MS
_UNSCORED = ("log", "calls")


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
        The configuration; thresholds follow the services' tiers. A shard watches
        `windows.max_series` series, and as many templates of services in logs, at once; what has
        not been seen for 14 days of event time is forgotten.

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
        load()
        self.source = f"shard/{shard}"
        self._window_ms = round(windows.window_seconds * 1000)
        self._registry = Registry(detection, rules_of(detection, catalogue))
        self._tiers = {service.name: service.tier for service in catalogue.services}
        self._bank = Bank(self._registry, self._tiers, windows.max_series)
        self._aligner: Aligner[ObservationBatch] = Aligner(sources)
        self._silence = SilenceWatch(self._window_ms, detection.silence_after_intervals)
        self._pool_ms = max(180_000, 6 * self._window_ms)
        self._logs = LogTemplates(pool_ms=self._pool_ms, most=windows.max_series)
        self._steps = StepWatch()
        self._calls: set[tuple[str, str]] = set()
        self._calls_left_out = 0
        self._tick_ms: int | None = None
        self._shed: tuple[int, int] | None = None

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
        return len(self._bank)

    @property
    def left_out(self) -> dict[str, int]:
        """Observations not looked at since this stage was made, by what there was too much of."""
        return {
            "unwatched_series": self._bank.left_out,
            "unwatched_logs": self._logs.left_out,
            "unwatched_steps": self._steps.left_out,
            "calls": self._calls_left_out,
        }

    def process(self, batch: Sequence[ObservationBatch]) -> list[AnomalyBatch]:
        """Takes batches of any sources in; returns ticks with something to say, and progress."""
        said: list[AnomalyBatch] = []
        released = self._aligner.add(batch)
        for end_ms, batches in released:
            self._note_shed(end_ms, batches)
            self._pass_silent_ticks(end_ms, said)
            observations = merge([o for b in batches for o in b.observations])
            self._tick(end_ms, self._whole(end_ms, observations), said)
        if released and (not said or said[-1].window_end_ms < released[-1][0]):
            said.append(AnomalyBatch(source=self.source, window_end_ms=released[-1][0]))
        return said

    def _note_shed(self, end_ms: int, batches: Sequence[ObservationBatch]) -> None:
        """Takes note of what an overloaded worker has left out of a window."""
        found = [batch.shed_tier for batch in batches if batch.shed_tier is not None]
        if found:
            self._shed = (min(found), end_ms)
            self._silence.excuse(self._is_shed, end_ms)

    def _is_shed(self, service: str) -> bool:
        """Whether the service is less critical than what was read of the last such window."""
        tier = self._tiers.get(service, DEFAULT_TIER)
        return self._shed is not None and tier > self._shed[0]

    def _whole(self, end_ms: int, observations: list[Observation]) -> list[Observation]:
        """Without those of services of which a part may have been left out."""
        if self._shed is None or self._shed[1] < end_ms:
            return observations
        return [o for o in observations if not self._is_shed(o.service)]

    def _pools(self, end_ms: int, service: str) -> bool:
        """Whether what was left out is still in what is counted over several windows."""
        if self._shed is None or end_ms - self._shed[1] > self._pool_ms:
            return False
        return self._is_shed(service)

    def _pass_silent_ticks(self, end_ms: int, said: list[AnomalyBatch]) -> None:
        """Works through the ticks before `end_ms` at which a silence may fall due."""
        while True:
            deadline = self._silence.next_deadline()
            if deadline is None or deadline >= end_ms:
                return
            self._tick(deadline, [], said)

    def _tick(self, end_ms: int, observations: list[Observation], said: list[AnomalyBatch]) -> None:
        self._forget_daily(end_ms)
        start_ms = end_ms - self._window_ms
        watched = [o for o in observations if o.kind not in _UNSCORED and self._bank.admit(o)]
        anomalies = self._bank.judge([Sample(start_ms, end_ms, o) for o in watched])
        for o in watched:
            self._silence.heard(o, end_ms)
        anomalies += self._judge_logs(end_ms, [o for o in observations if o.kind == "log"])
        anomalies += self._judge_steps(end_ms, observations)
        anomalies += self._judge_silence(end_ms)
        calls = self._new_calls(observations)
        if anomalies or calls:
            said.append(self._batch(end_ms, anomalies, calls, observations))

    def _judge_logs(self, end_ms: int, logs: list[Observation]) -> list[Anomaly]:
        window = (end_ms - self._window_ms, end_ms)
        return [
            replace(
                anomaly_of(f.series, f.service, window, f.explanation),
                since_ms=f.since_ms,
                score=round(f.score, 3),
                example=f.example,
                opens=f.explanation.confirmed
                and f.score >= self._bank.threshold(f.series, f.service),
                threshold=self._bank.threshold(f.series, f.service),
            )
            for f in self._logs.process(*window, logs, CORROBORATES_FROM)
            if self._registry.enabled(f.series) and not self._pools(end_ms, f.service)
        ]

    def _judge_steps(self, end_ms: int, observations: list[Observation]) -> list[Anomaly]:
        window = (end_ms - self._window_ms, end_ms)
        found = self._steps.process(*window, steps_of(observations), CORROBORATES_FROM)
        return [
            replace(
                anomaly_of(series, f.service, window, f.explanation),
                since_ms=f.since_ms,
                score=round(f.score, 3),
                example=f.step,
                opens=f.explanation.confirmed
                and f.score >= self._bank.threshold(series, f.service),
                threshold=self._bank.threshold(series, f.service),
            )
            for f in found
            if self._registry.enabled(series := series_id("steps", {"service": f.service}))
            and not self._pools(end_ms, f.service)
        ]

    def _judge_silence(self, end_ms: int) -> list[Anomaly]:
        window = (end_ms - self._window_ms, end_ms)
        return [
            replace(
                anomaly_of(s.series, s.service, window, s.explanation),
                since_ms=s.since_ms,
                score=self._bank.threshold(s.series, s.service),
                instance=s.instance,
                opens=s.explanation.confirmed,
            )
            for s in self._silence.due(end_ms)
            if self._registry.enabled(s.series)
        ]

    def _new_calls(self, observations: list[Observation]) -> tuple[Call, ...]:
        found = []
        for o in observations:
            if o.caller is None or (o.caller, o.service) in self._calls:
                continue
            if len(self._calls) >= MAX_EDGES:
                # The graph of services learns no more edges than that.
                self._calls_left_out += 1
            else:
                self._calls.add((o.caller, o.service))
                found.append(Call(o.caller, o.service))
        return tuple(found)

    def _batch(
        self,
        end_ms: int,
        anomalies: list[Anomaly],
        calls: tuple[Call, ...],
        observations: list[Observation],
    ) -> AnomalyBatch:
        """The batch of a tick, its anomalies with their services' requests and how often their
        series report."""
        traffic = {
            o.service: ServiceTraffic(o.service, o.count, o.errors or 0)
            for o in observations
            if o.kind == "requests" and o.operation is None and o.caller is None
        }
        counted = [
            replace(a, requests=t.requests, errors=t.errors)
            if not a.requests and (t := traffic.get(a.service)) is not None
            else a
            for a in (self._with_interval(anomaly) for anomaly in anomalies)
        ]
        services = sorted({a.service for a in anomalies})
        return AnomalyBatch(
            source=self.source,
            window_end_ms=end_ms,
            anomalies=tuple(sorted(counted, key=lambda a: a.id)),
            calls=calls,
            traffic=tuple(traffic[service] for service in services if service in traffic),
        )

    def _with_interval(self, anomaly: Anomaly) -> Anomaly:
        every_ms = self._silence.interval_ms(anomaly.series)
        return replace(anomaly, every_ms=every_ms) if every_ms else anomaly

    def _forget_daily(self, end_ms: int) -> None:
        """At the first tick of a day drops what has not been seen for a fortnight."""
        day = end_ms // DAY_MS
        if self._tick_ms is not None and day != self._tick_ms // DAY_MS:
            self._bank.forget(day * DAY_MS - _FORGET_MS)
            self._silence.forget(day * DAY_MS - _FORGET_MS)
            self._steps.forget(day * DAY_MS - _FORGET_MS)
            self._logs.forget(day * DAY_MS - _FORGET_MS)
        self._tick_ms = end_ms

    def snapshot(self) -> bytes:
        """The whole state."""
        return msgspec.msgpack.encode(
            [
                DETECT.version,
                self._aligner.snapshot(),
                self._tick_ms,
                self._bank.dump(),
                self._silence.dump(),
                self._logs.dump(),
                self._steps.dump(),
                sorted(self._calls),
                self._shed,
            ]
        )

    def restore(self, data: bytes) -> None:
        """Takes the state from `snapshot` of this release or one before it.

        Raises `UnknownVersionError`, and `ValueError` if it is none. A series whose detectors the
        configuration has changed since starts to learn anew.
        """
        _, *state = msgspec.msgpack.decode(DETECT.lift(data))
        aligner, self._tick_ms, bank, silence, logs, steps, calls, shed = state
        self._aligner.restore(aligner, ObservationBatch)
        self._bank.load(bank)
        self._silence.load(silence)
        self._logs.load(logs)
        self._steps.load(steps)
        self._calls = {(caller, callee) for caller, callee in calls}
        self._shed = None if shed is None else (shed[0], shed[1])
