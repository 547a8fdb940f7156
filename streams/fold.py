"""Takes decoded records into their window, or says why one cannot be."""

from collections.abc import Callable

from schemas.configuration import Windows
from schemas.events import EventKind
from streams.intake import Call, Intake, known
from streams.masking import Masker
from streams.normalise import is_failure, normal_severity
from streams.raw import LARGEST_VALUE, LONGEST_SECONDS, Raw
from streams.reject import Rejected
from streams.windows import LogCell, RequestCell, Window

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
        intake.samples[raw.service, raw.metric, raw.instance].append((time_ms, value))

    def _log(self, intake: Intake, raw: Raw, time_ms: int) -> None:
        known((raw.service, None, None))
        self.settle_lines(intake)
        self._line(intake, raw, time_ms, self._mask(raw.body or ""))

    def _request(self, intake: Intake, raw: Raw, time_ms: int) -> None:
        duration, client = raw.duration_seconds, raw.client_duration_seconds
        assert duration is not None
        if not 0.0 <= duration <= LONGEST_SECONDS:
            raise _bad_duration("duration_seconds", duration)
        if client is not None and not 0.0 <= client <= LONGEST_SECONDS:
            raise _bad_duration("client_duration_seconds", client)
        calls = intake.calls[raw.service, raw.operation, raw.caller]
        calls.append((duration, client, raw.status))

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

    def _line(self, intake: Intake, raw: Raw, time_ms: int, text: str) -> None:
        service, body, logs = raw.service or "", raw.body or "", intake.window.logs
        key = (service, self._severities[raw.severity], text)
        cell = logs.get(key)
        if cell is None:
            intake.admit((service,))
            if len(logs) >= MAX_TEXTS:
                key = (service, key[1], OTHER_TEXT)
            cell = logs.setdefault(key, LogCell(0, time_ms, body[:_EXAMPLE_CHARACTERS]))
        cell.count += 1
        if time_ms < cell.first_ms:
            cell.first_ms, cell.example = time_ms, body[:_EXAMPLE_CHARACTERS]

    # many records at once

    def settle(self, intake: Intake) -> None:
        """Moves what waits into the cells, and full portions there into the sums.

        Changes nothing of what will be said of the window, whenever it is done.
        """
        window = intake.window
        self.settle_lines(intake)
        for names, calls in intake.calls.items():
            if calls:
                self._settle_calls(window.requests[known(names)], calls, called=bool(names[2]))
        for gauge in window.gauges.values():
            gauge.fold(all_of_it=False)

    def settle_lines(self, intake: Intake) -> None:
        """Counts the lines that wait into their cells."""
        lines = intake.lines
        if not lines:
            return
        logs, severities = intake.window.logs, self._severities
        for raw, text in zip(lines, self._mask.many([r.body or "" for r in lines]), strict=True):
            cell = logs.get((raw.service or "", severities[raw.severity], text))
            time_ms = raw.time or 0
            if cell is None or time_ms < cell.first_ms:
                self._line(intake, raw, time_ms, text)
            else:
                cell.count += 1
        lines.clear()

    def _settle_calls(self, cell: RequestCell, calls: list[Call], *, called: bool) -> None:
        cell.count += len(calls)
        durations, clients, statuses = zip(*calls, strict=True)
        cell.durations.pending += durations
        cell.durations.fold(all_of_it=False)
        if called:
            cell.networks.pending += [
                client - duration if client > duration else 0.0
                for duration, client in zip(durations, clients, strict=True)
                if client is not None
            ]
            cell.networks.fold(all_of_it=False)
        failed = list(map(self._failures.__getitem__, statuses))
        errors = failed.count(True)
        cell.known += errors + failed.count(False)
        cell.errors += errors
        calls.clear()


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
