"""Small things said the same way everywhere on the command line."""

from datetime import UTC, datetime

from rich.console import Console

PIPE_WIDTH = 120
"""Columns where there is no terminal to ask: wide enough for tables that a person greps."""


def new_console() -> Console:
    """Where commands print; as wide as the terminal, or readable where there is none."""
    to_terminal = Console()
    return to_terminal if to_terminal.is_terminal else Console(width=PIPE_WIDTH)


def clock(time_ms: int) -> str:
    """Time of day, UTC, of an event time."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%H:%M:%S")


def stamp(time_ms: int) -> str:
    """Date and time, UTC, of an event time."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
