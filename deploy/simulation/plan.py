"""What is in the way of a run: decided by its seed alone."""

import random
from dataclasses import dataclass, field

from deploy.simulation.story import LENGTH_MS, STORIES

MOST_STEPS = 1_500
"""A worker does about so many steps in a run."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that happens at a second of the run, for so long."""

    kind: str
    at_seconds: float
    seconds: float = 0.0
    whom: str = ""
    step: int = 0

    def __str__(self) -> str:
        parts = [f"{self.at_seconds:.1f} s: {self.kind}", self.whom]
        parts.append(f"for {self.seconds:.1f} s" if self.seconds else "")
        parts.append(f"at its step {self.step}" if self.step else "")
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a run that its seed decides beside the delays."""

    seed: int
    story: int
    workers: int
    is_whole: bool
    """Whether the sinks are there; else the core alone."""
    disturbances: tuple[Disturbance, ...]
    without: frozenset[int] = field(default_factory=frozenset)

    @property
    def active(self) -> tuple[Disturbance, ...]:
        """Those that happen."""
        return tuple(d for i, d in enumerate(self.disturbances) if i not in self.without)


def plan_of(seed: int, without: frozenset[int] = frozenset()) -> Plan:
    """The same plan for the same seed; `without` some of its disturbances, by number."""
    chance = random.Random(f"plan {seed}")  # noqa: S311
    workers = chance.choice((1, 2, 2, 3))
    is_whole = chance.random() < WHOLE_SHARE
    made = [_of_workers(chance, workers) for _ in range(chance.randint(1, 4))]
    made += [_of_broker(chance) for _ in range(chance.choice((0, 1, 1, 2)))]
    if is_whole:
        made += [_of_sinks(chance) for _ in range(chance.randint(1, 4))]
    made.sort(key=lambda d: (d.at_seconds, d.kind, d.whom))
    return Plan(seed, seed % STORIES, workers, is_whole, tuple(made), without)


WHOLE_SHARE = 0.2
SINKS = ("notifier", "case-store", "status-page")
RECEIVERS = ("pager", "desk")


def _moment(chance: random.Random) -> float:
    return round(chance.uniform(0.5, LENGTH_MS / 1000 + 5), 1)


def _of_workers(chance: random.Random, workers: int) -> Disturbance:
    kind = chance.choice(("kill", "kill", "kill", "stop", "freeze", "rebalance", "join"))
    whom = f"worker {chance.randrange(workers)}"
    if kind == "kill":
        # At whatever it does next, or after some more steps.
        step = chance.choice((1, chance.randint(1, 30), chance.randint(1, MOST_STEPS // 5)))
        return Disturbance(kind, _moment(chance), whom=whom, step=step)
    if kind == "freeze":
        return Disturbance(kind, _moment(chance), chance.choice((0.5, 3.0, 11.0)), whom)
    if kind in ("rebalance", "join"):
        return Disturbance(kind, _moment(chance), whom="the group")
    return Disturbance(kind, _moment(chance), whom=whom)


def _of_broker(chance: random.Random) -> Disturbance:
    kind = chance.choice(("away", "slow", "unsure"))
    seconds = {"away": (0.5, 4.0, 8.0), "slow": (5.0,), "unsure": (2.0,)}[kind]
    return Disturbance(kind, _moment(chance), chance.choice(seconds), "the broker")


def _of_sinks(chance: random.Random) -> Disturbance:
    kind = chance.choice(("kill", "kill", "stop", "rebalance", "full", "deaf", "deaf"))
    whom = chance.choice(SINKS)
    if kind == "kill":
        return Disturbance(kind, _moment(chance), whom=whom, step=chance.choice((1, 3, 9, 27, 60)))
    if kind == "full":
        return Disturbance(kind, _moment(chance), chance.choice((1.0, 5.0)), whom)
    if kind == "deaf":
        seconds = chance.choice((2.0, 15.0))
        return Disturbance(kind, _moment(chance), seconds, chance.choice(RECEIVERS))
    return Disturbance(kind, _moment(chance), whom=whom)
