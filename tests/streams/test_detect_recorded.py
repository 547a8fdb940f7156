"""Detection on an hour that was recorded from a running system, with faults of known time."""

import csv
from datetime import datetime
from pathlib import Path

import pytest

from schemas.anomalies import Anomaly
from schemas.configuration import Catalogue, Detection, Source, Windows
from streams.bank import CORROBORATES_FROM
from streams.detect import Detect
from streams.files import read_events
from streams.ingest import Ingest
from streams.run import Run

RECORDING = Path(__file__).parents[2] / "deploy" / "demo" / "recording"
LATENESS_MS = 5_000


def all_anomalies() -> list[Anomaly]:
    windows = Windows()
    ingest = Ingest(Source(topic="telemetry"), "telemetry", 0, windows, 1)
    detect = Detect(0, [ingest.name], windows, Detection(), Catalogue())
    lines = list(read_events([RECORDING / "events.jsonl.gz", RECORDING / "requests.jsonl.gz"]))
    run = Run("telemetry", 0, range(len(lines)), [-1] * len(lines), [None] * len(lines), lines)
    said = detect.process(ingest.process(run).batches)
    return [a for batch in said for a in batch.anomalies]


def faults() -> list[tuple[int, str, str]]:
    with (RECORDING / "faults.csv").open() as file:
        return [
            (
                int(datetime.fromisoformat(row["injected_at"]).timestamp() * 1000),
                row["service"],
                row["kind"],
            )
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def everything() -> list[Anomaly]:
    return all_anomalies()


@pytest.fixture(scope="module")
def anomalies(everything: list[Anomaly]) -> list[Anomaly]:
    return [a for a in everything if a.opens]


def test_every_cpu_and_network_fault_is_seen_at_its_service_within_90_seconds(
    anomalies: list[Anomaly],
) -> None:
    for injected_ms, service, kind in faults():
        if not kind.startswith(("cpu", "network")):
            continue
        seconds = [
            (a.window_end_ms + LATENESS_MS - injected_ms) / 1000
            for a in anomalies
            if a.service == service and injected_ms <= a.window_end_ms <= injected_ms + 240_000
        ]
        assert seconds, (service, kind)
        assert seconds[0] <= 90, (service, kind)


def test_nothing_is_reason_for_an_incident_while_all_is_well(anomalies: list[Anomaly]) -> None:
    starts = [injected_ms for injected_ms, _, _ in faults()]
    strays = [
        a.reason
        for a in anomalies
        if not any(start <= a.window_end_ms <= start + 400_000 for start in starts)
    ]
    assert strays == []


def test_every_anomaly_says_what_came_what_was_expected_how_unlikely_and_since_when(
    everything: list[Anomaly],
) -> None:
    assert {"latency", "level", "network", "saturation"} <= {a.kind for a in everything}
    for a in everything:
        assert a.lower <= a.expected <= a.upper, a
        assert a.score >= CORROBORATES_FROM, a
        assert a.threshold > 0, a
        assert 0 < a.since_ms <= a.window_start_ms, a
        assert a.service in a.reason, a
        assert "expected" in a.reason or a.kind in ("novelty", "saturation"), a
