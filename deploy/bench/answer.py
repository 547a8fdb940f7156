"""How a benchmark ends: with a table and a file for scripts, or with why it could not measure."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from deploy.bench.task import BenchError
from deploy.brokers.apache import ApacheKafkaError
from deploy.brokers.mock import MockBrokerError
from deploy.topics import TopicsError

R = TypeVar("R")


def answer(
    run: Callable[[Console], R],
    table: Callable[[R], Table],
    json: Path | None,
    *,
    remark: Callable[[R], str | None] = lambda _: None,
) -> int:
    """Runs, prints the table and writes `json`. Returns 0, or 1 where it could not measure.

    `run` is given where to say how far it is; a `remark` on the result goes there, too.
    """
    console = Console(stderr=True)
    try:
        result = run(console)
    except (BenchError, ApacheKafkaError, MockBrokerError, TopicsError) as error:
        console.print(f"[red]not measured:[/] {error}")
        return 1
    Console().print(table(result))
    if (said := remark(result)) is not None:
        console.print(said)
    write_json(json, result)
    return 0


def write_json(path: Path | None, result: object) -> None:
    """Writes a result for scripts, if it is wanted anywhere. Raises OSError."""
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
