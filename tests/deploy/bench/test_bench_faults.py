"""`tocsin bench faults` over the recording that ships with the demo."""

from pathlib import Path

import msgspec
import pytest

from deploy.bench.faults import main
from deploy.bench.faults_result import Faults

RECORDING = Path(__file__).parents[3] / "deploy" / "demo" / "recording"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Faults:
    file = tmp_path_factory.mktemp("faults") / "faults.json"
    assert main(RECORDING, json=file) == 0
    return msgspec.json.decode(file.read_bytes(), type=Faults)


def test_ours_finds_more_than_either_baseline_with_fewer_false_incidents(result: Faults) -> None:
    ours, *others = result.detection.values()
    assert [*result.detection] == ["tocsin", "three_sigma", "seasonal_bands"]
    for other in others:
        assert ours.detected >= other.detected
        assert ours.false_incidents <= other.false_incidents
    assert ours.one_incident_ratio == 1


def test_ours_ranks_the_culprit_better_than_either_baseline(result: Faults) -> None:
    ours = result.causes.pop("tocsin")
    assert {*result.causes} == {"robust_scaling", "random_walk"}
    assert ours.ac1 == 1
    assert all((other.ac1 or 0) < 1 for other in result.causes.values())


def test_each_detected_fault_says_by_which_signal_and_in_which_incidents(result: Faults) -> None:
    found = [fault for fault in result.faults if fault.detected]
    assert len(found) == result.detection["tocsin"].detected >= 4
    for fault in found:
        assert fault.signal is not None
        assert fault.incidents
        assert fault.suspected_causes[(fault.rank or 0) - 1] == fault.service


def test_the_totals_by_kind_add_up(result: Faults) -> None:
    assert sum(every for _, every in result.kinds.values()) == len(result.faults) == 5


def test_a_folder_without_faults_ends_with_two_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tmp_path) == 2
    said = capsys.readouterr().err
    assert said.startswith("tocsin bench faults: ")
    assert said.count("\n") == 1


def test_records_that_cannot_be_used_are_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faults.csv").write_text("injected_at,service,kind\n")
    (tmp_path / "events.jsonl").write_text('not json\n{"time": 1700000000000}\n')
    assert main(tmp_path, json=tmp_path / "out.json") == 0
    result = msgspec.json.decode((tmp_path / "out.json").read_bytes(), type=Faults)
    assert (result.records, result.dead_letters) == (2, 1)
    assert "1 of 2 records could not be used" in capsys.readouterr().out


def test_a_list_that_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faults.csv").write_text("injected_at,service,kind\nyesterday,web,return\n")
    assert main(tmp_path) == 2
    assert f"{tmp_path}: faults, line 2" in capsys.readouterr().err
