"""What is expected of an incident from those that are closed."""

from typing import Literal, get_args

import msgspec

Category = Literal[
    "capacity",  # a resource is at its limit, or soon will be
    "network",  # calls lose time or are lost on the way
    "software",  # the service itself fails
    "performance",  # it is slow, and nothing says why
    "demand",  # far more or fewer requests than expected
    "availability",  # it, or its telemetry, is gone
    "other",
]
CATEGORIES: tuple[Category, ...] = get_args(Category)
Complexity = Literal["self_healing", "simple", "moderate", "hard"]
"""How hard the recovery is: went by itself; somebody, within half an hour; somebody, longer; more
than two hours, came back, or more than five services."""


Part = Literal["category", "complexity", "duration"]
PARTS: tuple[Part, ...] = get_args(Part)


class Guess(msgspec.Struct, frozen=True):
    """A guess, and the share of the last such guesses that were right (0 to 1)."""

    value: str
    sure: float


class Outlook(msgspec.Struct, frozen=True, omit_defaults=True):
    """Category, complexity of the recovery and duration (milliseconds), learned from `examples`
    closed incidents; 80 % of the durations lay between `lasts_from_ms` and `lasts_to_ms`.

    `plain` names what is merely the most frequent class or the median duration, since nothing that
    was learned has predicted better.
    """

    examples: int
    category: Guess
    complexity: Guess
    lasts_ms: int
    lasts_from_ms: int | None = None
    lasts_to_ms: int | None = None
    plain: tuple[Part, ...] = ()
