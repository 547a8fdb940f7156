"""Variations change what they say and nothing else, alike each time, with the truth beside them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.bench.faults import main
from deploy.bench.faults_recordings import Part, Recording
from deploy.bench.faults_result import Faults
from deploy.bench.faults_variations import Variation, variations
from schemas.anomalies import Call
from streams.scoring import Fault

MINUTE = 60_000
START = 1_700_000_000_000
FAULTS = [Fault(START + (30 + 10 * i) * MINUTE, f"shop-{i}", "return") for i in range(6)]


def event(minute: int) -> list[dict[str, Any]]:
    time_ms = START + minute * MINUTE
    return [
        {"time": time_ms, "service": "shop-1", "metric": "cpu_usage_ratio", "value": 0.5},
        {"time": time_ms, "service": "shop-1", "metric": "success_ratio", "value": 1.0},
        {"time": time_ms, "service": "shop-1", "body": "Sold for 3", "trace_id": f"{minute:016}00"},
        {
            "time": time_ms + 1,
            "service": "shop-2",
            "caller": "shop-1",
            "duration_seconds": 0.25,
            "trace_id": f"{minute:016}",
        },
    ]


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    lines = [msgspec.json.encode(one) for minute in range(100) for one in event(minute)]
    (tmp_path / "events.jsonl").write_bytes(b"\n".join(lines))
    calls = [Call("shop-1", "shop-2")]
    return Recording("shop", [Part([tmp_path / "events.jsonl"])], calls, FAULTS, FAULTS[3:4])


def varied(recording: Recording, kind: str, seed: int = 0, of: int = 1) -> Recording:
    found = Variation(kind, seed, of)(recording)
    assert found is not None
    return found


def events(recording: Recording) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in recording.lines()]


def test_every_variation_is_the_same_each_time_and_unlike_the_recording(
    recording: Recording,
) -> None:
    for variation in variations(2):
        once, again = variation(recording), variation(recording)
        assert once is not None
        assert again is not None
        assert (events(once), once.faults) == (events(again), again.faults)
        assert events(once) != events(recording)


def test_one_begun_later_lacks_the_first_faults_and_all_before_them(recording: Recording) -> None:
    later = varied(recording, "begun later", seed=1, of=2)
    assert later.faults == FAULTS[4:]
    assert events(later)[0]["time"] == START + 65 * MINUTE


def test_in_another_order_each_event_stays_as_far_from_its_fault(recording: Recording) -> None:
    def by_fault(of: Recording, faults: Iterator[Fault]) -> dict[str, list[tuple[int, str]]]:
        found = {}
        for fault in faults:
            near = [e for e in events(of) if 0 <= e["time"] - fault.at_ms < 7 * MINUTE]
            found[fault.service] = [(e["time"] - fault.at_ms, e.get("trace_id", "")) for e in near]
        return found

    moved = varied(recording, "in another order", seed=3)
    times = [e["time"] for e in events(moved)]
    assert times == sorted(times)
    assert len(times) == len(events(recording))
    assert [f.service for f in moved.faults] == [f.service for f in FAULTS]
    assert [f.at_ms for f in moved.faults] != [f.at_ms for f in FAULTS]
    assert by_fault(moved, iter(moved.faults)) == by_fault(recording, iter(FAULTS))
    assert moved.unlisted == [moved.faults[3]]


def test_of_a_trace_all_is_lost_or_nothing(recording: Recording) -> None:
    half = varied(recording, "half the requests")
    kept = [e["trace_id"][:16] for e in events(half) if "trace_id" in e]
    assert 30 < len(set(kept)) < 70
    assert all(kept.count(trace) == 2 for trace in kept)
    assert sum("metric" in e for e in events(half)) == 200


def test_twice_the_requests_are_others_traces(recording: Recording) -> None:
    traces = [e["trace_id"] for e in events(varied(recording, "twice the requests")) if "body" in e]
    assert len(traces) == len(set(traces)) == 200


def test_names_and_words_change_alike_wherever_they_stand(recording: Recording) -> None:
    renamed = varied(recording, "renamed")
    named = {e["service"] for e in events(renamed)}
    assert named == {renamed.calls[0].caller, renamed.calls[0].callee}
    assert renamed.faults[1].service == renamed.calls[0].caller != "shop-1"
    bodies = {e["body"] for e in events(renamed) if "body" in e}
    assert len(bodies) == 1
    assert "Sold" not in bodies.pop()


def test_other_units_and_noise_leave_what_is_meant(recording: Recording) -> None:
    told = [e for e in events(varied(recording, "other units")) if "metric" in e]
    assert {(e["metric"], e["value"]) for e in told} == {
        ("cpu_usage_percent", 50.0),
        ("success_percent", 100.0),
    }
    noisy = [e for e in events(varied(recording, "noisy")) if "metric" in e]
    assert {e["value"] for e in noisy if e["metric"] == "success_ratio"} == {1.0}
    assert len({e["value"] for e in noisy}) > 50


@pytest.mark.slow
def test_the_demo_is_found_as_well_in_another_order_thinned_or_renamed(tmp_path: Path) -> None:
    recorded = Path(__file__).parents[3] / "deploy" / "demo" / "recording"
    assert main(recorded, vary=1, json=tmp_path / "out.json") == 0
    result = msgspec.json.decode((tmp_path / "out.json").read_bytes(), type=Faults)
    assert len(result.variations) == 10
    for one in result.variations:
        assert len(one.lost) <= 1, one.name
        assert one.detection.false_incidents <= 1, one.name
