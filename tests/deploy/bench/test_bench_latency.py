"""From a fault to the page, stage by stage, on the product's own processes."""

import json
from pathlib import Path

import pytest

from deploy.bench.latency import main
from deploy.bench.latency_result import AFTER_CLOSE, BOUNDS, bars, spread


def test_percentiles_are_of_the_nearest_rank_and_the_histogram_holds_every_value() -> None:
    found = spread([0.01 * n for n in range(1, 101)])
    assert (found.p50, found.p99, found.longest) == (0.5, 0.99, 1.0)
    assert sum(found.histogram) == 100
    assert found.histogram[BOUNDS.index(0.5)] == 30
    assert spread([40.0]).histogram[-1] == 1


def test_a_bar_is_there_for_every_cell_that_holds_anything() -> None:
    assert bars([0, 1, 100]) == " ▁█"
    assert bars([0, 0]) == "  "


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_every_fault_is_told_and_each_stage_is_timed(tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    assert main(faults=3, rate=1_000, json=file) == 0
    result = json.loads(file.read_text())
    assert (result["told"] + result["joined"], result["missed"]) == (3, [])
    assert result["told"] >= 1
    stages = result["stages"]
    assert all(stages[stage]["p50"] >= 0 for stage in AFTER_CLOSE)
    assert stages["fault to page"]["p50"] > stages["fault to incident"]["p50"]
    whole = stages["fault to incident"]["p50"] - stages["closed to incident"]["p50"]
    assert whole < 2 * result["window_seconds"] + result["allowed_lateness_seconds"]
