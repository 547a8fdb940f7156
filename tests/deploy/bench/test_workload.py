"""The workload is the same every time, and looks like telemetry."""

import json
from collections import Counter

from deploy.bench.workload import EVENTS_PER_SECOND, FAULTY, START_MS, workload
from schemas.configuration import Source, Windows
from streams.ingest import Ingest
from streams.run import Run


def test_the_same_arguments_give_the_same_bytes() -> None:
    assert list(workload(2_000, 4)) == list(workload(2_000, 4))
    assert list(workload(2_000, 4)) != list(workload(2_000, 4, seed=2))


def test_events_are_in_time_order_and_about_200_bytes_long() -> None:
    events = list(workload(6_000, 4))
    times = [event.time_ms for event in events]
    assert times == sorted(times)
    assert times[-1] - START_MS < 6_000 / EVENTS_PER_SECOND * 1000
    assert 170 < sum(len(event.value) for event in events) / len(events) < 230


def test_all_partitions_are_used_and_a_service_stays_in_its_own() -> None:
    events = list(workload(6_000, 4))
    homes = {(event.key, event.partition) for event in events}
    assert len(homes) == len({event.key for event in events}) == 20
    share = Counter(event.partition for event in events)
    assert min(share.values()) > 0.15 * len(events)


def test_ingest_takes_every_event_and_finds_some_hundred_series() -> None:
    events = list(workload(60_000, 1))
    stage = Ingest(Source(topic="raw"), "raw", 0, Windows(), 1)
    run = Run(
        "raw",
        0,
        range(len(events)),
        [event.time_ms for event in events],
        [event.key for event in events],
        [event.value for event in events],
    )
    ingested = stage.process(run)
    series = {o.series for batch in ingested.batches for o in batch.observations}
    assert ingested.dead_letters == []
    assert len(ingested.batches) >= 2
    assert 300 < len(series) < 500


def test_one_service_is_slow_and_fails_for_a_while() -> None:
    inside: list[dict[str, object]] = []
    outside: list[dict[str, object]] = []
    for event in workload(480 * 600, 1, rate=600):
        second = (event.time_ms - START_MS) // 1000
        if event.key == FAULTY.encode() and b"duration_seconds" in event.value:
            (inside if second >= 390 else outside).append(json.loads(event.value))
    assert sum(e["status"] == 500 for e in inside) > 0.3 * len(inside)
    assert sum(e["status"] == 500 for e in outside) < 0.05 * len(outside)
