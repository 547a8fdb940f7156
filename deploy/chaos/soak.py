"""`tocsin chaos --soak`: many partitions, steady input, and a group that changes every minute."""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from deploy.bench.answer import write_json
from deploy.brokers.apache import ApacheKafkaError
from deploy.chaos.soak_account import Account
from deploy.chaos.soak_feed import SteadyFeed
from deploy.chaos.soak_plan import FREEZE_SECONDS, Step, plan
from deploy.chaos.soak_stage import SoakStage, soak_stage
from deploy.chaos.soak_watch import Life, Watch
from deploy.chaos.stage import ChaosError
from deploy.console import new_console
from deploy.topics import TopicsError

RATE: Final = 1_000.0
TURN_SECONDS: Final = 0.1
SETTLE_SECONDS: Final = 300.0
"""How long after the last event everything may take to be counted. A source's last window is
closed by its idleness."""
STILL_SECONDS: Final = 100.0
"""A partition that stands longer does not move: the watchdog has had its minute, and a worker the
time to begin anew."""
_EXAMPLES: Final = 8

Tell = Callable[[str], None]


class Order(NamedTuple):
    """What is to be soaked. `rate` is of events a second, over all partitions."""

    minutes: float
    partitions: int
    seed: int
    rate: float = RATE


class Threads(NamedTuple):
    """What goes on beside the workers."""

    feed: SteadyFeed
    account: Account
    watch: Watch


class Soaked(msgspec.Struct, frozen=True, kw_only=True):
    """The result. `exact`: every event that Kafka took is counted once, in its window.

    lost: counted in no window. late: refused as their windows were closed, which no event of this
    input should be. doubled: counted more than once. repeats: batches of a window that came again
    as they were, under their id, by which every consumer knows them. conflicts: under an id that
    was seen, with other content.
    """

    minutes: float
    partitions: int
    seed: int
    events: int
    lost: int
    doubled: int
    late: int
    refused: dict[str, int]
    repeats: int
    conflicts: int
    exact: bool
    changes: int
    rebalances: int
    longest_still_seconds: float
    stillest: str
    stalls: int
    restarts: dict[str, list[int]]
    lives: list[Life]
    unfinished: str
    examples: list[str]

    @property
    def good(self) -> bool:
        """Exact, with every partition moving and memory bounded."""
        return (
            self.exact
            and self.longest_still_seconds < STILL_SECONDS
            and not any(life.grows for life in self.lives)
        )


def main(order: Order, *, json: Path | None = None, keep: bool = False) -> int:
    """Runs and prints. Returns 0 if all is well, else 1. The folder with the logs is kept where
    it is not, or where `keep` says so."""
    console = new_console()
    folder = Path(tempfile.mkdtemp(prefix="tocsin-soak-"))
    is_good = False
    try:
        found = run(order, folder, _teller())
        is_good = found.good
    except (ChaosError, ApacheKafkaError, TopicsError) as error:
        print(f"tocsin chaos --soak: {error}\nthe logs are in {folder}", file=sys.stderr)
        return 1
    finally:
        if is_good and not keep:
            shutil.rmtree(folder, ignore_errors=True)
    _print(console, found)
    write_json(json, found)
    if keep or not is_good:
        console.print(f"logs: {folder}")
    return 0 if is_good else 1


def _teller() -> Tell:
    console, began = Console(stderr=True), time.monotonic()
    return lambda text: console.print(f"[dim]{time.monotonic() - began:6.0f} s[/]  {text}")


def run(order: Order, folder: Path, tell: Tell) -> Soaked:
    """A soak, in the folder. Raises `ChaosError`, `ApacheKafkaError` or `TopicsError`."""
    steps = plan(order.seed, order.minutes)
    with soak_stage(folder, order.partitions) as stage:
        threads = _threads(stage, order)
        for thread in threads:
            thread.start()
        try:
            _disturb(stage, steps, order.minutes * 60, threads, tell)
            threads.feed.stop()
            tell(f"{sum(threads.feed.sent.values()):,} events are sent; counting")
            unfinished = _settle(stage, threads)
        finally:
            for thread in threads:
                thread.stop()
        return _judged(order, len(steps), stage, threads, unfinished)


def _threads(stage: SoakStage, order: Order) -> Threads:
    confluent, configuration = stage.settings.confluent, stage.configuration
    window_ms = round(configuration.windows.window_seconds * 1000)
    feed = SteadyFeed(stage.servers, stage.raw_topic, order.partitions, order.rate, window_ms)
    watch = Watch(confluent, configuration, feed.ends, stage.pids)
    return Threads(feed, Account(confluent, configuration), watch)


