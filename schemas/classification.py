"""The dimensions in which an incident is classified, each number with where it came from."""

from typing import Literal

import msgspec

from schemas.outlook import Complexity

TechnicalSeverity = Literal["none", "minor", "major", "critical"]
"""What requests suffer at the service where that is worst, whoever sends them."""
BusinessImpact = Literal["none", "low", "medium", "high"]
"""What it is worth: how critical the services are, and whose customers and revenue they carry."""
Scope = Literal[
    "instance",  # one instance of one service
    "operation",  # one operation of one service
    "service",
    "services",  # several
    "region",  # most of what the catalogue has there
]
DimensionName = Literal["technical", "business", "scope", "recovery", "duration"]


class GradingStep(msgspec.Struct, frozen=True):
    """One line of the arithmetic: a named number, where it came from, what it gave."""

    name: str
    value: float
    source: str
    result: str


class Classification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An incident in five dimensions; `steps` has the arithmetic of each.

    Technical severity, business impact and scope are facts: of the signals and counts so far and
    the catalogue. `recovery` and `lasts_ms`, from its first sign to its last, are what closed
    incidents teach; None while they teach nothing. A person's word on the end counts before that.
    """

    technical: TechnicalSeverity
    business: BusinessImpact
    scope: Scope
    recovery: Complexity | None = None
    lasts_ms: int | None = None
    steps: dict[DimensionName, tuple[GradingStep, ...]] = {}
