"""`tocsin replay` writes one line an incident, and `tocsin explain` tells its story."""

from pathlib import Path

import msgspec
import pytest

from deploy.commands.explain import run_explain
from deploy.commands.replay import run_replay
from deploy.demo import CONFIG, RECORDING
from schemas.incidents import Incident

FILES = sorted(RECORDING.glob("*.jsonl.gz"))


def replay(folder: Path, name: str = "incidents.jsonl", files: list[Path] = FILES) -> int:
    return run_replay(
        files,
        config=CONFIG,
        calls=RECORDING / "calls.csv",
        json=folder / name,
        events=folder / "log.jsonl",
        faults=RECORDING / "faults.csv",
    )


def test_the_file_has_the_fields_of_the_incident_topic_and_is_the_same_every_time(
    tmp_path: Path,
) -> None:
    assert replay(tmp_path) == replay(tmp_path, "again.jsonl") == 0
    once = (tmp_path / "incidents.jsonl").read_bytes()
    assert once == (tmp_path / "again.jsonl").read_bytes()
    incidents = [msgspec.json.decode(line, type=Incident) for line in once.splitlines()]
    assert incidents
    for incident in incidents:
        assert incident.first_anomaly_ms < incident.opened_ms
        # Affected are only those that surely are; a suspect may have shown no more than a sign.
        assert set(incident.suspected_causes) <= {signal.service for signal in incident.signals}
        assert incident.signals
        assert incident.severity in {"P1", "P2", "P3", "P4"}


def test_the_story_of_an_incident_says_why_how_bad_and_when(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay(tmp_path)
    line = (tmp_path / "incidents.jsonl").read_bytes().splitlines()[0]
    incident = msgspec.json.decode(line, type=Incident)
    capsys.readouterr()
    assert run_explain(incident.id, config=None, log=tmp_path / "log.jsonl") == 0
    story = capsys.readouterr().out
    for part in ("Why it was opened", f"Why it is {incident.severity}", "Suspected", "Timeline"):
        assert part in story


def test_an_unknown_incident_is_answered_with_those_that_are_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay(tmp_path)
    capsys.readouterr()
    assert run_explain("INC-NOWHERE", config=None, log=tmp_path / "log.jsonl") == 1
    assert "holds no incident INC-NOWHERE; it holds INC-" in capsys.readouterr().err


def test_a_case_store_that_does_not_answer_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_CASE_STORE_PUBLIC_URL", "http://127.0.0.1:1")
    assert run_explain("INC-NOWHERE", config=None, log=None) == 1
    assert "the case store does not answer at http://127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), ("who,whom\na,b\n", "the first line must be caller,callee")],
)
def test_calls_that_cannot_be_read_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    calls = tmp_path / "calls.csv"
    if content is not None:
        calls.write_text(content)
    arguments = {"config": None, "json": None, "events": None, "faults": None}
    assert run_replay(FILES, calls=calls, **arguments) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(tmp_path, files=[tmp_path / "nowhere.jsonl"]) == 2
    assert "nowhere.jsonl" in capsys.readouterr().err
