"""What `tocsin bench latency` has found, and how it is shown."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from rich.table import Table

BOUNDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Upper bounds of the histogram's cells, seconds; one more is for what took longer."""

LIMIT_SECONDS: Final = 1.0
"""What a stage may take at the 99th percentile once the window is closed."""

Stage = Literal[
    "window", "observations", "anomaly", "incident", "notification", "page",
    "closed to incident", "closed to page", "fault to incident", "fault to page",
]  # fmt: skip
_BARS: Final = " ▁▂▃▄▅▆▇█"
STAGES: Final[dict[Stage, str]] = {
    "window": "fault to close of window",
    "observations": "… to observations",
    "anomaly": "… to anomaly",
    "incident": "… to incident",
    "notification": "incident to notification",
    "page": "incident to page",
    "closed to incident": "closed to incident",
    "closed to page": "closed to page",
    "fault to incident": "fault to incident",
    "fault to page": "fault to page",
}
AFTER_CLOSE: Final[tuple[Stage, ...]] = (
    "observations", "anomaly", "incident", "notification", "page",
)  # fmt: skip


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How long a stage took, seconds. `histogram` counts by `BOUNDS`, the longest last."""

    p50: float
    p99: float
    longest: float
    histogram: list[int]


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """The result. `rate` is what was written a second, `maximum` what the worker can do, if
    that was measured.

    `told` faults had an incident of their own with a page; `joined` are those that were told as
    part of another service's incident, `missed` had none. `within_limit` is whether no stage took
    more than a second at the 99th percentile after the window had closed.
    """

    faults: int
    told: int
    joined: int
    missed: list[str]
    others: int
    maximum: int | None
    rate: int
    latest_write_seconds: float
    window_seconds: float
    allowed_lateness_seconds: float
    stages: dict[Stage, Spread]
    within_limit: bool
    worker_peak_rss_mb: float


def spread(seconds: Sequence[float]) -> Spread:
    """Percentiles by the nearest rank, and a histogram. `seconds` must not be empty."""
    ordered = sorted(seconds)
    counts = [0] * (len(BOUNDS) + 1)
    for value in ordered:
        counts[bisect_left(BOUNDS, value)] += 1

    def rank(share: float) -> float:
        return round(ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)], 3)

    return Spread(p50=rank(0.5), p99=rank(0.99), longest=round(ordered[-1], 3), histogram=counts)


def table(result: Latency) -> Table:
    """The result for a terminal."""
    verdict = "no stage" if result.within_limit else "a stage"
    most = "" if result.maximum is None else f", of at most {result.maximum:,}"
    limits = ", ".join(f"{bound:g}" for bound in BOUNDS)
    shown = Table(
        title=f"{result.faults} faults under {result.rate:,} events a second{most}; "
        f"windows of {result.window_seconds:g} s, {result.allowed_lateness_seconds:g} s allowed "
        f"lateness; {result.told} told, "
        f"{result.joined} in others' incidents, {len(result.missed)} missed",
        caption=f"After the window has closed {verdict} takes more than {LIMIT_SECONDS:g} s at "
        f"p99. Bars: faults up to {limits} s, and more.",
        title_justify="left",
        caption_justify="left",
    )
    for heading in ("seconds", "p50", "p99", "max", "histogram"):
        side: Literal["left", "right"] = "left" if heading in {"seconds", "histogram"} else "right"
        shown.add_column(heading, justify=side, no_wrap=True)
    for stage, found in result.stages.items():
        seconds = (f"{value:.2f}" for value in (found.p50, found.p99, found.longest))
        shown.add_row(
            STAGES[stage], *seconds, bars(found.histogram), end_section=stage in {"page", "window"}
        )
    return shown


def bars(counts: Sequence[int]) -> str:
    """Counts as a row of bars; only none at all is empty."""
    most = max(counts, default=0)
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] if most else " " for count in counts)
