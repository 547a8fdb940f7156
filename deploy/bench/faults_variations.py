"""Recorded faults as they might have been: the same days begun later, in another order, renamed.

What is found of a recording by chance, or because something was fitted to it, is not found of its
variations. Each is the same for the same seed.
"""

import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import blake2s
from math import exp
from typing import Any, NamedTuple

import msgspec

from deploy.bench.faults_recordings import Recording, span
from detectors.units import failing_side
from schemas.anomalies import Call
from schemas.times import DAY_MS
from streams.scoring import Fault

Event = dict[str, Any]

_BEFORE_MS = 125_000
"""Slices of requests and lines begin up to so long before a fault. What metrics tell before them is
the end of the fault before."""

_NOISE = 0.03
_TRACE = 16
"""So much of a trace's id all write: some cut it in half, as older tracing had it."""
_WORD = re.compile(r"[A-Za-z]{3,}")
_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.encode
_TIME = re.compile(rb'("time"\s*:\s*)(\d+)')


class Variation(NamedTuple):
    """One variation of all recordings of a folder; `seed` tells apart those of one kind."""

    kind: str
    seed: int
    of: int

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return self.kind if self.of == 1 else f"{self.kind} ({self.seed + 1})"

    def __call__(self, recording: Recording) -> Recording | None:
        """The recording varied; None if this variation says nothing of it."""
        return _KINDS[self.kind](recording, self)


def variations(count: int) -> list[Variation]:
    """All kinds, `count` of each in which chance has a part."""
    found = []
    for kind in _KINDS:
        of = 1 if kind in _WITHOUT_CHANCE else count
        found += [Variation(kind, seed, of) for seed in range(of)]
    return found


# -- where it begins, in which order, and when -----------------------------------------------------


def _later(recording: Recording, variation: Variation) -> Recording | None:
    """Begun later: an equal share of the faults is left out at each step, or of the days before."""
    share = (variation.seed + 1) / (variation.of + 1)
    if len(recording.faults) > 1:
        at = max(round(share * len(recording.faults)), 1)
        faults = recording.faults[at:]
        from_ms = (recording.faults[at - 1].at_ms + faults[0].at_ms) // 2 if faults else 0
    elif recording.faults:
        faults, before = recording.faults, recording.parts[0]
        first_ms, last_ms = (time_ms + before.shift_ms for time_ms in span(before.files[0]))
        from_ms = round(first_ms + share * (last_ms - first_ms))
    else:
        return None
    unlisted = [fault for fault in recording.unlisted if fault.at_ms >= from_ms]
    return _with(
        replace(recording, faults=faults, unlisted=unlisted),
        lambda lines: (line for line in lines if _time(line) >= from_ms),
    )


def _reordered(recording: Recording, variation: Variation) -> Recording | None:
    """Each fault with what was recorded around it, in another order; the calm before stays first.

    Series jump where two such pieces meet that were not recorded one after the other.
    """
    if len(recording.faults) < 2:
        return None
    starts = _slice_starts(recording)
    order = list(range(1, len(starts)))
    random.Random(variation.seed).shuffle(order)  # noqa: S311
    # The first piece begins with the recording; the last has nothing behind it, so it stays.
    order = [0, *(place for place in order if place != len(starts) - 1), len(starts) - 1]
    moved, at_ms = {}, starts[0]
    for place in order:
        moved[place] = at_ms - starts[place]
        at_ms += (starts[place + 1] if place + 1 < len(starts) else 0) - starts[place]

    def place_of(time_ms: int) -> int:
        return max(bisect_right(starts, time_ms) - 1, 0)

    def moved_fault(fault: Fault) -> Fault:
        shift_ms = moved[place_of(fault.at_ms)]
        return Fault(fault.at_ms + shift_ms, fault.service, fault.kind)

    def change(lines: Iterator[bytes]) -> Iterator[bytes]:
        pieces: dict[int, list[bytes]] = {place: [] for place in order}
        for line in lines:
            pieces[place_of(_time(line))].append(line)
        for place in order:
            for line in pieces.pop(place):
                yield _moved(line, moved[place])

    return _with(
        replace(
            recording,
            faults=[moved_fault(fault) for fault in recording.faults],
            unlisted=[moved_fault(fault) for fault in recording.unlisted],
        ),
        change,
    )


def _slice_starts(recording: Recording) -> list[int]:
    """When the requests and lines around each fault begin."""
    starts = [fault.at_ms - _BEFORE_MS for fault in recording.faults]
    found: dict[int, int] = {}
    for line in recording.lines():
        if b'"metric"' not in line:
            time_ms = _time(line)
            place = bisect_right(starts, time_ms) - 1
            if place >= 0 and time_ms <= recording.faults[place].at_ms:
                found.setdefault(place, time_ms)
    return [found.get(place, start) for place, start in enumerate(starts)]