def _disturb(
    stage: SoakStage,
    steps: Sequence[Step],
    seconds: float,
    threads: Threads,
    tell: Tell,
) -> None:
    began, due = time.monotonic(), list(steps)
    thaw: list[tuple[float, str]] = []
    while (now := time.monotonic() - began) < seconds or thaw:
        _turn(stage, threads)
        if due and due[0].at_seconds <= now:
            step = due.pop(0)
            tell(str(step))
            _do(stage, step)
            if step.kind == "freeze":
                thaw.append((now + FREEZE_SECONDS, step.target))
        while thaw and thaw[0][0] <= now:
            stage.parts.signal(thaw.pop(0)[1], signal.SIGCONT)


def _do(stage: SoakStage, step: Step) -> None:
    if step.kind == "join":
        stage.parts.start(step.target)
    elif step.kind == "freeze":
        stage.parts.signal(step.target, signal.SIGSTOP)
    else:
        stage.parts.leave(step.target, signal.SIGTERM if step.kind == "leave" else signal.SIGKILL)


def _turn(stage: SoakStage, threads: Threads) -> None:
    stage.parts.tend()
    for thread in (threads.feed, threads.account):
        if thread.failure is not None:
            raise ChaosError(f"{thread.name}: {thread.failure}")
    time.sleep(TURN_SECONDS)


def _settle(stage: SoakStage, threads: Threads) -> str:
    """Waits until every event is committed and accounted for; returns what is not."""
    deadline = time.monotonic() + SETTLE_SECONDS
    account, events = threads.account, sum(threads.feed.sent.values())
    while True:
        _turn(stage, threads)
        left = threads.watch.behind()
        found = sum(account.counted.copy().values()) + sum(account.refused.copy().values())
        if not left and found >= events:
            return ""
        if time.monotonic() > deadline:
            places = ", ".join(f"{source}: {n}" for source, n in sorted(left.items()))
            return f"{events - found} events are in no window; not committed: {places or 'none'}"


def _judged(
    order: Order, changes: int, stage: SoakStage, threads: Threads, unfinished: str
) -> Soaked:
    feed, account, watch = threads
    cells = sorted(feed.sent.keys() | account.counted.keys())
    missing = {cell: feed.sent[cell] - account.counted[cell] for cell in cells}
    refused = sum(account.refused.values())
    lost = sum(n for n in missing.values() if n > 0) - refused
    doubled = -sum(n for n in missing.values() if n < 0)
    different = [cell for cell, n in missing.items() if n]
    return Soaked(
        minutes=order.minutes,
        partitions=order.partitions,
        seed=order.seed,
        events=sum(feed.sent.values()),
        lost=lost,
        doubled=doubled,
        late=account.refused["late"],
        refused=dict(account.refused),
        repeats=account.repeats,
        conflicts=len(account.conflicts),
        exact=not (different or refused or account.conflicts or unfinished),
        changes=changes,
        rebalances=stage.said('"incident 0 (goes on|starts)'),
        longest_still_seconds=round(watch.longest_still_seconds, 1),
        stillest=watch.stillest,
        stalls=stage.stalls(),
        restarts=stage.parts.exits(),
        lives=watch.lives(),
        unfinished=unfinished,
        examples=[
            f"{source}, window to {end_ms}: {feed.sent[source, end_ms]} sent, "
            f"{account.counted[source, end_ms]} counted"
            for source, end_ms in different[:_EXAMPLES]
        ]
        + [f"other content: {batch}" for batch in account.conflicts[:_EXAMPLES]],
    )


def _print(console: Console, found: Soaked) -> None:
    shown = Table(title="Memory of each worker's process, MB", title_justify="left")
    shown.add_column("worker")
    for heading in ("minutes", "after 2 minutes", "peak", "last", "grows"):
        shown.add_column(heading, justify="right")
    for life in found.lives:
        grows = {None: "too short", True: "YES", False: "no"}[life.grows]
        sizes = (f"{mb:.0f}" for mb in (life.settled_mb, life.peak_mb, life.last_mb))
        shown.add_row(life.worker, f"{life.minutes:g}", *sizes, grows)
    console.print(shown)
    for example in found.examples:
        console.print(f"  {example}", markup=False, soft_wrap=True)
    if found.unfinished:
        console.print(f"  not done in the end: {found.unfinished}", markup=False)
    console.print(
        f"the longest that a partition stood still: {found.longest_still_seconds:g} s "
        f"({found.stillest}); the watchdog ended a worker {found.stalls} times; "
        f"ended by themselves: {found.restarts or 'none'}"
    )
    said = "exact" if found.exact else "NOT EXACT"
    console.print(
        f"{found.events:,} events over {found.partitions} partitions in {found.minutes:g} minutes, "
        f"{found.changes} changes of the group: {found.lost} lost, {found.doubled} doubled, "
        f"{found.late} late, {found.repeats} batches repeated, {found.conflicts} contradicted: "
        f"{said}"
    )
