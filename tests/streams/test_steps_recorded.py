"""Detection on a recorded service whose code path breaks without an error and without delay."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.anomalies import Anomaly
from schemas.configuration import Catalogue, Detection, Source, Windows
from streams.detect import Detect
from streams.files import read_events
from streams.ingest import Ingest
from streams.run import Run

RECORDING = Path(__file__).parent / "recording" / "route-service.jsonl.gz"
BROKEN = ("10:56:45", "11:04:05", "11:13:56")
LATENESS_MS = 5_000


def at_ms(time: str) -> int:
    """A time of the recorded day, Unix milliseconds."""
    moment = datetime.fromisoformat(f"2023-01-29T{time}").replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


@pytest.fixture(scope="module")
def anomalies() -> list[Anomaly]:
    """What would open an incident, by a detection that is restarted in the midst of the first."""
    windows, lines = Windows(), list(read_events([RECORDING]))
    ingest = Ingest(Source(topic="telemetry"), "telemetry", 0, windows, 1)
    run = Run("telemetry", 0, range(len(lines)), [-1] * len(lines), [None] * len(lines), lines)
    batches = ingest.process(run).batches
    batches += ingest.advance(ingest.watermark_ms + 120_000)

    def new() -> Detect:
        return Detect(0, [ingest.name], windows, Detection(), Catalogue())

    first, second = new(), new()
    middle_ms = at_ms(BROKEN[0])
    said = first.process([b for b in batches if b.window_end_ms <= middle_ms])
    second.restore(first.snapshot())
    said += second.process([b for b in batches if b.window_end_ms > middle_ms])
    return [a for batch in said for a in batch.anomalies if a.opens]


@pytest.mark.parametrize("time", BROKEN)
def test_a_broken_code_path_is_told_within_a_minute(time: str, anomalies: list[Anomaly]) -> None:
    seconds = [(a.window_end_ms + LATENESS_MS - at_ms(time)) / 1000 for a in anomalies]
    assert 0 <= min(s for s in seconds if s > -120) <= 60


def test_the_anomaly_says_which_step_stays_away_how_often_and_since_when(
    anomalies: list[Anomaly],
) -> None:
    told = anomalies[0]
    assert (told.kind, told.service) == ("code_path", "ts-route-service")
    assert told.value == 0
    assert told.expected == pytest.approx(26.8, abs=3)
    assert "came 0 times in 60 s" in told.reason
    assert "Query route by id" in (told.example or "")
    assert -60 <= (told.since_ms - at_ms(BROKEN[0])) / 1000 <= 60
    assert told.score > told.threshold == 6.5


def test_nothing_else_opens_an_incident(anomalies: list[Anomaly]) -> None:
    near = [(a.window_end_ms - at_ms(t)) / 1000 for a in anomalies for t in BROKEN]
    assert sum(0 <= seconds <= 180 for seconds in near) == len(anomalies)