def _at_another_time(recording: Recording, variation: Variation) -> Recording:
    """Moved by hours and by milliseconds, so that windows are cut elsewhere."""
    rng = random.Random(variation.seed)  # noqa: S311
    shift_ms = rng.randrange(DAY_MS // 2, 5 * DAY_MS)
    return _with(
        replace(
            recording,
            faults=[Fault(f.at_ms + shift_ms, f.service, f.kind) for f in recording.faults],
            unlisted=[Fault(f.at_ms + shift_ms, f.service, f.kind) for f in recording.unlisted],
        ),
        lambda lines: (_moved(line, shift_ms) for line in lines),
    )


# -- how much is heard -----------------------------------------------------------------------------


def _fewer_requests(recording: Recording, variation: Variation) -> Recording:
    """Half of the traces are lost, with their requests and lines."""
    return _each(recording, lambda event: [] if _is_in_half(event, variation.seed) else [event])


def _is_in_half(event: Event, seed: int) -> bool:
    if "metric" in event:
        return False
    trace = event.get("trace_id") or f"{event.get('time')} {event.get('body')}"
    return _hash(f"{seed} {trace[:_TRACE]}")[0] < 128


def _more_requests(recording: Recording, variation: Variation) -> Recording:
    """Every request and every line comes twice."""

    def twice(event: Event) -> Sequence[Event]:
        if "metric" in event:
            return [event]
        again = dict(event)
        if "trace_id" in event:
            again["trace_id"] = _hash(f"{variation.seed} {event['trace_id']}").hex()[:16]
        return [event, again]

    return _each(recording, twice)


def _fewer_samples(recording: Recording, variation: Variation) -> Recording:
    """One metric sample in five is lost."""
    rng = random.Random(variation.seed)  # noqa: S311
    return _each(recording, lambda e: [] if "metric" in e and rng.random() < 0.2 else [e])


# -- what is measured ------------------------------------------------------------------------------


def _noisy(recording: Recording, variation: Variation) -> Recording:
    """All that is measured is a few per cent off, each time anew; what fails is counted right."""
    rng = random.Random(variation.seed)  # noqa: S311

    def off(event: Event) -> Sequence[Event]:
        if failing_side(str(event.get("metric", ""))) == 0:
            _scale(event, _DURATIONS, exp(rng.gauss(0, _NOISE)))
            ratio = str(event.get("metric", "")).endswith("_ratio")
            most = 1.0 if ratio and event["value"] <= 1 else float("inf")
            _scale(event, ("value",), exp(rng.gauss(0, _NOISE)), most)
        return [event]

    return _each(recording, off)


def _slower(recording: Recording, _: Variation) -> Recording:
    """Everything takes three times as long."""

    def slower(event: Event) -> Sequence[Event]:
        is_time = str(event.get("metric", "")).endswith("_seconds")
        _scale(event, (*_DURATIONS, "value") if is_time else _DURATIONS, 3.0)
        return [event]

    return _each(recording, slower)


def _other_units(recording: Recording, _: Variation) -> Recording:
    """Metrics are told in milliseconds and per cent instead of seconds and ratios."""

    def told(event: Event) -> Sequence[Event]:
        metric = str(event.get("metric", ""))
        for unit, (other, factor) in _UNITS.items():
            if metric.endswith(unit):
                event["metric"] = metric.removesuffix(unit) + other
                _scale(event, ("value",), factor)
        return [event]

    return _each(recording, told)


_DURATIONS = ("duration_seconds", "client_duration_seconds")
_UNITS = {"_seconds": ("_milliseconds", 1000.0), "_ratio": ("_percent", 100.0)}


def _scale(event: Event, fields: Iterable[str], factor: float, most: float = float("inf")) -> None:
    for field in fields:
        if isinstance(event.get(field), int | float):
            event[field] = min(event[field] * factor, most)


# -- what it is called -----------------------------------------------------------------------------


def _renamed(recording: Recording, variation: Variation) -> Recording:
    """All services, operations and words of log lines are called otherwise; metrics are not."""

    @cache
    def word(found: str) -> str:
        letters = _hash(f"{variation.seed} {found}")
        return "".join(chr(ord("a") + byte % 26) for byte in letters[: max(len(found), 6)])

    def text(of: str) -> str:
        return _WORD.sub(lambda found: word(found[0]), of)

    def call_by(event: Event) -> Sequence[Event]:
        for field in ("service", "instance", "caller", "operation", "body"):
            if isinstance(event.get(field), str):
                event[field] = text(event[field])
        return [event]

    def fault(of: Fault) -> Fault:
        return Fault(of.at_ms, text(of.service), of.kind)

    return replace(
        _each(recording, call_by),
        faults=[fault(one) for one in recording.faults],
        unlisted=[fault(one) for one in recording.unlisted],
        calls=[Call(text(call.caller), text(call.callee)) for call in recording.calls],
    )


# -- how -------------------------------------------------------------------------------------------


def _with(recording: Recording, change: Callable[[Iterator[bytes]], Iterator[bytes]]) -> Recording:
    return replace(recording, change=change)


def _each(recording: Recording, change: Callable[[Event], Sequence[Event]]) -> Recording:
    """The recording with every event changed; what is no event stays."""

    def changed(lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            try:
                event = _decode(line)
            except msgspec.DecodeError:
                yield line
                continue
            for one in change(event):
                yield _encode(one)

    return _with(recording, changed)


def _time(line: bytes) -> int:
    found = _TIME.search(line)
    return int(found[2]) if found else 0


def _moved(line: bytes, shift_ms: int) -> bytes:
    return _TIME.sub(lambda found: b"%b%d" % (found[1], int(found[2]) + shift_ms), line, count=1)


def _hash(text: str) -> bytes:
    return blake2s(text.encode()).digest()


_KINDS: Mapping[str, Callable[[Recording, Variation], Recording | None]] = {
    "begun later": _later,
    "in another order": _reordered,
    "at another time": _at_another_time,
    "half the requests": _fewer_requests,
    "twice the requests": _more_requests,
    "samples missing": _fewer_samples,
    "noisy": _noisy,
    "slower": _slower,
    "other units": _other_units,
    "renamed": _renamed,
}
_WITHOUT_CHANCE = frozenset({"twice the requests", "slower", "other units"})
