"""The real worker, measured from its first record to its last window."""

import asyncio
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Histogram

from deploy.bench.task import (
    SHARDS,
    BenchError,
    Measured,
    Stopwatch,
    Task,
    configuration,
    peak_rss_mb,
)
from streams.shell import metrics
from streams.shell.worker import Worker

_POLL_SECONDS: Final = 0.02


async def worker(task: Task) -> Measured:
    """The real worker, from its first record until detection has seen every closed window."""
    settings = configuration(task)
    running, stop = Worker(settings), asyncio.Event()
    working = asyncio.create_task(running.run(stop), name="worker")
    try:
        async with asyncio.timeout(task.timeout_seconds):
            # One counter each: to look at all of them so often would be a part of what is measured.
            raw = metrics.EVENTS.labels(task.topic)
            observations = metrics.EVENTS.labels(settings.topics.observations)
            await _until(lambda: running.ready() or _sum(raw) > 0, working)
            watch = Stopwatch()
            await _until(lambda: _sum(raw) >= task.events, working)
            said = _sum(metrics.WINDOWS_CLOSED) * SHARDS
            await _until(lambda: _sum(observations) >= said, working)
            seconds, cpu = watch.read()
    except TimeoutError:
        done = _sum(metrics.EVENTS.labels(task.topic))
        raise BenchError(
            f"the worker did {done} of {task.events} in {task.timeout_seconds} s"
        ) from None
    finally:
        stop.set()
    await working
    return Measured(
        kind="worker",
        events=task.events,
        seconds=seconds,
        cpu_seconds=cpu,
        peak_rss_mb=peak_rss_mb(),
        stages={
            name: _seconds(metrics.STAGE_SECONDS, name) for name in ("ingest", "detect", "incident")
        },
        counts={
            "windows": _sum(metrics.WINDOWS_CLOSED),
            "anomalies": _sum(metrics.ANOMALIES),
            "incidents": _sum(metrics.INCIDENTS),
            "dead_letters": _sum(metrics.DEAD_LETTERS),
        },
    )


async def _until(condition: Callable[[], bool], working: "asyncio.Task[None]") -> None:
    """Looks at a counter from time to time; raises what ended the worker, if it ends first."""
    while not condition():
        if working.done():
            working.result()
            raise BenchError("the worker ended before the records did")
        await asyncio.sleep(_POLL_SECONDS)


def _sum(counter: Counter) -> int:
    samples = [sample for metric in counter.collect() for sample in metric.samples]
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))


def _seconds(histogram: Histogram, stage: str) -> float:
    samples = [sample for metric in histogram.collect() for sample in metric.samples]
    return sum(
        sample.value
        for sample in samples
        if sample.name.endswith("_sum") and sample.labels.get("stage") == stage
    )
