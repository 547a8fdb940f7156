"""`tocsin bench outlook` judges guesses by incidents whose end is known."""

from pathlib import Path

import msgspec
import pytest

from deploy.bench.outlook import Report, run_outlook
from tests.sinks import examples


def write_log(path: Path, count: int) -> Path:
    """A log with CPU faults of an hour and network faults of five minutes in turn."""
    lines = []
    for number in range(count):
        kind = examples.cpu_incident if number % 2 else examples.network_incident
        lasts_ms = 3_600_000 if number % 2 else 300_000
        opened = kind(id=f"INC-{number}", category="capacity" if number % 2 else "network")
        ended = msgspec.structs.replace(
            opened,
            state="resolved",
            version=2,
            last_anomaly_ms=opened.first_anomaly_ms + lasts_ms,
        )
        lines += [examples.event(opened, "opened"), examples.event(ended, "resolved")]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def test_what_is_learned_is_better_than_the_plainest_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    assert run_outlook([write_log(tmp_path / "log.jsonl", 60)], least=20, json=out) == 0
    report = msgspec.json.decode(out.read_bytes(), type=Report)
    learned, plain = report.learned, report.plain
    assert (report.closed_incidents, learned.examples, plain.examples) == (60, 40, 40)
    assert learned.category_right == 1.0
    assert plain.category_right is not None and plain.category_right <= 0.6
    assert learned.off_by is not None and plain.off_by is not None
    assert learned.off_by < plain.off_by
    assert "60 closed incidents, 40 of them guessed" in capsys.readouterr().out


def test_only_what_had_ended_when_it_opened_tells_of_an_incident(tmp_path: Path) -> None:
    log, out = write_log(tmp_path / "log.jsonl", 60), tmp_path / "report.json"
    lines = log.read_bytes().splitlines(keepends=True)
    # The first fifty are open at once, the last ten one after the other.
    log.write_bytes(b"".join([*lines[0:100:2], *lines[1:100:2], *lines[100:]]))
    assert run_outlook([log], least=20, json=out) == 0
    report = msgspec.json.decode(out.read_bytes(), type=Report)
    assert (report.closed_incidents, report.learned.examples, report.plain.examples) == (60, 10, 10)
    assert report.learned.category_right == 1.0


def test_nothing_is_guessed_from_too_few(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_outlook([write_log(tmp_path / "log.jsonl", 10)], least=20, json=None) == 0
    assert "nothing is guessed from fewer than 20" in capsys.readouterr().out


def test_what_is_no_log_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_log(tmp_path / "log.jsonl", 1)
    log.write_bytes(log.read_bytes() + b"{}\n")
    assert run_outlook([log], least=20, json=None) == 2
    assert "log.jsonl:3: no incident event" in capsys.readouterr().err
