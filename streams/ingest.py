"""The ingest stage: raw records of one partition in, closed windows and bad records out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec

from schemas.configuration import Source, Windows
from schemas.events import DeadLetter
from schemas.observations import Observation, ObservationBatch
from streams.decode import UNDECODABLE, check_size, decoder, explain
from streams.fold import Fold
from streams.intake import Intake
from streams.kinds import is_heartbeat, missing, placing
from streams.mapping import is_wire_format
from streams.packed import Packed
from streams.quick import Quick
from streams.raw import Raw
from streams.reject import Rejected, dead_letter
from streams.run import Run
from streams.series import shard_of
from streams.timely import checked, surely_ms
from streams.versions import Ladder
from streams.windows import SeriesNames, Window

NEVER_MS = -1
"""The `window_end_ms` of an idle batch of a source that has closed no window yet."""

_SETTLE_RECORDS, _SETTLE_RECORDS_A_CELL = 16_384, 4
_WORTH_RECORDS, _MOST_CAREFULLY = 16, 256
"""Fewer records are sooner taken one by one than read at once; and how many in a row at most."""
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
    quick
        Whether records are read many at once where they can be, which changes nothing but time.
    """

    def __init__(
        self,
        source: Source,
        topic: str,
        partition: int,
        windows: Windows,
        shards: int,
        *,
        quick: bool = True,
    ) -> None:
        self._topic, self._partition, self._shards = topic, partition, shards
        self._windows = windows
        self._length_ms = round(windows.window_seconds * 1_000)
        self._lateness_ms = round(windows.allowed_lateness_seconds * 1_000)
        self._ahead_ms = round(windows.max_ahead_seconds * 1_000)
        self._decode = decoder(source)
        self._kind_of = placing(source)
        self._kind = source.kind
        self._fold = Fold(windows)
        self._quick = (
            Quick(source.kind, windows, self._fold) if quick and is_wire_format(source) else None
        )
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
        self._settle_at_times()
        at, carefully = 0, 1
        if self._many(run, at) and not isinstance(run.values, Packed):
            run = replace(run, values=Packed.of(run.values))
        sure_ms = surely_ms(run, self._ahead_ms)
        while at < len(run):
            many = self._many(run, at)
            read, is_later = self._take_many(run, at, many, sure_ms) if many else (0, False)
            at += read
            if is_later and self._room() and self._take_closing(run, at, sure_ms, ingested):
                at, carefully = at + 1, 1
                continue
            carefully = 1 if read >= _WORTH_RECORDS else min(2 * carefully, _MOST_CAREFULLY)
            for index in range(at, min(at + carefully, len(run))):
                self._take_any(run, index, ingested)
            at += carefully
        return ingested

    def _many(self, run: Run, at: int) -> int:
        """How many records may be read at once, so that no window gets full whatever they hold.

        0 if it is not worth it.
        """
        if self._quick is None:
            return 0
        many = min(len(run) - at, self._room())
        return many if many >= _WORTH_RECORDS else 0

    def _room(self) -> int:
        """How many series any open window has room for."""
        most = max((len(intake.window) for intake in self._open.values()), default=0)
        return self._windows.max_series - most

    def _take_many(self, run: Run, at: int, many: int, sure_ms: int) -> tuple[int, bool]:
        """Takes records into open windows until one is not as nearly all are; says how many, and
        whether that one was left for its time."""
        assert self._quick is not None
        intakes = [self._open[start] for start in sorted(self._open)]
        until_ms = min(sure_ms + 1, self._next_close_ms)
        took = self._quick.take(Packed.of(run.values), at, at + many, intakes, until_ms)
        self.watermark_ms = max(self.watermark_ms, took.latest_ms)
        return took.records, took.is_later

    def _take_closing(self, run: Run, at: int, sure_ms: int, ingested: Ingested) -> bool:
        """Takes a record which is as nearly all are but that it closes windows, if it is so."""
        assert self._quick is not None
        intakes = [self._open[start] for start in sorted(self._open)]
        took = self._quick.take(Packed.of(run.values), at, at + 1, intakes, sure_ms + 1)
        if took.records:
            self._saw(took.latest_ms, ingested)
        return took.records > 0

    def _saw(self, time_ms: int, ingested: Ingested) -> None:
        """Closes what a record of this time closes."""
        if time_ms > self.watermark_ms:
            self.watermark_ms = time_ms
            if time_ms >= self._next_close_ms:
                ingested.batches += self._close()

    def _take_any(self, run: Run, index: int, ingested: Ingested) -> None:
        """Takes one record, whatever it is. It may close windows."""
        value = run.values[index]
        try:
            if value is None or len(value) > self._windows.max_record_bytes:
                raise check_size(value, self._windows.max_record_bytes)
            raw = self._decode(value)
            time_ms = checked(raw.time, run.timestamps_ms[index], self._ahead_ms)
            self._take(raw, time_ms, value)
        except Rejected as why:
            ingested.dead_letters.append(dead_letter(run, index, why))
            return
        except UNDECODABLE as error:
            rejected = explain(value or b"", error)
            ingested.dead_letters.append(dead_letter(run, index, rejected))
            return
        self._saw(time_ms, ingested)
        self._unsettled += 1

    def _settle_at_times(self) -> None:
        """Keeps what waits in open windows, beside a run, to a small multiple of what they are."""
        waiting = self._unsettled + sum(len(intake.waiting) for intake in self._open.values())
        cells = sum(len(intake.window) for intake in self._open.values())
        if waiting > _SETTLE_RECORDS + _SETTLE_RECORDS_A_CELL * cells:
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
            intake.waiting.fold(all_of_it=True)
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
