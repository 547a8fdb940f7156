"""Whatever a command prints, what telemetry and people wrote does not steer the terminal."""

import pytest
from rich.markup import escape
from rich.table import Table

from deploy.console import new_console, put

HOSTILE = "\x1b[2J\x1b[31mfake\u202e [bold]boom[/]\x9b"


def test_neither_text_nor_tables_nor_plain_lines_carry_escapes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console, table = new_console(), Table("what")
    table.add_row(escape(HOSTILE))
    console.print(f"[red]mend[/] {escape(HOSTILE)}", soft_wrap=True)
    console.print(table)
    put(HOSTILE)
    put(HOSTILE)
    printed = capsys.readouterr().out
    assert printed.count("\ufffd[2J\ufffd[31mfake\ufffd [bold]boom[/]\ufffd") == 4
    assert not set("\x1b\u202e\x9b") & set(printed)


def test_the_colours_of_commands_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    new_console().print("[red]mend[/] \x1b[2J")
    printed = capsys.readouterr().out
    assert "\x1b[31mmend" in printed
    assert "\x1b[2J" not in printed
