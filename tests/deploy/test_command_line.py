"""What every command says where a file that it is given cannot be read or written."""

import sys
from pathlib import Path

import pytest

from deploy.cli import main


@pytest.mark.parametrize(
    "command",
    [
        "replay nowhere.jsonl",
        "replay --calls nowhere.csv empty.jsonl",
        "replay --faults nowhere.csv empty.jsonl",
        "replay --diff nowhere.yaml empty.jsonl",
        "preview --from nowhere.jsonl",
        "bench outlook nowhere.jsonl",
        "bench faults nowhere",
        "bench feedback nowhere",
        "bench nab --data nowhere",
        "check -c nowhere.yaml",
        "route services=cart -c nowhere.yaml",
    ],
)
def test_a_missing_file_is_named_in_one_line(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.jsonl").touch()
    assert run(command, monkeypatch) == 2
    said = capsys.readouterr().err
    assert "nowhere" in said
    assert "Errno" not in said
    assert len(said.splitlines()) == 1


def test_a_result_that_cannot_be_written_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.jsonl").touch()
    assert run("replay empty.jsonl --json no/folder.json", monkeypatch) == 2
    assert capsys.readouterr().err == "tocsin: no/folder.json: No such file or directory\n"


def test_an_error_that_names_no_file_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> int:
        raise OSError("something of ours")

    monkeypatch.setattr("deploy.commands.replay.run_replay", broken)
    with pytest.raises(OSError, match="something of ours"):
        run("replay x.jsonl", monkeypatch)


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of the console script."""
    monkeypatch.setattr(sys, "argv", ["tocsin", *command.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code
