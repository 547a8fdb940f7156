"""Runs measured processes, each fresh."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from deploy.bench.task import BenchError, Measured, Task


def measure(task: Task, folder: Path) -> Measured:
    """Runs a task in a fresh process. Raises `BenchError` with what it said last."""
    command = [sys.executable, "-m", "deploy.bench.measure", msgspec.json.encode(task).decode()]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise BenchError(f"{task.kind} ended with {done.returncode}: {last}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)


def processors() -> tuple[int | None, frozenset[int] | None]:
    """One for what is measured, the others for the broker; None where they cannot be told apart."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    mine = sorted(os.sched_getaffinity(0))
    return mine[-1], frozenset(mine[:-1]) or None
