"""Recorded systems are found in a folder, and issues are put behind their fault-free days."""

from pathlib import Path

import msgspec
import pytest

from deploy.bench.faults_recordings import RecordingError, recordings
from schemas.anomalies import Call
from schemas.times import DAY_MS

START = 1_692_608_400_000
HOUR = 3_600_000


def write(path: Path, *times_ms: int) -> None:
    lines = [
        msgspec.json.encode({"time": t, "service": "web", "metric": "depth", "value": 1})
        for t in times_ms
    ]
    path.write_bytes(b"\n".join(lines))


def issues(folder: Path, *, issue_ms: int) -> None:
    folder.mkdir()
    write(folder / "normal.jsonl", START, START + 2 * DAY_MS + HOUR)
    write(folder / "issue_0.jsonl", issue_ms, issue_ms + 1_200_000)
    (folder / "calls.csv").write_text("caller,callee\nweb,search\n")
    (folder / "issues.csv").write_text(
        "issue,noticed_at,symptom_service,symptom_metric,root_cause_service,root_cause_metric\n"
        "issue_0,2023-04-18T22:10:03Z,web,latency,search,\n"
    )


def times(lines: list[bytes]) -> list[int]:
    return [msgspec.json.decode(line)["time"] for line in lines]


def test_fault_free_days_move_by_whole_days_to_end_just_before_the_issue(tmp_path: Path) -> None:
    issue_ms = START - 100 * DAY_MS + 5 * HOUR
    issues(tmp_path / "low", issue_ms=issue_ms)
    normal, issue = recordings(tmp_path)
    assert (normal.name, normal.faults, normal.counts_false) == ("low/normal", (), True)
    first, last, *rest = times(list(issue.lines()))
    assert (START - first) % DAY_MS == 0
    assert 0 < issue_ms - last < DAY_MS
    assert last - first == 2 * DAY_MS + HOUR
    assert rest == [issue_ms, issue_ms + 1_200_000]


def test_an_issue_is_a_fault_of_its_root_cause_from_its_first_sample_on(tmp_path: Path) -> None:
    issues(tmp_path / "low", issue_ms=START)
    _, issue = recordings(tmp_path / "low")
    [fault] = issue.faults
    assert (fault.at_ms, fault.service, fault.kind) == (START, "search", "latency")
    assert issue.within_seconds == 1_500
    assert not issue.counts_false
    assert issue.calls == [Call("web", "search")]


def test_all_event_files_beside_a_list_of_faults_are_one_recording(tmp_path: Path) -> None:
    write(tmp_path / "events.jsonl", START, START + 2)
    write(tmp_path / "requests.jsonl", START + 1)
    (tmp_path / "faults.csv").write_text(
        "injected_at,service,kind\n2023-08-21T09:00:00Z,web,return\n"
    )
    [recording] = recordings(tmp_path)
    assert times(list(recording.lines())) == [START, START + 1, START + 2]
    assert [fault.service for fault in recording.faults] == ["web"]


def test_a_folder_that_is_no_recording_is_named_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no faults\.csv and no issues\.csv"):
        recordings(tmp_path)
    issues(tmp_path / "low", issue_ms=START)
    (tmp_path / "low" / "issue_0.jsonl").unlink()
    with pytest.raises(RecordingError, match=r"issue_0\.jsonl\.gz is missing"):
        recordings(tmp_path)


def test_a_list_of_issues_without_a_column_is_refused_by_name(tmp_path: Path) -> None:
    issues(tmp_path / "low", issue_ms=START)
    (tmp_path / "low" / "issues.csv").write_text("issue,noticed_at\nissue_0,now\n")
    with pytest.raises(RecordingError, match="root_cause_service"):
        recordings(tmp_path)
