"""`tocsin simulate`: the whole pipeline in one process, with all that can go wrong, by seed."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

from deploy.console import new_console
from deploy.simulation.plan import Plan, plan_of
from deploy.simulation.seeds import Failure, attempt, failures
from deploy.simulation.world import Ended


class FailedSeed(msgspec.Struct, frozen=True):
    """One seed that failed: how to see it again, and what did not hold."""

    seed: int
    command: str
    violations: tuple[str, ...]
    disturbances: tuple[str, ...]


class Simulated(msgspec.Struct, frozen=True):
    """What `--json` writes."""

    seeds: int
    failed: tuple[FailedSeed, ...]
    milliseconds_a_seed: float
    """Of processor time."""


def run_simulate(
    *, seed: int | None, seeds: str | None, without: Sequence[int], json: Path | None
) -> int:
    """Runs one seed or many; 1 if anything did not hold, 2 if the question makes no sense."""
    if (seed is None) == (seeds is None) or (without and seed is None):
        print("give --seed N, with --without if need be, or --seeds A..B", file=sys.stderr)
        return 2
    console = new_console()
    if seed is not None:
        return _one(console, plan_of(seed, frozenset(without)), json)
    numbers = _range(seeds or "")
    if numbers is None:
        print(f"--seeds {seeds}: write the first and the last one as 0..999", file=sys.stderr)
        return 2
    return _many(console, numbers, json)


def _range(text: str) -> range | None:
    first, dots, last = text.partition("..")
    if not (dots and first.isdecimal() and last.isdecimal()) or int(last) < int(first):
        return None
    return range(int(first), int(last) + 1)


def _one(console: Console, plan: Plan, json: Path | None) -> int:
    began = time.process_time()
    ended = attempt(plan)
    spent_ms = (time.process_time() - began) * 1000
    what = "whole pipeline" if plan.is_whole else "core"
    _say(console, f"seed {plan.seed}: story {plan.story}, {what}, {plan.workers} workers to begin")
    for number, disturbance in enumerate(plan.disturbances):
        left_out = "  (left out)" if number in plan.without else ""
        _say(console, f"{number:>4}  {disturbance}{left_out}")
    _say(
        console,
        f"{ended.seconds:.0f} s simulated, {ended.lives} lives of processes, "
        f"{ended.generations} assignments of partitions",
    )
    failed = [Failure(plan, ended)] if ended.violations else []
    for violation in ended.violations:
        _say(console, f"does not hold: {violation}")
    return _result(console, 1, failed, spent_ms, json)


def _many(console: Console, numbers: range, json: Path | None) -> int:
    began = time.process_time()
    failed = []
    with Progress(console=console, transient=True) as progress:
        for failure in progress.track(failures(numbers), total=len(numbers), description="seeds"):
            if failure is not None:
                failed.append(failure)
                _say(console, str(failure))
    spent_ms = (time.process_time() - began) * 1000
    return _result(console, len(numbers), failed, spent_ms, json)


def _result(
    console: Console, seeds: int, failed: Sequence[Failure], spent_ms: float, json: Path | None
) -> int:
    result = Simulated(seeds, tuple(map(_failed, failed)), round(spent_ms / seeds, 1))
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    _say(
        console,
        f"{seeds - len(failed)} of {seeds} seeds exact, {result.milliseconds_a_seed} ms of "
        "processor each",
    )
    return 1 if failed else 0


def _failed(failure: Failure) -> FailedSeed:
    ended: Ended = failure.ended
    disturbances = tuple(map(str, failure.plan.active))
    return FailedSeed(failure.plan.seed, failure.command, ended.violations, disturbances)


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
