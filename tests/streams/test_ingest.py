"""Raw records become closed windows, whatever order and grouping they arrive in."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.configuration import Source, Windows
from schemas.observations import Observation, ObservationBatch
from streams.align import Aligner
from streams.ingest import NEVER_MS, Ingest, Ingested
from streams.run import Run

T0 = 1_700_000_000_000
WINDOWS = Windows(window_seconds=10, allowed_lateness_seconds=5)


def new(windows: Windows = WINDOWS, shards: int = 2, source: Source | None = None) -> Ingest:
    return Ingest(source or Source(topic="raw"), "raw", 3, windows, shards)


def run_of(values: Sequence[bytes | None], first_offset: int = 0, timestamp_ms: int = -1) -> Run:
    n = len(values)
    offsets = range(first_offset, first_offset + n)
    return Run("raw", 3, offsets, [timestamp_ms] * n, [None] * n, list(values))


def event(at_s: float, **fields: object) -> bytes:
    return json.dumps({"time": T0 + round(at_s * 1000), "service": "cart", **fields}).encode()


def gauge(at_s: float, value: float, **fields: object) -> bytes:
    return event(at_s, metric="cpu_ratio", value=value, **fields)


def heartbeat(at_s: float) -> bytes:
    return json.dumps({"time": T0 + round(at_s * 1000)}).encode()


def observations(ingested: Ingested) -> list[Observation]:
    return [o for batch in ingested.batches for o in batch.observations]


def by_series(ingested: Ingested) -> dict[str, Observation]:
    return {o.series: o for o in observations(ingested)}


def ends_s(batches: Sequence[ObservationBatch]) -> list[float]:
    return [(b.window_end_ms - T0) / 1000 for b in batches]


def test_a_window_closes_with_the_record_that_passes_its_end_and_lateness() -> None:
    ingest = new(shards=1)
    first = ingest.process(run_of([gauge(1, 0.5), gauge(9.999, 0.7), gauge(14.999, 9)]))
    assert ends_s(first.batches) == [-10, 0]
    assert observations(first) == []
    closing = ingest.process(run_of([heartbeat(15)], first_offset=3))
    assert ends_s(closing.batches) == [10]
    (cpu,) = observations(closing)
    assert (cpu.count, cpu.sum, cpu.min, cpu.max, cpu.last) == (2, 1.2, 0.5, 0.7, 0.7)
    assert cpu.series == 'cpu_ratio{service="cart"}'


def test_every_shard_gets_a_batch_of_every_closed_window_with_data() -> None:
    ingested = new(shards=4).process(run_of([gauge(1, 1), heartbeat(15)]))
    closed = [b for b in ingested.batches if b.window_end_ms == T0 + 10_000]
    assert [b.shard for b in closed] == [0, 1, 2, 3]
    assert sum(bool(b.observations) for b in closed) == 1
    assert {b.source for b in closed} == {"raw/3"}
