"""The cost of an event is measured over numbers of series and of partitions."""

import json
from pathlib import Path

import pytest

from deploy.bench.core import core, runs
from deploy.bench.scale import EVENTS_A_SERIES_AND_WINDOW, main
from deploy.bench.task import Task
from deploy.bench.workload import SERIES_A_SERVICE, workload


def test_a_window_has_about_as_many_observations_as_the_workload_says_there_are_series() -> None:
    services, windows = 10, 6
    rate = services * SERIES_A_SERVICE * 20 // 10
    measured = core(Task(kind="core", events=rate * 10 * windows, rate=rate, services=services))
    assert measured.counts["dead_letters"] == 0
    closed = measured.counts["observations"] / (services * SERIES_A_SERVICE)
    assert windows - 1.5 < closed < windows + 0.5
    assert measured.counts["detect_snapshot_bytes"] > 0
    assert measured.stages["ingest"] > 0


def test_runs_hold_every_event_of_a_partition_in_order() -> None:
    events = list(workload(12_000, 2))
    cut = list(runs("raw", 2, events))
    for partition in (0, 1):
        mine = [run for run in cut if run.partition == partition]
        offsets = [offset for run in mine for offset in run.offsets]
        assert offsets == list(range(len(offsets)))
        values = [value for run in mine for value in run.values]
        assert values == [event.value for event in events if event.partition == partition]


@pytest.mark.slow
def test_it_measures_every_point_in_a_process_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scale.json"
    assert main(series=[100, 400], partitions=[1, 8], least_events=3_000, json=file) == 0
    result = json.loads(file.read_text())
    assert [point["partitions"] for point in result["by_partitions"]] == [1, 8]
    for point in result["by_series"] + result["by_partitions"]:
        assert point["cost"] == pytest.approx(sum(point["costs"].values()), abs=0.01)
        assert point["observations"] > 0
        assert point["peak_rss_mb"] > 10
        assert point["events"] >= EVENTS_A_SERIES_AND_WINDOW * point["series"]
    assert result["spread_by_series"] >= 1
    assert "dearest to cheapest" in capsys.readouterr().out
