"""Other engines do the same job on the same records, and say what they took."""

import json
from pathlib import Path

import pytest

from deploy.bench.peer_table import main
from deploy.bench.peers.job import add, series_of
from deploy.bench.workload import workload


def test_every_kind_of_event_has_a_series_and_a_value() -> None:
    found = [series_of(json.loads(event.value)) for event in workload(2_000, 1)]
    kinds = {series.partition("/")[0] for series, _ in found}
    assert {"duration", "log", "process_cpu_usage_ratio"} <= kinds
    assert all(isinstance(value, float) for _, value in found)


def test_sums_hold_count_sum_least_and_greatest() -> None:
    held = None
    for value in (2.0, 1.0, 4.0):
        held = add(held, value)
    assert held == [3, 7.0, 1.0, 4.0]


@pytest.mark.slow
@pytest.mark.kafka
def test_engines_that_are_installed_are_measured_and_the_others_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "peers.json"
    assert main(events=3_000, python=tmp_path / "none", json=file) == 0
    result = json.loads(file.read_text())
    assert set(result["events_per_second"]) == {"bare", "tocsin", "faust"}
    assert result["missing"] == ["quixstreams", "bytewax", "pathway"]
    assert all(rate > 0 for rate in result["events_per_second"].values())
    assert result["engines"]["faust"]["guarantee"].startswith("at least once")
    said = capsys.readouterr()
    assert "after a crash" in said.out
    assert "make peers" in said.err
