"""What ingest says of one window: one observation a series, in batches that carry progress."""

from typing import Literal

import msgspec

ObservationKind = Literal["gauge", "requests", "duration", "log", "calls"]


class Sketch(msgspec.Struct, frozen=True, array_like=True):
    """A mergeable quantile sketch (DDSketch, Masson et al. 2019): merging adds the counts.

    `bins` maps a logarithmic bin's index to how many values fell into it; with
    gamma = (1 + accuracy) / (1 - accuracy), bin i holds (gamma**(i-1), gamma**i].
    """

    accuracy: float
    zeros: int
    bins: dict[int, int]


class Observation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One series in one window.

    `series` reads like a Prometheus selector, `duration_seconds{service="cart",operation="Get"}`,
    and is the identity; `service` is the service that it is about.

    gauge: `count` samples with `sum`, `min`, `max`, `last`.
    requests: `count` requests, `errors` of them failed (None where the source records no status).
    duration: `count` durations with `sum`, `min`, `max` and a `sketch`, seconds.
    log: `count` lines of one masked text (`text`), its `severity` and a first `example`.
    calls: `count` requests that `service` made to the `operation` of `callee`, as `callee` saw
    them.
    """

    series: str
    service: str
    kind: ObservationKind
    count: int
    sum: float = 0.0
    min: float = 0.0
    max: float = 0.0
    last: float = 0.0
    errors: int | None = None
    sketch: Sketch | None = None
    severity: str | None = None
    text: str | None = None
    example: str | None = None
    instance: str | None = None
    operation: str | None = None
    caller: str | None = None
    callee: str | None = None

    @property
    def mean(self) -> float:
        """Mean of the values in the window; 0 where there is none."""
        return self.sum / self.count if self.count else 0.0


class ObservationBatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """One closed window of one source partition, for one shard of the observations topic.

    Says two things: these are the observations of the window ending at `window_end_ms`, and
    nothing more will come from `source` for windows ending at or before it. Batches of a source
    come in increasing `window_end_ms`; a gap without records is one empty batch at its end.
    `idle` says that the source has been quiet for the idle time-out and must not be waited for
    until it speaks again. `shed_tier` says that records of services less critical than this tier
    were left out of the window, as the worker was overloaded; None if nothing was.
    """

    source: str
    shard: int
    window_end_ms: int
    observations: tuple[Observation, ...] = ()
    idle: bool = False
    shed_tier: int | None = None
    schema_version: int = 1

    @property
    def id(self) -> str:
        """Derived from what the batch is about, so a repeat is recognised."""
        return f"{self.source}/{self.shard}/{self.window_end_ms}"
