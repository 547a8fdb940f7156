"""A measured process of `tocsin bench`, run fresh: the loader, reference, worker or pure core.

Started as `python -m deploy.bench.measure` with a `Task` as JSON; the last line that it prints is
a `Measured` as JSON.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import uvloop

from deploy.bench.task import Measured, Task


def measure(task: Task) -> Measured:
    """Runs one task in this process, on its one processor. Raises `BenchError`.

    Each loads only what it needs, so that none pays in memory for the others.
    """
    if task.cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {task.cpu})
    match task.kind:
        case "load":
            from deploy.bench.loading import load  # noqa: PLC0415

            return load(task)
        case "core":
            from deploy.bench.core import core  # noqa: PLC0415

            return core(task)
        case "bare":
            from deploy.bench.reference import bare  # noqa: PLC0415

            body: Callable[[Task], Any] = bare
        case "worker":
            from deploy.bench.measured_worker import worker  # noqa: PLC0415

            body = worker
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured: Measured = runner.run(body(task))
    return measured


def main() -> int:
    """One task, as JSON in the only argument."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    if task.profile:
        import cProfile  # noqa: PLC0415

        profiler = cProfile.Profile()
        measured = profiler.runcall(measure, task)
        profiler.dump_stats(task.profile)
    else:
        measured = measure(task)
    print(msgspec.json.encode(measured).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
