"""The ingest stage: raw records of one partition in, closed windows and bad records out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.configuration import Source, Windows
from schemas.events import DeadLetter
from schemas.observations import Observation, ObservationBatch
from streams.decode import UNDECODABLE, check_size, decoder, explain
from streams.fold import Fold
from streams.kinds import is_heartbeat, missing, placing
from streams.raw import Raw
from streams.reject import Rejected
from streams.run import Run
from streams.series import shard_of
from streams.windows import SeriesNames, Window

NEVER_MS = -1
"""The `window_end_ms` of an idle batch of a source that has closed no window yet."""

_EARLIEST_MS = 946_684_800_000  # 2000-01-01
_LATEST_MS = 4_102_444_800_000  # 2100-01-01
_VERSION = 1


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
        self._kind_of = placing(source)
        self._kind = source.kind
        self._fold = Fold(windows).by_kind
        self._names = SeriesNames(4 * windows.max_series)
        self._shard_of: dict[str, int] = {}
        self._open: dict[int, Window] = {}
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
        max_bytes = self._windows.max_record_bytes
        decode, surely_ms = self._decode, self._surely_not_ahead_ms(run.timestamps_ms)
        kind_of, fold = self._kind_of, self._fold
        # The window of the last record, at hand while records stay in it, as nearly all do.
        window: Window | None = None
        start_ms = end_ms = 0
        watermark_ms = self.watermark_ms
        for index, value in enumerate(run.values):
            try:
                if value is None or len(value) > max_bytes:
                    raise check_size(value, max_bytes)
                raw = decode(value)
                time_ms = raw.time
                if time_ms is None or not _EARLIEST_MS <= time_ms <= surely_ms:
                    time_ms = self._checked(time_ms, run.timestamps_ms[index])
                kind = kind_of(raw)
                if window is not None and kind is not None and start_ms <= time_ms < end_ms:
                    fold[kind](window, raw, time_ms)
                else:
                    self._take(raw, time_ms, value)
                    start_ms = time_ms - time_ms % self._length_ms
                    window, end_ms = self._open.get(start_ms), start_ms + self._length_ms
            except Rejected as why:
                ingested.dead_letters.append(self._dead_letter(run, index, why))
                continue
            except UNDECODABLE as error:
                rejected = explain(run.values[index] or b"", error)
                ingested.dead_letters.append(self._dead_letter(run, index, rejected))
                continue
            if time_ms > watermark_ms:
                self.watermark_ms = watermark_ms = time_ms
                if time_ms >= self._next_close_ms:
                    ingested.batches += self._close()
                    window = None
        return ingested

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
        windows = [self._open[start] for start in sorted(self._open)]
        return msgspec.msgpack.encode(
            _State(_VERSION, self._length_ms, self.watermark_ms, self.closed_ms, windows)
        )

    def restore(self, data: bytes) -> None:
        """Takes the state from `snapshot`.

        Raises `ValueError` if it is of an unknown version or of windows of another length.
        """
        version, length_ms = msgspec.msgpack.decode(data, type=list)[:2]
        if version != _VERSION:
            raise ValueError(
                f"{self.name}: the snapshot has version {version}, this is version {_VERSION};"
                " run the release that wrote it, or read the topic anew under another group"
            )
        if length_ms != self._length_ms:
            raise ValueError(
                f"{self.name}: the snapshot has windows of {length_ms} ms, not {self._length_ms};"
                " set windows.window_seconds back, or read the topic anew under another group"
            )
        state = msgspec.msgpack.decode(data, type=_State)
        self.watermark_ms = state.watermark_ms
        self._closed_until(state.closed_ms)
        self._open = {window.start_ms: window for window in state.windows}

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
        window = self._open.get(start_ms)
        if window is None:
            window = Window(start_ms, start_ms + self._length_ms)
            self._fold[kind](window, raw, time_ms)
            self._open[start_ms] = window
        else:
            self._fold[kind](window, raw, time_ms)

    def _close(self) -> list[ObservationBatch]:
        """Closes what the watermark has passed; the batches of it, in order."""
        closed_ms = self.watermark_ms - self._lateness_ms
        closed_ms -= closed_ms % self._length_ms
        if closed_ms <= self.closed_ms:
            return []
        self._closed_until(closed_ms)
        due = sorted(start for start, w in self._open.items() if w.end_ms <= closed_ms)
        batches: list[ObservationBatch] = []
        for start in due:
            window = self._open.pop(start)
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

    def _surely_not_ahead_ms(self, timestamps_ms: Sequence[int]) -> int:
        """A time that is not too far ahead of any of these Kafka timestamps (-1 is unknown)."""
        earliest = min(timestamps_ms, default=-1)
        if earliest < 0:
            earliest = min((t for t in timestamps_ms if t >= 0), default=_LATEST_MS)
        return min(earliest + self._ahead_ms, _LATEST_MS)

    def _checked(self, time_ms: int | None, timestamp_ms: int) -> int:
        if time_ms is None:
            raise Rejected("missing_field", "$.time is missing; send Unix milliseconds, or map it")
        if time_ms < 0:
            raise Rejected("negative", "$.time is negative; send Unix milliseconds, UTC")
        if not _EARLIEST_MS <= time_ms <= _LATEST_MS:
            raise Rejected(
                "out_of_range", "$.time is not between 2000 and 2100; check sources[].time_unit"
            )
        if timestamp_ms >= 0 and time_ms > timestamp_ms + self._ahead_ms:
            raise Rejected(
                "in_the_future",
                "$.time is further ahead of the record's Kafka timestamp than"
                f" windows.max_ahead_seconds = {self._windows.max_ahead_seconds:g}; check the clock"
                " of the sender",
            )
        return time_ms

    def _dead_letter(self, run: Run, index: int, why: Rejected) -> DeadLetter:
        offset = run.offsets[index]
        timestamp_ms = run.timestamps_ms[index]
        decoding = why.reason not in ("late", "too_many_series", "in_the_future")
        return DeadLetter(
            topic=run.topic,
            partition=run.partition,
            offset=offset,
            reason=why.reason,
            message=f"{run.topic}/{run.partition} offset {offset}: {why.message}",
            stage="VALUE_CONVERTER" if decoding else "TRANSFORMATION",
            key=run.keys[index],
            value=run.values[index],
            timestamp_ms=timestamp_ms if timestamp_ms >= 0 else None,
        )
