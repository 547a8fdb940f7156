"""The console that every command prints on."""

from rich.console import Console

PIPE_WIDTH = 120
"""Columns where there is no terminal to ask: wide enough for tables that a person greps."""


def new_console() -> Console:
    """Where commands print; as wide as the terminal, or readable where there is none."""
    to_terminal = Console()
    return to_terminal if to_terminal.is_terminal else Console(width=PIPE_WIDTH)
