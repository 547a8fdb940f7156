"""Which workers come and go during a soak: drawn from a seed, and the same for the same seed."""

import random
from typing import Final, Literal, NamedTuple, get_args

Kind = Literal["join", "leave", "crash", "freeze"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

STAYS: Final = "worker-0"
"""Is there from the first to the last minute: what it holds in memory says whether that grows."""
COMES_AND_GOES: Final = ("worker-1", "worker-2", "worker-3")
WORKERS: Final = (STAYS, *COMES_AND_GOES)
AT_FIRST: Final = WORKERS[:2]

EVERY_SECONDS: Final = 60.0
FREEZE_SECONDS: Final = 12.0
"""Twice the session: the group goes on without it."""

MEANING: Final[dict[Kind, str]] = {
    "join": "a worker joins",
    "leave": "SIGTERM to a worker, which leaves",
    "crash": "kill -9 of a worker, which does not come back",
    "freeze": "a worker stands still, longer than its session",
}


class Step(NamedTuple):
    """What happens to a worker, and when after the start."""

    at_seconds: float
    kind: Kind
    target: str

    def __str__(self) -> str:
        return f"{self.at_seconds:6.1f} s  {self.kind} {self.target}"


def plan(seed: int, minutes: float) -> list[Step]:
    """A change of the group a minute. Who is not there can only join; one is always left."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    there = set(AT_FIRST) - {STAYS}
    steps: list[Step] = []
    for minute in range(int(minutes * 60 / EVERY_SECONDS)):
        absent = sorted(set(COMES_AND_GOES) - there)
        kinds = [
            kind for kind in KINDS if (kind == "join" and absent) or (kind != "join" and there)
        ]
        kind = chance.choice(kinds)
        target = chance.choice(absent if kind == "join" else sorted(there))
        if kind == "join":
            there.add(target)
        elif kind != "freeze":
            there.discard(target)
        at_seconds = (minute + chance.uniform(0.3, 0.6)) * EVERY_SECONDS
        steps.append(Step(round(at_seconds, 1), kind, target))
    return steps
