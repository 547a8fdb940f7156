"""Takes one decoded record into its window, or says why it cannot be."""

from collections.abc import Callable

from schemas.configuration import Windows
from schemas.events import EventKind
from streams.masking import Masker
from streams.normalise import is_failure, normal_severity
from streams.raw import Raw
from streams.reject import Rejected
from streams.windows import DurationCell, GaugeCell, LogCell, RequestCell, Window

MAX_NAME_CHARACTERS = 256
MAX_TEXTS = 2_000
"""Distinct masked log texts in one window; lines beyond are counted under `OTHER_TEXT`."""
OTHER_TEXT = "other"
_EXAMPLE_CHARACTERS = 500
_LARGEST_VALUE = 1e300  # sums of as many as can come in a window stay finite
_LONGEST_SECONDS = 1e8  # three years
_LARGEST_COUNT = 2**53


class Fold:
    """Folds records into windows; holds nothing but limits and caches.

    `by_kind` has a function a kind of event, `(window, raw, time_ms) -> None`. It raises `Rejected`
    and leaves the window as it was if the record is not right.
    """

    def __init__(self, windows: Windows) -> None:
        self._max_series = windows.max_series
        self._mask = Masker()
        self._severities: dict[int | str | None, str] = {}
        self._failures: dict[int | str, bool | None] = {}
        self.by_kind: dict[EventKind, Callable[[Window, Raw, int], None]] = {
            "metric": self._metric,
            "log": self._log,
            "request": self._request,
            "count": self._count,
        }

    def _metric(self, window: Window, raw: Raw, time_ms: int) -> None:
        service, metric, value = raw.service, raw.metric, raw.value
        assert metric is not None and value is not None
        if not service:
            raise _nameless()
        if not -_LARGEST_VALUE <= value <= _LARGEST_VALUE:
            raise Rejected("out_of_range", "$.value is beyond 1e300; leave the record out instead")
        key = (service, metric, raw.instance or "")
        cell = window.gauges.get(key)
        if cell is None:
            self._admit(window, key)
            cell = window.gauges[key] = GaugeCell([])
        cell.add(time_ms, value)

    def _log(self, window: Window, raw: Raw, time_ms: int) -> None:
        service, body = raw.service, raw.body
        assert body is not None
        if not service:
            raise _nameless()
        severity = self._severities.get(raw.severity) or self._severity(raw.severity)
        key = (service, severity, self._mask(body))
        cell = window.logs.get(key)
        if cell is None:
            self._admit(window, (service,))
            if len(window.logs) >= MAX_TEXTS:
                key = (service, severity, OTHER_TEXT)
            cell = LogCell(0, time_ms, body[:_EXAMPLE_CHARACTERS])
            cell = window.logs.setdefault(key, cell)
        cell.count += 1
        if time_ms < cell.first_ms:
            cell.first_ms, cell.example = time_ms, body[:_EXAMPLE_CHARACTERS]

    def _request(self, window: Window, raw: Raw, time_ms: int) -> None:
        duration, client = raw.duration_seconds, raw.client_duration_seconds
        assert duration is not None
        if not 0.0 <= duration <= _LONGEST_SECONDS:
            raise _bad_duration("duration_seconds", duration)
        if client is not None and not 0.0 <= client <= _LONGEST_SECONDS:
            raise _bad_duration("client_duration_seconds", client)
        cell = self._request_cell(window, raw)
        cell.count += 1
        cell.durations.add(duration)
        if client is not None and raw.caller:
            cell.networks.add(client - duration if client > duration else 0.0)
        if raw.status is not None:
            failed = self._failed(raw.status)
            if failed is not None:
                cell.known += 1
                cell.errors += failed

    def _count(self, window: Window, raw: Raw, time_ms: int) -> None:
        requests, errors = raw.requests, raw.errors
        assert requests is not None
        _check_counts(requests, errors)
        cell = self._request_cell(window, raw)
        cell.count += requests
        if errors is not None:
            cell.known += requests
            cell.errors += errors

    def _request_cell(self, window: Window, raw: Raw) -> RequestCell:
        service = raw.service
        if not service:
            raise _nameless()
        key = (service, raw.operation or "", raw.caller or "")
        cell = window.requests.get(key)
        if cell is None:
            self._admit(window, key)
            cell = window.requests[key] = RequestCell(DurationCell([]), DurationCell([]))
        return cell

    def _admit(self, window: Window, names: tuple[str, ...]) -> None:
        """Raises `Rejected` unless a series of these names, new to the window, may be opened."""
        longest = max(map(len, names))
        if longest > MAX_NAME_CHARACTERS:
            raise Rejected(
                "out_of_range",
                f"a name has {longest} characters, more than {MAX_NAME_CHARACTERS}; send short,"
                " stable names of services, metrics, instances, operations and callers",
            )
        if len(window) >= self._max_series:
            raise Rejected(
                "too_many_series",
                f"its window already holds windows.max_series = {self._max_series} series; take"
                " identifiers out of names, or raise the limit",
            )

    def _severity(self, severity: int | str | None) -> str:
        if len(self._severities) >= 1_000:
            self._severities.clear()
        found = self._severities[severity] = normal_severity(severity)
        return found

    def _failed(self, status: int | str) -> bool | None:
        if status in self._failures:
            return self._failures[status]
        if len(self._failures) >= 1_000:
            self._failures.clear()
        found = self._failures[status] = is_failure(status)
        return found


def _nameless() -> Rejected:
    return Rejected(
        "missing_field",
        "$.service is missing or empty; send it, or name it under sources[].service",
    )


def _bad_duration(name: str, seconds: float) -> Rejected:
    if seconds < 0:
        return Rejected("negative", f"$.{name} is negative; check the clocks it was measured with")
    return Rejected("out_of_range", f"$.{name} is longer than three years; send seconds")


def _check_counts(requests: int, errors: int | None) -> None:
    if requests < 0 or (errors is not None and errors < 0):
        raise Rejected("negative", "$.requests or $.errors is negative; send counts since the last")
    if requests > _LARGEST_COUNT:
        raise Rejected("out_of_range", "$.requests is beyond 2**53; send counts since the last")
    if errors is not None and errors > requests:
        raise Rejected("out_of_range", "$.errors exceeds $.requests; errors are a part of requests")
