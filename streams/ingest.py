"""The ingest stage: raw records of one partition in, closed windows and bad records out. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import length_hint

import msgspec

from schemas.configuration import Source, Windows
from schemas.events import DeadLetter
from schemas.observations import Observation, ObservationBatch
from streams.decode import UNDECODABLE, check_size, decoder, explain
from streams.fold import Fold
from streams.intake import Intake
from streams.kinds import is_heartbeat, missing, placing
from streams.mapping import is_wire_format
from streams.raw import Raw, SoundRaw
from streams.reject import Rejected, dead_letter
from streams.run import Run
from streams.series import shard_of
from streams.timely import checked, surely_ms
from streams.versions import Ladder
from streams.vocabulary import Vocabulary
from streams.windows import SeriesNames, Window

NEVER_MS = -1
"""The `window_end_ms` of an idle batch of a source that has closed no window yet."""

_SETTLE_RECORDS, _SETTLE_RECORDS_A_CELL = 16_384, 4
_LARGER = 2**63  # than any record
INGEST = Ladder("the ingest stage", oldest=1)


@dataclass(slots=True)
class Ingested:
    """What a run gave: batches of closed windows in order, and the records that were not right."""

    batches: list[ObservationBatch] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)


class _State(msgspec.Struct, array_like=True):
    version: int
    length_ms: int
    watermark_ms: int
    closed_ms: int
    windows: list[Window]


class Ingest:
    """Folds the records of one raw partition into event-time windows.

    The watermark is the highest event time seen. A window `[start, end)` is closed by the record
    with which the watermark reaches its end plus the allowed lateness; records that come for it
    later are dead letters of reason `late`. What is said does not depend on how the records were
    grouped into runs. Each closed window that holds anything gives one batch for every shard,
    empty ones too, since a batch is also the mark of progress; a gap gives one empty batch a shard
    at its end.

    Parameters
    ----------
    source
        How to read the records.
    topic, partition
        Where they come from.
    windows
        Length, lateness and limits.
    shards
        Partitions of the observations topic; all series of a service share one.
    """

    def __init__(
        self, source: Source, topic: str, partition: int, windows: Windows, shards: int
    ) -> None:
        self._topic, self._partition, self._shards = topic, partition, shards
        self._windows = windows
        self._length_ms = round(windows.window_seconds * 1_000)
        self._lateness_ms = round(windows.allowed_lateness_seconds * 1_000)
        self._ahead_ms = round(windows.max_ahead_seconds * 1_000)
        self._decode = decoder(source)
        self._vocabulary = Vocabulary(source.kind) if is_wire_format(source) else None
        self._kind_of = placing(source)
        self._kind = source.kind
        self._fold = Fold(windows)
        self._names = SeriesNames(4 * windows.max_series)
        self._shard_of: dict[str, int] = {}
        self._open: dict[int, Intake] = {}
        self._unsettled = 0
        self.watermark_ms = NEVER_MS
        self.closed_ms = NEVER_MS
        self._next_close_ms = 0

    @property
    def name(self) -> str:
        """The name under which this partition reports progress."""
        return f"{self._topic}/{self._partition}"

    def process(self, run: Run) -> Ingested:
        """Takes the records of a run in, in order; a bad one changes nothing but its own fate."""
        ingested = Ingested()
        self._settle_at_times(len(run))
        vocabulary = self._vocabulary
        if vocabulary is None or not self._roomy(run):
            for index in range(len(run)):
                self._take_any(run, index, ingested)
            return ingested
        values = iter(run.values)
        latest_ms = surely_ms(run, self._ahead_ms)
        while not self._take_sound(map(vocabulary.decode, values), latest_ms):
            raw = self._take_any(run, len(run) - length_hint(values) - 1, ingested)
            if raw is not None:
                vocabulary.learn(raw)
        for intake in self._open.values():
            self._fold.settle_lines(intake)
        return ingested

    def _roomy(self, run: Run) -> bool:
        """Whether no value is missing or too large, and whatever they hold, no window gets full."""
        most_bytes = run.most_bytes
        if most_bytes is None:
            most_bytes = max((_LARGER if v is None else len(v) for v in run.values), default=0)
        most = max((len(intake.window) for intake in self._open.values()), default=0)
        return (
            most_bytes <= self._windows.max_record_bytes
            and most + len(run) <= self._windows.max_series
        )

    def _take_sound(self, records: Iterator[SoundRaw], latest_ms: int) -> bool:
        """Takes records into open windows until one is not as nearly all are.

        Returns False if there is one, which is then the last that was taken from `records` and has
        changed nothing, and True if there was none. This is the path of nearly every event.
        """
        until_ms = min(latest_ms + 1, self._next_close_ms)
        watermark_ms = self.watermark_ms
        start_ms = end_ms = 0
        try:
            for raw in records:
                time_ms = raw.time
                if not start_ms <= time_ms < end_ms:
                    start_ms = time_ms - time_ms % self._length_ms
                    end_ms = min(start_ms + self._length_ms, until_ms)
                    intake = self._open[start_ms]
                    if time_ms >= end_ms:
                        return False
                    samples, calls, lines = intake.samples, intake.calls, intake.lines
                metric, value, seconds = raw.metric, raw.value, raw.duration_seconds
                if metric is not None and value is not None:
                    samples[raw.service, metric, raw.instance].append((time_ms, value))
                elif raw.body is not None:
                    lines.append(raw)
                elif seconds is not None:
                    call = (seconds, raw.client_duration_seconds, raw.status)
                    calls[raw.service, raw.operation, raw.caller].append(call)
                elif raw.requests is not None:
                    self._fold.count(intake, raw, time_ms)
                else:
                    return False
                watermark_ms = time_ms if time_ms > watermark_ms else watermark_ms
        except (*UNDECODABLE, KeyError, Rejected):  # KeyError: its window is not open
            return False
        finally:
            self.watermark_ms = watermark_ms
        return True

    def _take_any(self, run: Run, index: int, ingested: Ingested) -> Raw | None:
        """Takes one record, whatever it is. It may close windows; None if it is a dead letter."""
        value = run.values[index]
        try:
            if value is None or len(value) > self._windows.max_record_bytes:
                raise check_size(value, self._windows.max_record_bytes)
            raw = self._decode(value)
            time_ms = checked(raw.time, run.timestamps_ms[index], self._ahead_ms)
            self._take(raw, time_ms, value)
        except Rejected as why:
            ingested.dead_letters.append(dead_letter(run, index, why))
            return None
        except UNDECODABLE as error:
            rejected = explain(value or b"", error)
            ingested.dead_letters.append(dead_letter(run, index, rejected))
            return None
        if time_ms > self.watermark_ms:
            self.watermark_ms = time_ms
            if time_ms >= self._next_close_ms:
                ingested.batches += self._close()
        return raw

    def _settle_at_times(self, records: int) -> None:
        """Keeps what waits in open windows to a small multiple of what they are."""
        self._unsettled += records
        cells = sum(len(intake.window) for intake in self._open.values())
        if self._unsettled > _SETTLE_RECORDS + _SETTLE_RECORDS_A_CELL * cells:
            self._settle()

    def _settle(self) -> None:
        self._unsettled = 0
        for intake in self._open.values():
            self._fold.settle(intake)

    def advance(self, to_ms: int) -> list[ObservationBatch]:
        """Moves the watermark to `to_ms` as a record of that time would; never back."""
        if to_ms <= self.watermark_ms:
            return []
        self.watermark_ms = to_ms
        return self._close()

    def idle(self) -> list[ObservationBatch]:
        """Says, for every shard, that this source is quiet and must not be waited for.

        Repeats the last closed window's end (`NEVER_MS` if there is none); the next closed window
        takes it back.
        """
        return [
            ObservationBatch(source=self.name, shard=s, window_end_ms=self.closed_ms, idle=True)
            for s in range(self._shards)
        ]

    def snapshot(self) -> bytes:
        """The whole state: open windows, watermark, and how far windows are closed."""
        self._settle()
        windows = [self._open[start].window for start in sorted(self._open)]
        return msgspec.msgpack.encode(
            _State(INGEST.version, self._length_ms, self.watermark_ms, self.closed_ms, windows)
        )

    def restore(self, data: bytes) -> None:
        """Takes the state from `snapshot`.

        Raises `UnknownVersionError`, and `ValueError` if it is none or of windows of another
        length.
        """
        state = msgspec.msgpack.decode(INGEST.lift(data), type=_State)
        if (length_ms := state.length_ms) != self._length_ms:
            raise ValueError(
                f"{self.name}: the snapshot has windows of {length_ms} ms, not {self._length_ms};"
                " set windows.window_seconds back, or read the topic anew under another group"
            )
        self.watermark_ms = state.watermark_ms
        self._closed_until(state.closed_ms)
        self._open = {window.start_ms: self._fold.open(window) for window in state.windows}

    def _take(self, raw: Raw, time_ms: int, value: bytes) -> None:
        start_ms = time_ms - time_ms % self._length_ms
        if start_ms < self.closed_ms:
            raise Rejected(
                "late",
                f"its window was closed {self.closed_ms - start_ms - self._length_ms} ms of event"
                " time ago; send sooner, or raise windows.allowed_lateness_seconds",
            )
        kind = self._kind_of(raw)
        if kind is None:
            if is_heartbeat(value):
                return
            raise missing(raw, self._kind)
        intake = self._open.get(start_ms)
        if intake is None:
            intake = self._fold.open(Window(start_ms, start_ms + self._length_ms))
        self._fold.by_kind[kind](intake, raw, time_ms)
        self._open[start_ms] = intake

    def _close(self) -> list[ObservationBatch]:
        """Closes what the watermark has passed; the batches of it, in order."""
        closed_ms = self.watermark_ms - self._lateness_ms
        closed_ms -= closed_ms % self._length_ms
        if closed_ms <= self.closed_ms:
            return []
        self._closed_until(closed_ms)
        due = sorted(start for start, i in self._open.items() if i.window.end_ms <= closed_ms)
        batches: list[ObservationBatch] = []
        for start in due:
            intake = self._open.pop(start)
            self._fold.settle(intake)
            window = intake.window
            batches += self._batches(window.end_ms, window.observations(self._names))
        if not due or due[-1] + self._length_ms < closed_ms:
            batches += self._batches(closed_ms, [])
        return batches

    def _closed_until(self, closed_ms: int) -> None:
        self.closed_ms = closed_ms
        self._next_close_ms = closed_ms + self._length_ms + self._lateness_ms

    def _batches(self, end_ms: int, said: Sequence[Observation]) -> list[ObservationBatch]:
        by_shard: list[list[Observation]] = [[] for _ in range(self._shards)]
        for observation in said:
            by_shard[self._shard(observation.service)].append(observation)
        return [
            ObservationBatch(self.name, shard, end_ms, tuple(observations))
            for shard, observations in enumerate(by_shard)
        ]

    def _shard(self, service: str) -> int:
        shard = self._shard_of.get(service)
        if shard is None:
            if len(self._shard_of) >= self._windows.max_series:
                self._shard_of.clear()
            shard = self._shard_of[service] = shard_of(service, self._shards)
        return shard
