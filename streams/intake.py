"""An open window as records come to it."""

from streams.raw import MAX_NAME_CHARACTERS
from streams.reject import Rejected
from streams.waiting import Waiting
from streams.windows import DurationCell, GaugeCell, RequestCell, Window

Names = tuple[str | None, str | None, str | None]


class Intake:
    """An open window, and who may open a series in it.

    Parameters
    ----------
    max_series
        Series that it may hold.

    Attributes
    ----------
    waiting
        What has come for its cells and must be folded before anything is said of them. What comes
        one by one must be put there, too, while others of its cell wait there.
    """

    __slots__ = ("_max_series", "waiting", "window")

    def __init__(self, window: Window, max_series: int) -> None:
        self.window = window
        self.waiting = Waiting()
        self._max_series = max_series

    def gauge_cell(self, names: Names) -> GaugeCell:
        """The cell of a service, metric and instance. Raises `Rejected`."""
        key = known(names)
        cell = self.window.gauges.get(key)
        if cell is None:
            self.admit(key)
            cell = self.window.gauges[key] = GaugeCell([])
        return cell

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


def known(names: Names) -> tuple[str, str, str]:
    """The key of a cell, whose names are "" where a record has none. Raises `Rejected`."""
    service, what, of_what = names
    if not service:
        raise Rejected(
            "missing_field",
            "$.service is missing or empty; send it, or name it under sources[].service",
        )
    return service, what or "", of_what or ""
