"""Detection on a recorded service whose code path breaks without an error and without delay."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.anomalies import Anomaly, AnomalyBatch
from schemas.configuration import Catalogue, Detection, DetectorRule, Source, Windows
from schemas.observations import ObservationBatch
from streams.detect import Detect
from streams.files import read_events
from streams.ingest import Ingest
from streams.run import Run

RECORDING = Path(__file__).parent / "recording" / "route-service.jsonl.gz"
BROKEN = ("10:56:45", "11:04:05", "11:13:56")
LATENESS_MS = 5_000
TOPIC = "telemetry"


def at_ms(time: str) -> int:
    """A time of the recorded day, Unix milliseconds."""
    moment = datetime.fromisoformat(f"2023-01-29T{time}").replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def batches() -> list[ObservationBatch]:
    """The recording's windows."""
    lines = list(read_events([RECORDING]))
    ingest = Ingest(Source(topic="telemetry"), TOPIC, 0, Windows(), 1)
    run = Run(TOPIC, 0, range(len(lines)), [-1] * len(lines), [None] * len(lines), lines)
    return ingest.process(run).batches + ingest.advance(ingest.watermark_ms + 120_000)


def detect(*rules: DetectorRule) -> Detect:
    """A new detection with such rules."""
    return Detect(0, [f"{TOPIC}/0"], Windows(), Detection(rules=rules), Catalogue())


def opening(said: Sequence[AnomalyBatch]) -> list[Anomaly]:
    """What would open an incident."""
    return [a for batch in said for a in batch.anomalies if a.opens]


@pytest.fixture(scope="module")
def recorded() -> list[ObservationBatch]:
    return batches()


@pytest.fixture(scope="module")
def anomalies(recorded: list[ObservationBatch]) -> list[Anomaly]:
    """What opens an incident by a detection that is restarted in the midst of the first fault."""
    first, second = detect(), detect()
    middle_ms = at_ms(BROKEN[0])
    said = first.process([b for b in recorded if b.window_end_ms <= middle_ms])
    second.restore(first.snapshot())
    return opening(said + second.process([b for b in recorded if b.window_end_ms > middle_ms]))


@pytest.mark.parametrize("time", BROKEN)
def test_a_broken_code_path_is_told_within_80_seconds(time: str, anomalies: list[Anomaly]) -> None:
    seconds = [(a.window_end_ms + LATENESS_MS - at_ms(time)) / 1000 for a in anomalies]
    assert 0 <= min(s for s in seconds if s > -120) <= 80


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


def test_steps_can_be_left_alone_and_given_a_threshold_by_a_rule(
    recorded: list[ObservationBatch],
) -> None:
    steps = 'steps{service="ts-route-*'
    assert opening(detect(DetectorRule(series=steps, enabled=False)).process(recorded)) == []
    held = opening(detect(DetectorRule(series=steps, threshold=50.0)).process(recorded))
    assert held
    assert {a.threshold for a in held} == {50.0}
