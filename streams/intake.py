"""An open window as records come to it: lists by names, to which the quickest path appends."""

from collections.abc import Callable
from typing import TypeVar

from streams.raw import MAX_NAME_CHARACTERS, Raw
from streams.reject import Rejected
from streams.windows import DurationCell, GaugeCell, RequestCell, Window

Names = tuple[str | None, str | None, str | None]
Sample = tuple[int, float]
"""time_ms, value"""
Call = tuple[float, float | None, int | str | None]
"""duration_seconds, client_duration_seconds, status"""

T = TypeVar("T")


class Lists(dict[Names, list[T]]):
    """Lists by names as records give them; one that is not there yet is opened, or refused."""

    def __init__(self, new: Callable[[Names], list[T]]) -> None:
        self._new = new

    def __missing__(self, names: Names) -> list[T]:
        """Raises `Rejected`."""
        found = self[names] = self._new(names)
        return found


class Intake:
    """An open window and what waits to be folded into its cells.

    `samples`, by service, metric and instance, are the pending lists of the window's own cells.
    `calls`, by service, operation and caller, and `lines` are moved on by `streams.fold.Fold`.
    All are in order of arrival.
    """

    __slots__ = ("_max_series", "calls", "lines", "samples", "window")

    def __init__(self, window: Window, max_series: int) -> None:
        self.window = window
        self._max_series = max_series
        self.samples: Lists[Sample] = Lists(self._new_samples)
        self.calls: Lists[Call] = Lists(self._new_calls)
        self.lines: list[Raw] = []

    def request_cell(self, names: Names) -> RequestCell:
        """The cell of a service, operation and caller. Raises `Rejected`."""
        key = known(names)
        cell = self.window.requests.get(key)
        if cell is None:
            self.admit(key)
            cell = self.window.requests[key] = RequestCell(DurationCell([]), DurationCell([]))
        return cell

    def admit(self, names: tuple[str, ...]) -> None:
        """Raises `Rejected` unless a series of these names, new to the window, may be opened."""
        longest = max(map(len, names))
        if longest > MAX_NAME_CHARACTERS:
            raise Rejected(
                "out_of_range",
                f"a name has {longest} characters, more than {MAX_NAME_CHARACTERS}; send short,"
                " stable names of services, metrics, instances, operations and callers",
            )
        if len(self.window) >= self._max_series:
            raise Rejected(
                "too_many_series",
                f"its window already holds windows.max_series = {self._max_series} series; take"
                " identifiers out of names, or raise the limit",
            )

    def _new_samples(self, names: Names) -> list[Sample]:
        key = known(names)
        cell = self.window.gauges.get(key)
        if cell is None:
            self.admit(key)
            cell = self.window.gauges[key] = GaugeCell([])
        return cell.pending

    def _new_calls(self, names: Names) -> list[Call]:
        self.request_cell(names)
        return []


def known(names: Names) -> tuple[str, str, str]:
    """The key of a cell, whose names are "" where a record has none. Raises `Rejected`."""
    service, what, of_what = names
    if not service:
        raise Rejected(
            "missing_field",
            "$.service is missing or empty; send it, or name it under sources[].service",
        )
    return service, what or "", of_what or ""
