"""Which disturbances come when: drawn from a seed, and the same for the same seed."""

import random
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, get_args

Kind = Literal[
    "kill-worker",
    "stop-worker",
    "freeze-worker",
    "join",
    "leave",
    "crash",
    "kill-sink",
    "stop-sink",
    "disk-full",
    "receiver-down",
    "broker-restart",
    "broker-kill",
    "broker-slow",
    "broker-away",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

BROKER_KINDS: Final = frozenset[Kind](
    {"broker-restart", "broker-kill", "broker-slow", "broker-away"}
)
"""Only for a broker that was started here."""

WORKERS: Final = ("worker-0", "worker-1")
JOINER: Final = "worker-2"
SINKS: Final = ("notifier", "case-store", "status-page")

MEANING: Final[dict[Kind, str]] = {
    "kill-worker": "kill -9 of a worker",
    "stop-worker": "SIGTERM to a worker",
    "freeze-worker": "a worker stands still, longer than its session",
    "join": "a third worker joins",
    "leave": "the third worker leaves",
    "crash": "the third worker is killed and does not come back",
    "kill-sink": "kill -9 of a sink",
    "stop-sink": "SIGTERM to a sink",
    "disk-full": "a sink can write no file",
    "receiver-down": "the webhook's receiver answers nothing",
    "broker-restart": "the broker stops and starts again",
    "broker-kill": "kill -9 of the broker",
    "broker-slow": "everything from the broker comes 5 s late",
    "broker-away": "the broker cannot be reached",
}

_MEMBERSHIP: Final = frozenset[Kind]({"join", "leave", "crash"})
_PARTINGS: Final[tuple[Kind, ...]] = ("leave", "crash")
_USUAL_WEIGHT: Final = 3
_WEIGHTS: Final[dict[Kind, int]] = {
    "kill-worker": 12,
    "kill-sink": 9,
    "stop-worker": 5,
    "freeze-worker": 2,
    "broker-restart": 1,
    "broker-kill": 1,
    "broker-slow": 1,
    "broker-away": 1,
}
_LASTS_SECONDS: Final[dict[Kind, tuple[float, float]]] = {
    "freeze-worker": (8, 12),
    "disk-full": (3, 8),
    "receiver-down": (4, 12),
    "broker-slow": (6, 10),
}
SPACING_SECONDS: Final = (1.0, 5.5)
"""Between two disturbances: often less than it takes to recover."""

SLOW_SECONDS: Final = 5.0


class Step(NamedTuple):
    """One disturbance. It begins `at_seconds` after the stream and lasts `seconds`, or is over at
    once where that is 0. `target` is a process, or "" for what there is only one of."""

    at_seconds: float
    kind: Kind
    target: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at_seconds:6.1f} s  {self.kind} {self.target}".rstrip() + lasting


def plan(
    seed: int, steps: int, kinds: Sequence[Kind] = KINDS, away_seconds: float = 60
) -> list[Step]:
    """`steps` disturbances in order of time. Each kind is there at least once if there is room.

    A third worker that has joined leaves or crashes before one joins again. The broker is away
    once for `away_seconds`, and any further time for a tenth of it.
    """
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    made: list[Step] = []
    at_seconds, has_joined, was_away = 2.0, False, False
    for drawn in _drawn(chance, steps, kinds):
        kind = drawn
        if drawn in _MEMBERSHIP:
            kind = chance.choice(_PARTINGS) if has_joined else "join"
            has_joined = not has_joined
        lasts = chance.uniform(*_LASTS_SECONDS.get(kind, (0, 0)))
        if kind == "broker-away":
            lasts, was_away = away_seconds / (10 if was_away else 1), True
        made.append(Step(round(at_seconds, 2), kind, _target(chance, kind), round(lasts, 2)))
        at_seconds += chance.uniform(*SPACING_SECONDS)
    return made


def _drawn(chance: random.Random, steps: int, kinds: Sequence[Kind]) -> list[Kind]:
    """Each once as long as there is room, the rest by weight, in any order."""
    offered: list[Kind] = [kind for kind in KINDS if kind in kinds]
    drawn = list(offered)
    chance.shuffle(drawn)
    del drawn[steps:]
    weights = [_WEIGHTS.get(kind, _USUAL_WEIGHT) for kind in offered]
    drawn += chance.choices(offered, weights, k=steps - len(drawn))
    chance.shuffle(drawn)
    return drawn


def _target(chance: random.Random, kind: Kind) -> str:
    if kind in {"kill-worker", "stop-worker", "freeze-worker"}:
        return chance.choice(WORKERS)
    if kind in {"kill-sink", "stop-sink", "disk-full"}:
        return chance.choice(SINKS)
    return JOINER if kind in _MEMBERSHIP else ""


def lasts_seconds(steps: Sequence[Step]) -> float:
    """Until the last disturbance is over."""
    return max((step.at_seconds + step.seconds for step in steps), default=0.0)
