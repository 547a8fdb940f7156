"""The whole pure core: raw records in, incidents out, the same however they are cut into runs."""

import json
from itertools import pairwise

import msgspec
import pytest

from schemas.configuration import Catalogue, Configuration, Service, Source
from schemas.incidents import IncidentEvent
from streams.pipeline import Pipeline
from streams.run import Run

MINUTE = 60_000
START = 1_700_000_000_000 // MINUTE * MINUTE
FAULT = 60
CONFIGURATION = Configuration(
    sources=(Source(topic="telemetry"),),
    catalogue=Catalogue(services=(Service(name="web", depends_on=("cart",)),)),
)


def records() -> list[bytes]:
    """Ninety minutes of two services' CPU, a sample a minute; `cart` is at its limit for four."""
    lines = []
    for minute in range(90):
        for service in ("web", "cart"):
            busy = service == "cart" and FAULT <= minute < FAULT + 4
            value = 0.99 if busy else 0.05 + 0.01 * ((minute * 7) % 5)
            sample = {
                "time": START + minute * MINUTE,
                "service": service,
                "metric": "cpu_usage_ratio",
                "value": value,
            }
            lines.append(json.dumps(sample).encode())
    return [*lines[:50], b"{broken", *lines[50:]]


def run(lines: list[bytes], offset: int) -> Run:
    size = len(lines)
    return Run("replay", 0, range(offset, offset + size), [-1] * size, [None] * size, lines)


def passed(cuts: tuple[int, ...] = ()) -> tuple[list[IncidentEvent], int]:
    pipeline, lines = Pipeline(CONFIGURATION), records()
    events: list[IncidentEvent] = []
    dead = 0
    for start, end in pairwise((0, *cuts, len(lines))):
        given = pipeline.process(run(lines[start:end], start))
        events += given.events
        dead += len(given.dead_letters)
    return events + pipeline.finish().events, dead


def test_a_saturated_service_becomes_one_incident_that_is_resolved() -> None:
    events, dead = passed()
    assert [e.type for e in events if e.type in ("opened", "resolved")] == ["opened", "resolved"]
    assert events[0].incident.suspected_causes[0] == "cart"
    late_ms = events[0].time_ms - (START + FAULT * MINUTE)
    assert 0 < late_ms <= 2 * MINUTE
    assert dead == 1


@pytest.mark.parametrize("cuts", [(1, 2, 3), (40, 77, 121, 160), tuple(range(1, 181))])
def test_how_records_are_cut_into_runs_does_not_matter(cuts: tuple[int, ...]) -> None:
    assert msgspec.json.encode(passed(cuts)) == msgspec.json.encode(passed())


def test_finish_says_what_waits_in_the_last_window_and_nothing_without_records() -> None:
    pipeline, lines = Pipeline(CONFIGURATION), records()
    cut = next(i for i, line in enumerate(lines) if b"0.99" in line) + 1
    assert pipeline.process(run(lines[:cut], 0)).events == []
    assert [event.type for event in pipeline.finish().events] == ["opened"]
    assert Pipeline(CONFIGURATION).finish().observations == []
