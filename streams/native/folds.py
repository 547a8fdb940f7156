"""Folds values into sums and logarithmic bins: to the bit what `streams.windows` does."""

from math import ceil, log
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.native.compile import compiled, inlined
from streams.sketches import PER_LOG, SMALLEST
from streams.windows import PORTION

GAUGE, DURATION, NETWORK = range(3)
"""Kinds of streams: samples; durations; what a caller has measured beyond the duration."""

_BELOW: Final = 1_100
_BINS: Final = 2_200
"""Bins from a nanosecond to three years, and a few more; `_BELOW` of them are of less than 1 s."""


class Values(NamedTuple):
    """What came, in columns: the value, a second one or NaN, and the time."""

    first: npt.NDArray[np.float64]
    second: npt.NDArray[np.float64]
    time_ms: npt.NDArray[np.int64]


class Segments(NamedTuple):
    """Parts of `Values` in order of arrival: of which stream, and from where to where."""

    stream: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    following: npt.NDArray[np.int64]


class Streams(NamedTuple):
    """What is known of each stream: its kind and sums, where in `Waiting` what has waited begins
    and ends, and its segments, as a chain."""

    kind: npt.NDArray[np.int64]
    many: npt.NDArray[np.int64]
    total: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    last_ms: npt.NDArray[np.int64]
    last: npt.NDArray[np.float64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    head: npt.NDArray[np.int64]
    tail: npt.NDArray[np.int64]


class Waiting(NamedTuple):
    """Values that fill no portion yet, stream by stream."""

    value: npt.NDArray[np.float64]
    time_ms: npt.NDArray[np.int64]


class Bins(NamedTuple):
    """Bins and their counts, stream by stream in order of appearance; `end` is by stream."""

    place: npt.NDArray[np.int64]
    many: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


class Room(NamedTuple):
    """To work in: a portion, the parts of an exact sum, and counts of bins, which are all 0."""

    value: npt.NDArray[np.float64]
    time_ms: npt.NDArray[np.int64]
    parts: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]


def room() -> Room:
    """Room to work in."""
    return Room(
        np.empty(PORTION),
        np.empty(PORTION, np.int64),
        np.empty(PORTION + 2),
        np.zeros(_BINS, np.int64),
        np.empty(_BINS, np.int64),
    )


@compiled
def fold(
    values: Values,
    segments: Segments,
    streams: Streams,
    waited: Waiting,
    all_of_it: bool,
    left: Waiting,
    bins: Bins,
    room: Room,
) -> None:
    """Folds what has waited and what came; `left` is what fills no portion, none if `all_of_it`.

    Of each stream `start` and `end` are then where in `left` its part is.
    """
    _chain(segments, streams)
    kept, binned = 0, 0
    for stream in range(streams.kind.size):
        kind, filled, seen = streams.kind[stream], 0, 0
        for at in range(streams.start[stream], streams.end[stream]):
            room.value[filled], room.time_ms[filled] = waited.value[at], waited.time_ms[at]
            filled += 1
            if filled == PORTION:
                seen = _take(stream, kind, filled, streams, room, seen)
                filled = 0
        segment = streams.head[stream]
        while segment >= 0:
            for at in range(segments.start[segment], segments.end[segment]):
                value = values.first[at]
                if kind == NETWORK:
                    second = values.second[at]
                    if np.isnan(second):
                        continue
                    value = second - value if second > value else 0.0
                room.value[filled], room.time_ms[filled] = value, values.time_ms[at]
                filled += 1
                if filled == PORTION:
                    seen = _take(stream, kind, filled, streams, room, seen)
                    filled = 0
            segment = segments.following[segment]
        if all_of_it and filled:
            seen = _take(stream, kind, filled, streams, room, seen)
            filled = 0
        streams.start[stream] = kept
        for at in range(filled):
            left.value[kept], left.time_ms[kept] = room.value[at], room.time_ms[at]
            kept += 1
        streams.end[stream] = kept
        for at in range(seen):
            slot = room.order[at]
            bins.place[binned], bins.many[binned] = slot - _BELOW, room.counts[slot]
            room.counts[slot] = 0
            binned += 1
        bins.end[stream] = binned


@inlined
def _chain(segments: Segments, streams: Streams) -> None:
    for segment in range(segments.stream.size):
        stream = segments.stream[segment]
        segments.following[segment] = -1
        if streams.head[stream] < 0:
            streams.head[stream] = segment
        else:
            segments.following[streams.tail[stream]] = segment
        streams.tail[stream] = segment


@inlined
def _take(stream: int, kind: int, filled: int, streams: Streams, room: Room, seen: int) -> int:
    """Folds the portion in `room` into the stream; returns how many bins are in use."""
    value = room.value
    low = high = value[0]
    for at in range(1, filled):
        low, high = min(low, value[at]), max(high, value[at])
    count = streams.many[stream]
    if count and streams.low[stream] <= low:
        low = streams.low[stream]
    if count and streams.high[stream] >= high:
        high = streams.high[stream]
    streams.low[stream], streams.high[stream] = low, high
    if filled == 1 and not count:
        streams.total[stream] = value[0]
    else:
        streams.total[stream] = _sum(streams.total[stream], filled, room)
    streams.many[stream] = count + filled
    if kind == GAUGE:
        last_ms, last = streams.last_ms[stream], streams.last[stream]
        for at in range(filled):
            time_ms = room.time_ms[at]
            if time_ms > last_ms or (time_ms == last_ms and value[at] > last):
                last_ms, last = time_ms, value[at]
        streams.last_ms[stream], streams.last[stream] = last_ms, last
        return seen
    for at in range(filled):
        if value[at] >= SMALLEST:
            slot = ceil(log(value[at]) * PER_LOG) + _BELOW
            if not room.counts[slot]:
                room.order[seen] = slot
                seen += 1
            room.counts[slot] += 1
    return seen


@inlined
def _sum(total: float, filled: int, room: Room) -> float:
    """`math.fsum` of the total and the portion: Shewchuk's exact parts, rounded once.

    J. R. Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997; in the form of CPython's.
    """
    parts = room.parts
    many = 0
    for at in range(-1, filled):
        x = total if at < 0 else room.value[at]
        kept = 0
        for part in range(many):
            y = parts[part]
            if abs(x) < abs(y):
                x, y = y, x
            high = x + y
            low = y - (high - x)
            if low != 0.0:
                parts[kept] = low
                kept += 1
            x = high
        many = kept
        if x != 0.0:
            parts[many] = x
            many += 1
    if not many:
        return 0.0
    many -= 1
    high, low = parts[many], 0.0
    while many > 0:
        x = high
        many -= 1
        y = parts[many]
        high = x + y
        low = y - (high - x)
        if low != 0.0:
            break
    if many > 0 and low != 0.0 and (low < 0.0) == (parts[many - 1] < 0.0):
        y = low * 2.0
        x = high + y
        if y == x - high:
            high = x
    return high
