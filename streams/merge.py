"""Observations of one series from several sources made one."""

from collections.abc import Sequence

import msgspec

from schemas.observations import Observation, Sketch


def merge(observations: Sequence[Observation]) -> list[Observation]:
    """One observation a series (and a log's text), ordered by these; counts and sums add up."""
    merged: dict[tuple[str, str], Observation] = {}
    for o in observations:
        key = (o.series, o.text or "")
        before = merged.get(key)
        merged[key] = o if before is None else _both(before, o)
    return [merged[key] for key in sorted(merged)]


def _both(a: Observation, b: Observation) -> Observation:
    if a.kind != b.kind:
        return a
    return msgspec.structs.replace(
        a,
        count=a.count + b.count,
        sum=a.sum + b.sum,
        min=min(a.min, b.min),
        max=max(a.max, b.max),
        last=b.last,
        errors=_sum(a.errors, b.errors),
        sketch=_sketch(a.sketch, b.sketch),
        example=a.example if a.example is not None else b.example,
    )


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


def _sketch(a: Sketch | None, b: Sketch | None) -> Sketch | None:
    if a is None or b is None:
        return b if a is None else a
    bins = dict(a.bins)
    for index, count in b.bins.items():
        bins[index] = bins.get(index, 0) + count
    return Sketch(a.accuracy, a.zeros + b.zeros, dict(sorted(bins.items())))
