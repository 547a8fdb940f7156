"""`tocsin replay --diff` says what another configuration would have done."""

from pathlib import Path

import msgspec
import pytest

from deploy.commands.difference import Comparison, run_difference
from deploy.demo import CONFIG, RECORDING

FILES = sorted(RECORDING.glob("*.jsonl.gz"))


def difference(folder: Path, new: Path) -> int:
    return run_difference(
        FILES, new=new, old=CONFIG, calls=RECORDING / "calls.csv", json=folder / "diff.json"
    )


def test_a_higher_bar_and_other_routes_show_as_differences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(
        "detection: {threshold: 100}\n"
        "notifier:\n"
        "  recipients: [{name: ada, channel: console}]\n"
        "  routes: [{name: mine, recipients: [ada]}]\n",
        encoding="utf-8",
    )
    assert difference(tmp_path, new) == 0
    result = msgspec.json.decode((tmp_path / "diff.json").read_bytes(), type=Comparison)
    assert result.old_incidents > result.new_incidents
    only_old = [d for d in result.differences if d.what == "opened_only_by_old"]
    assert len(only_old) >= result.old_incidents - result.new_incidents
    printed = capsys.readouterr().out
    assert "opened by the old one only" in printed
    assert f"{result.old_incidents} incidents before, {result.new_incidents} after" in printed


def test_the_same_configuration_makes_no_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert difference(tmp_path, CONFIG) == 0
    assert capsys.readouterr().out.startswith("no difference: the same ")


def test_a_recording_that_is_not_there_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [tmp_path / "missing.jsonl"]
    assert run_difference(missing, new=CONFIG, old=CONFIG, calls=None, json=None) == 2
    assert "missing.jsonl" in capsys.readouterr().err
