"""Instances and series that reported regularly and have stopped."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import NamedTuple

import msgspec

from detectors.base import Explanation, State
from schemas.observations import Observation
from schemas.times import DAY_MS
from schemas.units import metric_of

_REGULAR = 0.7
"""Mean absolute deviation of the intervals by their mean; reports at random have 2/e = 0.74."""
_PAUSES_MS = 7 * DAY_MS
_MOST_PAUSES = 9
_USUAL_PAUSES = 3
"""What has paused so often within a week, and come back, pauses by nature."""
_SERIES_FORGOTTEN_MS = 600_000
_INSTANCE_FORGOTTEN_MS = 21_600_000


class Reporter(msgspec.Struct, array_like=True, gc=False):
    """When a series or an instance reported last and how regularly. Times in milliseconds.

    `within` names the instance that a series belongs to; `pauses` are the silences of the last
    week, told or usual, by when they ended and how long they were.
    """

    service: str
    instance: str | None
    within: str | None
    last_ms: int
    regular_since_ms: int
    interval_ms: float = 0.0
    scatter_ms: float = 0.0
    longest_gap_ms: int = 0
    reports: int = 1
    told_ms: int = 0
    pauses: list[tuple[int, int]] = []


class Silent(NamedTuple):
    """What is silent at a tick of the grid."""

    series: str
    service: str
    instance: str | None
    since_ms: int
    explanation: Explanation


class SilenceWatch:
    """Learns the interval at which instances and series report; tells when one has missed several.

    Only what has reported for `regular_ms` at intervals that are alike, without a gap of more than
    two and a half of them, is expected to go on; what comes in slices, or only when there is
    traffic, is never missed. It is silent at the first tick of the grid at which `after_intervals`
    of its intervals have passed, and is told again every `repeat_ms` while it stays so.

    An instance (or a service, where samples name none) is silent when none of its gauges reports:
    told for six hours, and reason enough for an incident. It was replaced if another instance of
    the service reports; then nothing is told. A single gauge that stops while its instance goes on
    only corroborates, for ten minutes, since many gauges come only while there is work. A
    service's requests that stop are an incident like an instance that stops.

    What has been silent three times within a week and come back by itself each time, as what is
    switched off at night, is waited for half as long again as it usually pauses.

    Parameters
    ----------
    window_ms
        The grid.
    after_intervals
        Missed intervals that make a silence.
    regular_ms
        Unbroken reporting that makes a series regular.
    """

    def __init__(
        self,
        window_ms: int,
        after_intervals: float,
        regular_ms: int = 1_800_000,
        repeat_ms: int = 60_000,
    ) -> None:
        self.window_ms = window_ms
        self.after_intervals = after_intervals
        self.regular_ms = regular_ms
        self.repeat_ms = repeat_ms
        self._reporters: dict[str, Reporter] = {}
        self._services: dict[str, int] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._queued: set[str] = set()

    def heard(self, o: Observation, end_ms: int) -> None:
        """Takes note that a series reported in the window ending at `end_ms`."""
        if o.kind == "gauge":
            known = self._reporters.get(o.series)
            within = (known and known.within) or _instance_series(o.service, o.instance)
            if o.instance:
                self._services[o.service] = end_ms
            self._note(within, o.service, o.instance, None, end_ms)
            self._note(o.series, o.service, o.instance, within, end_ms)
        elif o.kind == "requests" and o.operation is None and o.caller is None:
            self._note(o.series, o.service, None, None, end_ms)

    def excuse(self, services: Callable[[str], bool], end_ms: int) -> None:
        """Takes note that of these services nothing can have been heard until `end_ms`.

        Their intervals count from there, and nothing is learnt of how long they were.
        """
        for r in self._reporters.values():
            if services(r.service) and r.last_ms < end_ms and not r.told_ms:
                r.last_ms = end_ms

    def _note(
        self, name: str, service: str, instance: str | None, within: str | None, end_ms: int
    ) -> None:
        r = self._reporters.get(name)
        if r is None:
            self._reporters[name] = Reporter(service, instance, within, end_ms, end_ms)
            return
        gap = end_ms - r.last_ms
        if not gap:
            return
        watched = self._watched(r)
        if r.told_ms or (r.reports >= 3 and gap > 2.5 * r.interval_ms):
            # How often it reported is all that is known of it until it has done so twice again.
            new = Reporter(service, instance, within, end_ms, end_ms, r.interval_ms)
            since_ms = end_ms - _PAUSES_MS
            new.pauses = [pause for pause in r.pauses if pause[0] > since_ms]
            if r.told_ms or (watched and gap > self.after_intervals * r.interval_ms):
                new.pauses = [*new.pauses[-_MOST_PAUSES:], (end_ms, gap)]
            self._reporters[name] = new
            return
        rate = max(1.0 / r.reports, 0.05)
        r.interval_ms += rate * (gap - r.interval_ms)
        r.scatter_ms += rate * (abs(gap - r.interval_ms) - r.scatter_ms)
        r.longest_gap_ms = max(r.longest_gap_ms, gap)
        r.reports += 1
        r.last_ms = end_ms
        if not watched and self._watched(r) and name not in self._queued:
            self._queue(name, r)

    def _watched(self, r: Reporter) -> bool:
        lasted = r.last_ms - r.regular_since_ms >= self.regular_ms
        return lasted and r.reports >= 10 and r.scatter_ms <= _REGULAR * r.interval_ms

    def _deadline(self, r: Reporter) -> int:
        if r.told_ms:
            return r.told_ms + self.repeat_ms
        wait = max(self.after_intervals * r.interval_ms, 1.5 * r.longest_gap_ms)
        wait = max(wait, 1.5 * _usual_pause_ms(r))
        return -int(-(r.last_ms + wait) // self.window_ms) * self.window_ms

    def _queue(self, name: str, r: Reporter) -> None:
        heappush(self._deadlines, (self._deadline(r), name))
        self._queued.add(name)

    def interval_ms(self, series: str) -> int:
        """How often a series reports, as learned; 0 if nothing is known yet."""
        r = self._reporters.get(series)
        return 0 if r is None else round(r.interval_ms)

    def next_deadline(self) -> int | None:
        """The next tick at which something may be silent; None if nothing is watched."""
        return self._deadlines[0][0] if self._deadlines else None

    def due(self, tick_ms: int) -> list[Silent]:
        """What is silent at this tick, after all that it brought has been heard."""
        silent: list[Silent] = []
        while self._deadlines and self._deadlines[0][0] <= tick_ms:
            _, name = heappop(self._deadlines)
            self._queued.discard(name)
            r = self._reporters.get(name)
            if r is None or not self._watched(r):
                continue
            if self._deadline(r) <= tick_ms:
                if self._gone(r, tick_ms):
                    del self._reporters[name]
                    continue
                r.told_ms = tick_ms
                silent.append(self._silent(name, r, tick_ms))
            self._queue(name, r)
        return sorted(silent)

    def _gone(self, r: Reporter, tick_ms: int) -> bool:
        """Replaced, told by its instance's silence, or silent for so long that nobody waits."""
        if r.within is not None:
            instance = self._reporters.get(r.within)
            if instance is None or instance.last_ms <= r.last_ms + r.interval_ms:
                return True
            return tick_ms - r.last_ms >= _SERIES_FORGOTTEN_MS
        replaced = bool(r.instance) and self._services[r.service] > r.last_ms + r.interval_ms
        waited_ms = tick_ms - r.last_ms - 1.5 * _usual_pause_ms(r)
        return replaced or waited_ms >= _INSTANCE_FORGOTTEN_MS

    def _silent(self, name: str, r: Reporter, tick_ms: int) -> Silent:
        silence, interval = (tick_ms - r.last_ms) / 1000, r.interval_ms / 1000
        metric = metric_of(name)
        what = r.instance or r.service
        what = what if metric == "instance" else f"{metric} of {what}"
        reason = f"{what} has not reported for {silence:,.0f} s, expected every {interval:,.0f} s"
        upper = self.after_intervals * interval
        explanation = Explanation(
            "silence", silence, interval, 0.0, upper, reason, confirmed=r.within is None
        )
        return Silent(name, r.service, r.instance, r.last_ms, explanation)

    def forget(self, before_ms: int) -> None:
        """Drops what has not been heard of since."""
        for name in [n for n, r in self._reporters.items() if r.last_ms < before_ms]:
            del self._reporters[name]
        self._services = {s: end for s, end in self._services.items() if end >= before_ms}

    def dump(self) -> State:
        """The whole state; the deadlines follow from it."""
        return [{n: msgspec.to_builtins(r) for n, r in self._reporters.items()}, self._services]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        self._reporters = msgspec.convert(state[0], dict[str, Reporter])
        self._services = dict(state[1])
        self._deadlines, self._queued = [], set()
        for name, r in self._reporters.items():
            if self._watched(r):
                self._queue(name, r)


def _usual_pause_ms(r: Reporter) -> int:
    """How long it pauses by nature, as seen within a week; 0 if it does not."""
    pauses = sorted(ms for end_ms, ms in r.pauses if end_ms > r.last_ms - _PAUSES_MS)
    return pauses[len(pauses) // 2] if len(pauses) >= _USUAL_PAUSES else 0


def _instance_series(service: str, instance: str | None) -> str:
    """The id under which the silence of a whole instance is told."""
    if instance is None:
        return f'instance{{service="{service}"}}'
    return f'instance{{service="{service}",instance="{instance}"}}'
