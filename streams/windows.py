"""One event-time window: what is kept while it is open, and what is said of it when it closes."""

from collections.abc import Iterator, Sequence
from math import fsum
from typing import TypeVar

import msgspec

from schemas.observations import Observation, Sketch
from streams.series import series_id
from streams.sketches import ACCURACY, add_bins, add_values

T = TypeVar("T")

PORTION = 64
"""Values are folded into sums and bins so many at a time, in order of arrival, whenever that is
done: when it is done changes no rounding."""


class GaugeCell(msgspec.Struct, array_like=True, gc=False):
    """Samples of one metric of one instance: (time_ms, value) still pending, and sums."""

    pending: list[tuple[int, float]]
    count: int = 0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0
    last: tuple[int, float] = (-1, 0.0)

    def fold(self, *, all_of_it: bool) -> None:
        """Moves what is pending into the sums; what does not fill a portion only if `all_of_it`."""
        for samples in _portions(self.pending, all_of_it=all_of_it):
            _fold_values(self, [value for _, value in samples])
            self.last = max(self.last, *samples)


class DurationCell(msgspec.Struct, array_like=True, gc=False):
    """Durations in seconds: still pending, and sums and logarithmic bins."""

    pending: list[float]
    count: int = 0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0
    bins: dict[int, int] = {}

    def fold(self, *, all_of_it: bool) -> None:
        """Moves what is pending into sums and bins; what fills no portion only if `all_of_it`."""
        for values in _portions(self.pending, all_of_it=all_of_it):
            _fold_values(self, values)
            add_values(self.bins, values)


def _portions(pending: list[T], *, all_of_it: bool) -> list[list[T]]:
    """Takes the portions that are full, and at wish the rest, out of `pending`."""
    count = len(pending)
    if count < PORTION:
        if not all_of_it or not count:
            return []
        portions = [pending[:]]
        pending.clear()
        return portions
    end = count if all_of_it else count - count % PORTION
    portions = [pending[i : i + PORTION] for i in range(0, end, PORTION)]
    del pending[:end]
    return portions


def _fold_values(cell: GaugeCell | DurationCell, values: list[float]) -> None:
    if len(values) == 1 and not cell.count:  # by far the most frequent case
        cell.count = 1
        cell.total = cell.low = cell.high = values[0]
        return
    low, high = min(values), max(values)
    cell.low = min(cell.low, low) if cell.count else low
    cell.high = max(cell.high, high) if cell.count else high
    cell.total = fsum((cell.total, *values))
    cell.count += len(values)


class RequestCell(msgspec.Struct, array_like=True, gc=False):
    """Requests of one service, operation and caller; `known` of them had a status."""

    durations: DurationCell
    networks: DurationCell
    count: int = 0
    errors: int = 0
    known: int = 0


class LogCell(msgspec.Struct, array_like=True, gc=False):
    """Lines of one service, severity and masked text, with the earliest as example."""

    count: int
    first_ms: int
    example: str


GaugeKey = tuple[str, str, str]  # service, metric, instance; "" is none
RequestKey = tuple[str, str, str]  # service, operation, caller; "" is none
LogKey = tuple[str, str, str]  # service, severity, text


class Window(msgspec.Struct, array_like=True):
    """The cells of one window `[start_ms, end_ms)`; a snapshot is this very structure."""

    start_ms: int
    end_ms: int
    gauges: dict[GaugeKey, GaugeCell] = {}
    requests: dict[RequestKey, RequestCell] = {}
    logs: dict[LogKey, LogCell] = {}

    def __len__(self) -> int:
        return len(self.gauges) + len(self.requests) + len(self.logs)

    def observations(self, names: "SeriesNames") -> list[Observation]:
        """What there is to say of the window, ordered by series and text."""
        said = [gauge_observation(names, key, cell) for key, cell in self.gauges.items()]
        said += request_observations(names, self.requests)
        said += call_observations(names, self.requests)
        said += [log_observation(names, key, cell) for key, cell in self.logs.items()]
        said.sort(key=_order)
        return said


def _order(observation: Observation) -> tuple[str, str, str]:
    return observation.series, observation.text or "", observation.kind


