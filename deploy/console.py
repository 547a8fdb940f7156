"""The console that every command prints on, and how plain text is printed."""

import sys
from typing import TextIO

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from schemas.printable import printable

PIPE_WIDTH = 120
"""Columns where there is no terminal to ask: wide enough for tables that a person greps."""


def new_console() -> Console:
    """Where commands print; as wide as the terminal, or readable where there is none.

    What telemetry and people wrote cannot steer the terminal, wherever in a table it stands.
    """
    to_terminal = Console()
    console = to_terminal if to_terminal.is_terminal else Console(width=PIPE_WIDTH)
    console.push_render_hook(_Cleaning())
    return console


def put(text: str, file: TextIO | None = None) -> None:
    """Prints text as it is, save what would steer the terminal; on standard output by default."""
    print(printable(text), file=file or sys.stdout)


class _Cleaning(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Clean(each) for each in renderables]


class _Clean:
    """What another renders, its text printable; the colours are apart from the text."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)
