"""How long a component was in which state, by day and in all. Pure; days are UTC.

Uptime is weighted as Statuspage weights it: a major outage counts in full, a partial outage
counts 30 %, degraded performance does not count. Time before a component was on the page is
neither up nor down. An incident counts from its first anomaly to its last, as messages tell it; the
quiet time that is waited for before calling it resolved is counted until it is, and then no more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from schemas.times import DAY_MS
from sinks.status_page.components import STATUSES, Status, worst

WEIGHTS: Mapping[Status, float] = {
    "operational": 0.0,
    "degraded_performance": 0.0,
    "partial_outage": 0.3,
    "major_outage": 1.0,
}


@dataclass(frozen=True, slots=True)
class Interval:
    """A component was in `status` from `start_ms` until `end_ms`, not included."""

    start_ms: int
    end_ms: int
    status: Status


@dataclass(frozen=True, slots=True)
class Day:
    """One bar. `status` is the worst of the day, None if the component was not on the page yet.

    `spent_ms` is the time in each state other than operational.
    """

    start_ms: int
    status: Status | None
    spent_ms: Mapping[Status, int]


def day_of(time_ms: int) -> int:
    """The start of the UTC day, Unix milliseconds."""
    return time_ms // DAY_MS * DAY_MS


def merged(intervals: Iterable[Interval], start_ms: int, end_ms: int) -> list[Interval]:
    """The disturbed time within the bounds, without overlaps: the worst state at each moment."""
    clipped = [
        Interval(max(one.start_ms, start_ms), min(one.end_ms, end_ms), one.status)
        for one in intervals
        if one.status != "operational"
    ]
    clipped = [one for one in clipped if one.start_ms < one.end_ms]
    edges = sorted({edge for one in clipped for edge in (one.start_ms, one.end_ms)})
    result: list[Interval] = []
    for left, right in pairwise(edges):
        status = worst(one.status for one in clipped if one.start_ms <= left < one.end_ms)
        if status == "operational":
            continue
        if result and result[-1].end_ms == left and result[-1].status == status:
            result[-1] = Interval(result[-1].start_ms, right, status)
        else:
            result.append(Interval(left, right, status))
    return result


def uptime_ratio(intervals: Sequence[Interval], start_ms: int, end_ms: int) -> float:
    """The weighted share of the time that was up, 0 to 1; 1 where there is no time at all.

    The intervals need not be disjoint or within the bounds.
    """
    if end_ms <= start_ms:
        return 1.0
    down_ms = sum(
        WEIGHTS[one.status] * (one.end_ms - one.start_ms)
        for one in merged(intervals, start_ms, end_ms)
    )
    return 1.0 - down_ms / (end_ms - start_ms)


def percentage(ratio: float) -> str:
    """Two decimals, cut and not rounded: only an undisturbed time reads as `100`."""
    if ratio >= 1:
        return "100"
    # The small addend undoes the binary error of e.g. 0.9997 * 10_000 without reaching the next.
    return f"{min(int(ratio * 10_000 + 1e-7), 9_999) / 100:.2f}"


def days(intervals: Sequence[Interval], since_ms: int, first_day_ms: int, now_ms: int) -> list[Day]:
    """One bar a UTC day from `first_day_ms` to today; nothing is known before `since_ms`."""
    disturbed = merged(intervals, max(since_ms, first_day_ms), now_ms)
    result = []
    for start_ms in range(first_day_ms, day_of(now_ms) + DAY_MS, DAY_MS):
        spent = _spent(disturbed, start_ms, start_ms + DAY_MS)
        known = start_ms + DAY_MS > since_ms
        result.append(Day(start_ms, worst(spent) if known else None, spent))
    return result


def _spent(disturbed: Sequence[Interval], start_ms: int, end_ms: int) -> dict[Status, int]:
    spent: dict[Status, int] = {}
    for one in disturbed:
        overlap_ms = min(one.end_ms, end_ms) - max(one.start_ms, start_ms)
        if overlap_ms > 0:
            spent[one.status] = spent.get(one.status, 0) + overlap_ms
    return {status: spent[status] for status in reversed(STATUSES) if status in spent}
