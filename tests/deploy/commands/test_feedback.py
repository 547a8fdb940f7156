"""`tocsin feedback`: what it sends, and what it takes for neither."""

from typing import Any

import pytest

from deploy.cli import app
from deploy.commands import feedback
from deploy.commands.feedback import past
from schemas.incidents import Command

NOW_MS = 1_764_000_000_000


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What goes to the commands topic, instead of to Kafka."""
    commands: list[Any] = []

    def give(kind: str, incident: str, **_: object) -> int:
        commands.append((kind, incident))
        return 0

    monkeypatch.setattr(feedback, "send", lambda _, command: commands.append(command))
    monkeypatch.setattr(feedback, "give", give)
    return commands


def run(*words: str) -> int:
    return int(app(["feedback", *words], result_action="return_value") or 0)


def test_a_false_alarm_is_a_command_to_its_incident(sent: list[Any]) -> None:
    assert run("INC-1", "a load test", "--not-an-incident") == 0
    assert sent == [("not_an_incident", "INC-1")]


def test_something_missed_names_service_and_time(
    sent: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("--missed", "cart", "--from", "2026-01-24T18:00+01:00", "--to", "2026-01-24T17:20Z")
    assert code == 0
    (command,) = sent
    assert isinstance(command, Command)
    assert (command.type, command.service, command.incident_id) == ("missed", "cart", "")
    assert (command.to_ms or 0) - (command.from_ms or 0) == 20 * 60_000
    assert "trouble of cart from 2026-01-24 17:00:00 to" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("INC-1",),
        ("INC-1", "--not-an-incident", "--missed", "cart"),
        ("--missed", "cart"),
        ("--missed", "cart", "--from", "yesterday"),
        ("--missed", "cart", "--from", "1h", "--to", "2h"),
        ("--missed", "cart", "--from", "1h", "--to", "2999-01-01T00:00Z"),
    ],
)
def test_what_is_neither_is_refused_and_nothing_is_sent(
    words: tuple[str, ...], sent: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    assert sent == []
    assert capsys.readouterr().err.startswith("tocsin feedback: ")


def test_spans_are_ago_and_times_are_what_they_are() -> None:
    assert past("1h30m", NOW_MS) == NOW_MS - 5_400_000
    assert past("2025-11-24T16:00Z", NOW_MS) == NOW_MS