class SeriesNames:
    """Remembers the identities of series, up to a bound, since each window needs them again."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._names: dict[tuple[str, str, str, str], str] = {}

    def __call__(self, name: str, service: str, label: str, value: str) -> str:
        """`name{service="…",label="value"}`, without the label if it has no value."""
        key = (name, service, label, value)
        found = self._names.get(key)
        if found is None:
            if len(self._names) >= self._bound:
                self._names.clear()
            found = self._names[key] = series_id(name, {"service": service, label: value})
        return found


def gauge_observation(names: SeriesNames, key: GaugeKey, cell: GaugeCell) -> Observation:
    """One gauge series in one window."""
    cell.fold(all_of_it=True)
    service, metric, instance = key
    return Observation(
        series=names(metric, service, "instance", instance),
        service=service,
        kind="gauge",
        count=cell.count,
        sum=cell.total,
        min=cell.low,
        max=cell.high,
        last=cell.last[1],
        instance=instance or None,
    )


def log_observation(names: SeriesNames, key: LogKey, cell: LogCell) -> Observation:
    """Lines of one masked text in one window."""
    service, severity, text = key
    return Observation(
        series=names("log", service, "severity", severity),
        service=service,
        kind="log",
        count=cell.count,
        severity=severity,
        text=text,
        example=cell.example,
    )


def request_observations(
    names: SeriesNames, cells: dict[RequestKey, RequestCell]
) -> Iterator[Observation]:
    """Counts and durations by service, by operation, and by caller with the network's share."""
    groups: dict[RequestKey, list[RequestCell]] = {}
    for (service, operation, caller), cell in cells.items():
        cell.durations.fold(all_of_it=True)
        cell.networks.fold(all_of_it=True)
        groups.setdefault((service, "", ""), []).append(cell)
        if operation:
            groups.setdefault((service, operation, ""), []).append(cell)
        if caller:
            groups.setdefault((service, "", caller), []).append(cell)
    for key, group in groups.items():
        yield _count_observation(names, key, group)
        durations = merged([cell.durations for cell in group])
        if durations.count:
            yield _duration_observation(names, "duration_seconds", key, durations)
        if key[2]:
            networks = merged([cell.networks for cell in group])
            if networks.count:
                yield _duration_observation(names, "network_seconds", key, networks)


def call_observations(
    names: SeriesNames, cells: dict[RequestKey, RequestCell]
) -> Iterator[Observation]:
    """What each service asked of others, by callee and operation: how often only."""
    for (service, operation, caller), cell in cells.items():
        if caller:
            yield Observation(
                series=names("calls", caller, "callee", f"{service} {operation}".rstrip()),
                service=caller,
                kind="calls",
                count=cell.count,
                operation=operation or None,
                callee=service,
            )


def merged(cells: Sequence[DurationCell]) -> DurationCell:
    """What several folded cells hold together; the sum does not depend on their order."""
    if len(cells) == 1:
        return cells[0]
    cells = [cell for cell in cells if cell.count]
    both = DurationCell([])
    if cells:
        both.count = sum([cell.count for cell in cells])
        both.total = fsum([cell.total for cell in cells])
        both.low = min([cell.low for cell in cells])
        both.high = max([cell.high for cell in cells])
    for cell in cells:
        add_bins(both.bins, cell.bins)
    return both


def _count_observation(
    names: SeriesNames, key: RequestKey, group: Sequence[RequestCell]
) -> Observation:
    count = errors = known = 0
    for cell in group:
        count += cell.count
        errors += cell.errors
        known += cell.known
    service, operation, caller = key
    return Observation(
        series=names("requests", service, "caller" if caller else "operation", caller or operation),
        service=service,
        kind="requests",
        count=count,
        errors=errors if known else None,
        operation=operation or None,
        caller=caller or None,
    )


def _duration_observation(
    names: SeriesNames, name: str, key: RequestKey, cell: DurationCell
) -> Observation:
    service, operation, caller = key
    return Observation(
        series=names(name, service, "caller" if caller else "operation", caller or operation),
        service=service,
        kind="duration",
        count=cell.count,
        sum=cell.total,
        min=cell.low,
        max=cell.high,
        sketch=Sketch(ACCURACY, cell.count - sum(cell.bins.values()), cell.bins),
        operation=operation or None,
        caller=caller or None,
    )
