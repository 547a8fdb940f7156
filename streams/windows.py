"""One event-time window: what is kept while it is open, and what is said of it when it closes."""

from collections.abc import Iterable, Sequence
from math import fsum

import msgspec

from schemas.observations import Observation
from streams.series import series_id
from streams.sketches import add_bins, count_bins, sketch

_PENDING = 256
"""Values kept as they came before they are folded into sums and bins: bounds memory and snapshots
and keeps the path of an event short."""


class GaugeCell(msgspec.Struct, array_like=True, gc=False):
    """Samples of one metric of one instance: (time_ms, value) still pending, and sums."""

    pending: list[tuple[int, float]]
    count: int = 0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0
    last: tuple[int, float] = (-1, 0.0)

    def add(self, time_ms: int, value: float) -> None:
        """Takes one sample in."""
        self.pending.append((time_ms, value))
        if len(self.pending) >= _PENDING:
            self.fold()

    def fold(self) -> None:
        """Moves what is pending into the sums."""
        if not self.pending:
            return
        values = [value for _, value in self.pending]
        low, high = min(values), max(values)
        self.low = min(self.low, low) if self.count else low
        self.high = max(self.high, high) if self.count else high
        self.last = max(self.last, *self.pending)
        self.total = fsum((self.total, *values))
        self.count += len(values)
        self.pending = []


class DurationCell(msgspec.Struct, array_like=True, gc=False):
    """Durations in seconds: still pending, and sums and logarithmic bins."""

    pending: list[float]
    count: int = 0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0
    bins: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Takes one duration in."""
        self.pending.append(seconds)
        if len(self.pending) >= _PENDING:
            self.fold()

    def fold(self) -> None:
        """Moves what is pending into the sums and bins."""
        values = self.pending
        if not values:
            return
        low, high = min(values), max(values)
        self.low = min(self.low, low) if self.count else low
        self.high = max(self.high, high) if self.count else high
        self.total = fsum((self.total, *values))
        self.count += len(values)
        self.bins = add_bins(self.bins, count_bins(values))
        self.pending = []


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
    cell.fold()
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
) -> Iterable[Observation]:
    """Counts and durations by service, by operation, and by caller with the network's share."""
    groups: dict[RequestKey, list[RequestCell]] = {}
    for (service, operation, caller), cell in cells.items():
        cell.durations.fold()
        cell.networks.fold()
        groups.setdefault((service, "", ""), []).append(cell)
        if operation:
            groups.setdefault((service, operation, ""), []).append(cell)
        if caller:
            groups.setdefault((service, "", caller), []).append(cell)
    for key, group in groups.items():
        yield _count_observation(names, key, group)
        durations = [cell.durations for cell in group if cell.durations.count]
        if durations:
            yield _duration_observation(names, "duration_seconds", key, durations)
        networks = [cell.networks for cell in group if key[2] and cell.networks.count]
        if networks:
            yield _duration_observation(names, "network_seconds", key, networks)


def _label(key: RequestKey) -> tuple[str, str]:
    _, operation, caller = key
    return ("caller", caller) if caller else ("operation", operation)


def _count_observation(
    names: SeriesNames, key: RequestKey, group: Sequence[RequestCell]
) -> Observation:
    known = any(cell.known for cell in group)
    return Observation(
        series=names("requests", key[0], *_label(key)),
        service=key[0],
        kind="requests",
        count=sum(cell.count for cell in group),
        errors=sum(cell.errors for cell in group) if known else None,
        operation=key[1] or None,
        caller=key[2] or None,
    )


def _duration_observation(
    names: SeriesNames, name: str, key: RequestKey, cells: Sequence[DurationCell]
) -> Observation:
    bins = cells[0].bins
    for cell in cells[1:]:
        bins = add_bins(bins, cell.bins)
    count = sum(cell.count for cell in cells)
    return Observation(
        series=names(name, key[0], *_label(key)),
        service=key[0],
        kind="duration",
        count=count,
        sum=fsum(cell.total for cell in cells),
        min=min(cell.low for cell in cells),
        max=max(cell.high for cell in cells),
        sketch=sketch(count, bins),
        operation=key[1] or None,
        caller=key[2] or None,
    )
