"""Takes decoded records into their window, or says why one cannot be."""

from collections.abc import Callable

from schemas.configuration import Windows
from schemas.events import EventKind
from streams.intake import Intake, known
from streams.masking import Masker
from streams.normalise import is_failure, normal_severity
from streams.raw import LARGEST_VALUE, LATEST_MS, LONGEST_SECONDS, Raw
from streams.reject import Rejected
from streams.windows import LogCell, LogKey, Window

MAX_TEXTS = 2_000
"""Distinct masked log texts in one window; lines beyond are counted under `OTHER_TEXT`."""
OTHER_TEXT = "other"
_EXAMPLE_CHARACTERS = 500
_LARGEST_COUNT = 2**53
_MAX_REMEMBERED = 1_000


class _Severities(dict[int | str | None, str]):
    def __missing__(self, severity: int | str | None) -> str:
        if len(self) >= _MAX_REMEMBERED:
            self.clear()
        found = self[severity] = normal_severity(severity)
        return found


class _Failures(dict[int | str | None, bool | None]):
    def __missing__(self, status: int | str | None) -> bool | None:
        if len(self) >= _MAX_REMEMBERED:
            self.clear()
        found = self[status] = None if status is None else is_failure(status)
        return found


class Fold:
    """Folds records into windows; holds nothing but limits and caches.

    `by_kind` has a function a kind of event, `(intake, raw, time_ms) -> None`. It raises `Rejected`
    and leaves the window as it was if the record is not right.
    """

    def __init__(self, windows: Windows) -> None:
        self._max_series = windows.max_series
        self._mask = Masker()
        self._severities = _Severities()
        self._failures = _Failures()
        self.by_kind: dict[EventKind, Callable[[Intake, Raw, int], None]] = {
            "metric": self._metric,
            "log": self._log,
            "request": self._request,
            "count": self.count,
        }

    def open(self, window: Window) -> Intake:
        """Lets records into a window."""
        return Intake(window, self._max_series)

    # one record

    def _metric(self, intake: Intake, raw: Raw, time_ms: int) -> None:
        value = raw.value
        assert value is not None
        if raw.service and not -LARGEST_VALUE <= value <= LARGEST_VALUE:
            raise Rejected("out_of_range", "$.value is beyond 1e300; leave the record out instead")
        cell = intake.gauge_cell((raw.service, raw.metric, raw.instance))
        if not intake.waiting.put(cell, value, time_ms):
            cell.pending.append((time_ms, value))

    def _log(self, intake: Intake, raw: Raw, time_ms: int) -> None:
        service, _, _ = known((raw.service, None, None))
        body = raw.body or ""
        key = self.line_key(service, raw.severity, body)
        Lines(self, lambda _: body).take(intake, key, 1, (time_ms, 0))

    def _request(self, intake: Intake, raw: Raw, time_ms: int) -> None:
        duration, client = raw.duration_seconds, raw.client_duration_seconds
        assert duration is not None
        if not 0.0 <= duration <= LONGEST_SECONDS:
            raise _bad_duration("duration_seconds", duration)
        if client is not None and not 0.0 <= client <= LONGEST_SECONDS:
            raise _bad_duration("client_duration_seconds", client)
        cell = intake.request_cell((raw.service, raw.operation, raw.caller))
        cell.count += 1
        if not intake.waiting.put(cell.durations, duration):
            cell.durations.pending.append(duration)
        if raw.caller and client is not None:
            network = client - duration if client > duration else 0.0
            # A stream of networks makes them of two columns.
            if not intake.waiting.put(cell.networks, 0.0, second=network):
                cell.networks.pending.append(network)
        failed = self.failed(raw.status)
        cell.known += failed is not None
        cell.errors += failed is True

    def failed(self, status: int | str | None) -> bool | None:
        """Whether a request of this status has failed; None if that is not known."""
        return self._failures[status]

    def count(self, intake: Intake, raw: Raw, time_ms: int) -> None:
        """Adds requests that somebody else has counted. Raises `Rejected`."""
        requests, errors = raw.requests, raw.errors
        assert requests is not None
        _check_counts(requests, errors)
        cell = intake.request_cell((raw.service, raw.operation, raw.caller))
        cell.count += requests
        if errors is not None:
            cell.known += requests
            cell.errors += errors

    def line_key(self, service: str, severity: int | str | None, body: str) -> LogKey:
        """What lines like this one are counted under, unless there are too many texts."""
        return service, self._severities[severity], self._mask(body)

    def line_cell(self, intake: Intake, key: LogKey) -> LogCell:
        """The cell of lines of this key, an empty one if it is new. Raises `Rejected`."""
        logs = intake.window.logs
        cell = logs.get(key)
        if cell is None:
            service, severity, _ = key
            intake.admit((service,))
            if len(logs) >= MAX_TEXTS:
                key = (service, severity, OTHER_TEXT)
            cell = logs.setdefault(key, LogCell(0, LATEST_MS + 1, ""))
        return cell

    def settle(self, intake: Intake) -> None:
        """Moves full portions of what waits in the cells into their sums.

        Changes nothing of what will be said of the window, whenever it is done.
        """
        intake.waiting.fold(all_of_it=False)
        for gauge in intake.window.gauges.values():
            gauge.fold(all_of_it=False)
        for cell in intake.window.requests.values():
            cell.durations.fold(all_of_it=False)
            cell.networks.fold(all_of_it=False)


class Lines:
    """Counts lines into their cells; the earliest of a cell, the first of several, is its example.

    Parameters
    ----------
    body_of
        The line at a place; places rise in order of arrival.
    """

    def __init__(self, fold: Fold, body_of: Callable[[int], str]) -> None:
        self._fold = fold
        self._body_of = body_of
        self._places: dict[int, int] = {}

    def take(self, intake: Intake, key: LogKey, count: int, earliest: tuple[int, int]) -> None:
        """Counts lines of one key; `earliest` are time and place of the earliest, of the first of
        several. Raises `Rejected`."""
        cell = self._fold.line_cell(intake, key)
        cell.count += count
        first_ms, place = earliest
        # What is said of a cell in one go may come group by group, not in order of arrival.
        before = self._places.get(id(cell), -1)
        if first_ms < cell.first_ms or (first_ms == cell.first_ms and place < before):
            cell.first_ms = first_ms
            cell.example = self._body_of(place)[:_EXAMPLE_CHARACTERS]
            self._places[id(cell)] = place


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
