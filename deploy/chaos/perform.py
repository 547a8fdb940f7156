"""Lets a stream through the processes, disturbs them meanwhile, and waits until all is done."""

import heapq
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from typing import Final

from deploy.chaos.look import Look, Looker
from deploy.chaos.plan import SLOW_SECONDS, Kind, Step, lasts_seconds
from deploy.chaos.stage import ChaosError, Stage
from deploy.chaos.stream import Feeder, RawRecord

TURN_SECONDS: Final = 0.05
START_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 150.0
"""How long after stream and disturbances everything may take to be done."""
QUIET_SECONDS: Final = 2.0
"""How long everything must stay done."""


Tell = Callable[[str, float], None]
"""Says what happens, and how much of the disturbances is over."""


@dataclass
class Done:
    """A disturbance that was made: when it was over, and when everybody had read what there was
    then. Times are of a monotonic clock; `recovered_at` is None where that was never seen."""

    step: Step
    over_at: float
    recovered_at: float | None = None

    @property
    def recovery_seconds(self) -> float | None:
        """From the disturbance's end on."""
        return None if self.recovered_at is None else self.recovered_at - self.over_at


@dataclass(frozen=True)
class Performance:
    """What happened in a run. `left` says what was not done in the end; nothing, if all was.
    `crashes` are the exit codes of processes that ended by themselves."""

    done: list[Done]
    seconds: float
    left: str
    crashes: dict[str, list[int]]


def tell_nobody(_text: str, _share: float) -> None:
    """For runs that nobody watches."""


def perform(
    stage: Stage,
    records: Sequence[RawRecord],
    steps: Sequence[Step] = (),
    tell: Tell = tell_nobody,
) -> Performance:
    """Feeds the records for as long as the steps take, or at full speed if there are none.

    Raises `ChaosError` if the stream cannot be written, or nothing starts.
    """
    looker = Looker(stage)
    seconds = lasts_seconds(steps) * 1.05
    feeder = Feeder(records, stage.raw_topic, stage.servers, seconds)
    looker.start()
    try:
        _wait_for_all(stage)
        started = time.monotonic()
        feeder.start()
        done = _disturb(stage, steps, feeder, started, tell)
        left = _settle(stage, feeder, looker, tell)
        finished = time.monotonic()
    finally:
        feeder.stop()
        looker.stop()
    _add_recoveries(done, looker.looks)
    return Performance(done, finished - started, left, stage.parts.exits())


def _wait_for_all(stage: Stage) -> None:
    """Until every sink has made its store, and so is about to read."""
    deadline = time.monotonic() + START_SECONDS
    while not all(stage.store(sink).exists() for sink in stage.sinks):
        if time.monotonic() > deadline:
            raise ChaosError(f"not everything starts; the logs are in {stage.folder}")
        stage.parts.tend()
        time.sleep(TURN_SECONDS)


def _disturb(
    stage: Stage,
    steps: Sequence[Step],
    feeder: Feeder,
    started: float,
    tell: Tell,
) -> list[Done]:
    done: list[Done] = []
    working: list[tuple[Step, Future[None]]] = []
    order = count()
    due = [(step.at_seconds, next(order), step, True) for step in steps]
    heapq.heapify(due)
    while due or not all(work.done() for _, work in working):
        _turn(stage, feeder)
        now = time.monotonic() - started
        while due and due[0][0] <= now:
            _, _, step, begins = heapq.heappop(due)
            if begins:
                tell(str(step), now / max(1.0, lasts_seconds(steps)))
                work = _BEGIN[step.kind](stage, step)
                if work is not None:
                    working.append((step, work))
                    continue
                if step.seconds:
                    heapq.heappush(due, (now + step.seconds, next(order), step, False))
                    continue
            else:
                _END[step.kind](stage, step)
            done.append(Done(step, time.monotonic()))
        for pair in [pair for pair in working if pair[1].done()]:
            working.remove(pair)
            pair[1].result()
            done.append(Done(pair[0], time.monotonic()))
    return done


def _settle(stage: Stage, feeder: Feeder, looker: Looker, tell: Tell) -> str:
    """Waits until all is done and stays so; returns what is not."""
    tell("waiting until everything is done", 1.0)
    deadline, quiet_since = 0.0, 0.0
    ends: object = None
    while True:
        _turn(stage, feeder)
        now = time.monotonic()
        if not feeder.finished:
            continue
        deadline = deadline or now + SETTLE_SECONDS
        look = looker.looks[-1] if looker.looks else None
        fresh = look is not None and now - look.at < 5
        if look is None or not fresh or not look.is_done() or look.ends != ends:
            quiet_since, ends = now, look.ends if look else None
        elif now - quiet_since >= QUIET_SECONDS:
            return ""
        if now > deadline:
            return _said(look)


def _said(look: Look | None) -> str:
    if look is None:
        return "the broker did not answer"
    places = [f"{g} of {t}/{p}: {n}" for (g, t, p), n in sorted(look.behind().items())]
    return "; ".join([*places, f"{look.unsent} not sent"])


def _turn(stage: Stage, feeder: Feeder) -> None:
    stage.parts.tend()
    if feeder.failure is not None:
        raise ChaosError(f"the stream was not written: {feeder.failure}")
    time.sleep(TURN_SECONDS)


def _add_recoveries(done: Sequence[Done], looks: Sequence[Look]) -> None:
    for each in done:
        later = [look for look in looks if look.at >= each.over_at]
        if each.step.kind == "receiver-down":
            passed = (look for look in later if not look.unsent)
        else:
            passed = (look for look in later if look.has_passed(later[0]))
        first = next(passed, None)
        each.recovered_at = first.at if first else None


# what each kind does; only what takes long gives something to wait for


def _signal(number: int) -> Callable[[Stage, Step], None]:
    return lambda stage, step: stage.parts.signal(step.target, number)


def _leave(number: int) -> Callable[[Stage, Step], None]:
    return lambda stage, step: stage.parts.leave(step.target, number)


def _nothing(_stage: Stage, _step: Step) -> None:
    """It is over by itself."""


_Begin = Callable[[Stage, Step], Future[None] | None]

_BEGIN: Final[dict[Kind, _Begin]] = {
    "kill-worker": _signal(signal.SIGKILL),
    "stop-worker": _signal(signal.SIGTERM),
    "freeze-worker": _signal(signal.SIGSTOP),
    "join": lambda stage, step: stage.parts.start(step.target),
    "leave": _leave(signal.SIGTERM),
    "crash": _leave(signal.SIGKILL),
    "kill-sink": _signal(signal.SIGKILL),
    "stop-sink": _signal(signal.SIGTERM),
    "disk-full": lambda stage, step: stage.parts.fill_disk(step.target, full=True),
    "receiver-down": lambda stage, _: stage.receiver.down(),
    "broker-restart": lambda stage, _: stage.restart_broker(kill=False),
    "broker-kill": lambda stage, _: stage.restart_broker(kill=True),
    "broker-slow": lambda stage, _: stage.proxy.delay(SLOW_SECONDS),
    "broker-away": lambda stage, _: stage.proxy.cut(),
}
_END: Final[dict[Kind, Callable[[Stage, Step], None]]] = {
    **dict.fromkeys(_BEGIN, _nothing),
    "freeze-worker": _signal(signal.SIGCONT),
    "disk-full": lambda stage, step: stage.parts.fill_disk(step.target, full=False),
    "receiver-down": lambda stage, _: stage.receiver.up(),
    "broker-slow": lambda stage, _: stage.proxy.delay(0),
    "broker-away": lambda stage, _: stage.proxy.mend(),
}
