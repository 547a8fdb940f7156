"""Ingest that, when it is told to, leaves out what is least critical, and says of which windows.

To leave something out is for when more comes than can be worked through: what is read late helps
nobody. Whoever reads the windows knows from `ObservationBatch.shed_tier` what is not in them, so
that nothing that was left out is taken for silence.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from schemas.configuration import Source, Windows
from schemas.observations import ObservationBatch
from streams.decode import UNDECODABLE, decoder
from streams.ingest import Ingest, Ingested
from streams.mapping import is_wire_format
from streams.reject import Rejected
from streams.run import Run
from streams.timely import checked
from streams.versions import Ladder

DEFAULT_TIER = 3
"""Of services that the catalogue lacks."""

SHED_INGEST = Ladder(
    "the ingest stage",
    oldest=1,
    steps=(lambda parts: [msgspec.msgpack.encode([1, *parts]), None, None],),
)
"""Version 2: the snapshot of `Ingest`; the least critical tier that is read; the mark."""


class _Head(msgspec.Struct, gc=False):
    """As much of a record of the wire format as says whether to read it."""

    time: int | None = None
    service: str | None = None


class Mark(msgspec.Struct, array_like=True, frozen=True):
    """Windows that begin in `[from_ms, to_ms)` lack services less critical than `tier`.

    `to_ms` is None while it goes on.
    """

    tier: int
    from_ms: int
    to_ms: int | None = None

    def covers(self, start_ms: int) -> bool:
        """Whether a window that begins then lacks something."""
        return self.from_ms <= start_ms and (self.to_ms is None or start_ms < self.to_ms)


class ShedIngest:
    """`Ingest` with a valve before it. Pure.

    Parameters
    ----------
    ingest
        What reads the records that are not left out.
    source, windows
        The same as `ingest` was given.
    tiers
        The tier of each service that has one.

    Attributes
    ----------
    shed
        Records left out by tier; the shell counts and empties it.
    """

    def __init__(
        self, ingest: Ingest, source: Source, windows: Windows, tiers: Mapping[str, int]
    ) -> None:
        self.shed: dict[int, int] = {}
        self._ingest = ingest
        self._tiers = tiers
        self._length_ms = round(windows.window_seconds * 1000)
        self._lateness_ms = round(windows.allowed_lateness_seconds * 1000)
        self._ahead_ms = round(windows.max_ahead_seconds * 1000)
        wire = msgspec.json.Decoder(_Head).decode
        self._decode = wire if is_wire_format(source) else decoder(source)
        self._most: int | None = None
        self._mark: Mark | None = None

    @property
    def name(self) -> str:
        """The name under which this partition reports progress."""
        return self._ingest.name

    @property
    def watermark_ms(self) -> int:
        """The latest event time seen."""
        return self._ingest.watermark_ms

    @property
    def most_tier(self) -> int | None:
        """The least critical tier that is read; None if everything is."""
        return self._most

    def read_up_to(self, tier: int | None) -> None:
        """From now on leaves out services less critical than `tier`; None reads all again."""
        self._most = tier
        if tier is not None:
            known = self._mark
            self._mark = Mark(
                tier if known is None else min(tier, known.tier),
                max(self._ingest.closed_ms, 0) if known is None else known.from_ms,
            )
        elif self._mark is not None:
            watermark_ms = self._ingest.watermark_ms
            end_ms = watermark_ms - watermark_ms % self._length_ms + self._length_ms
            self._mark = Mark(self._mark.tier, self._mark.from_ms, end_ms)

    def process(self, run: Run) -> Ingested:
        """As `Ingest.process`; the time of what is left out counts, its content does not."""
        if self._most is None:
            ingested = self._ingest.process(run)
        else:
            ingested = Ingested()
            for part, time_ms in self._thinned(run, self._most):
                given = self._ingest.process(part)
                ingested.batches += given.batches
                ingested.dead_letters += given.dead_letters
                if time_ms is not None:
                    ingested.batches += self._ingest.advance(time_ms)
        ingested.batches = self._marked(ingested.batches)
        return ingested

    def _thinned(self, run: Run, most: int) -> Iterator[tuple[Run, int | None]]:
        """The run without what is left out, cut where that would have closed a window, with the
        time of what would have."""
        kept: list[int] = []
        closes_ms = self._closes_ms()
        for index in range(len(run)):
            time_ms = self._left_out(run, index, most)
            if time_ms is None:
                kept.append(index)
            elif time_ms >= closes_ms:
                yield _picked(run, kept), time_ms
                kept, closes_ms = [], self._closes_ms()
        yield _picked(run, kept), None

    def _closes_ms(self) -> int:
        return self._ingest.closed_ms + self._length_ms + self._lateness_ms

    def _left_out(self, run: Run, index: int, most: int) -> int | None:
        """The time of a record that is to be left out; None if it is read, whatever it is."""
        try:
            head = self._decode(run.values[index] or b"")
            if head.service is None:
                return None
            tier = self._tiers.get(head.service, DEFAULT_TIER)
            if tier <= most:
                return None
            time_ms = checked(head.time, run.timestamps_ms[index], self._ahead_ms)
        except (*UNDECODABLE, Rejected):
            return None
        self.shed[tier] = self.shed.get(tier, 0) + 1
        return time_ms

    def advance(self, to_ms: int) -> list[ObservationBatch]:
        """As `Ingest.advance`."""
        return self._marked(self._ingest.advance(to_ms))

    def idle(self) -> list[ObservationBatch]:
        """As `Ingest.idle`."""
        return self._ingest.idle()

    def _marked(self, batches: Sequence[ObservationBatch]) -> list[ObservationBatch]:
        mark = self._mark
        if mark is None:
            return list(batches)
        if mark.to_ms is not None and self._ingest.closed_ms >= mark.to_ms:
            self._mark = None
        return [
            msgspec.structs.replace(batch, shed_tier=mark.tier)
            if mark.covers(batch.window_end_ms - self._length_ms)
            else batch
            for batch in batches
        ]

    def snapshot(self) -> bytes:
        """The whole state."""
        state = [SHED_INGEST.version, self._ingest.snapshot(), self._most, self._mark]
        return msgspec.msgpack.encode(state)

    def restore(self, data: bytes) -> None:
        """Takes the state from `snapshot` of this release or one before it.

        Raises `UnknownVersionError`, and `ValueError` if it is none or of windows of another
        length.
        """
        shape = tuple[int, bytes, int | None, Mark | None]
        _, inner, most, mark = msgspec.msgpack.decode(SHED_INGEST.lift(data), type=shape)
        self._ingest.restore(inner)
        self._most, self._mark = most, mark


def _picked(run: Run, kept: Sequence[int]) -> Run:
    """The records of a run with these indices."""
    if len(kept) == len(run):
        return run
    return Run(
        run.topic,
        run.partition,
        [run.offsets[i] for i in kept],
        [run.timestamps_ms[i] for i in kept],
        [run.keys[i] for i in kept],
        [run.values[i] for i in kept],
        {at: run.headers[i] for at, i in enumerate(kept) if i in run.headers},
        run.least_ms,
    )
