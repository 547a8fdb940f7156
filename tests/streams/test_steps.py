"""Which steps of which services the observations of a window tell of."""

from detectors.service_steps import Step
from schemas.observations import Observation
from streams.steps import steps_of
from streams.windows import DurationCell, RequestCell, SeriesNames, call_observations


def line(text: str, severity: str = "INFO", count: int = 1) -> Observation:
    series = f'log{{service="shop",severity="{severity}"}}'
    return Observation(series, "shop", "log", count, severity=severity, text=text)


def test_lines_count_by_text_and_errors_apart() -> None:
    counted = steps_of([line("order taken", count=3), line("order refused", "ERROR")])
    assert counted == {"shop": {Step("line", "order taken"): 3, Step("error", "order refused"): 1}}


def test_lists_of_masked_values_are_one_line_however_long_they_are() -> None:
    counted = steps_of([line("stock of [<*>]"), line("stock of [<*>, <*>, <*>]", count=2)])
    assert counted == {"shop": {Step("line", "stock of [<*>]"): 3}}


def test_requests_count_by_operation_and_calls_for_their_caller() -> None:
    cell = RequestCell(DurationCell([]), DurationCell([]), count=4)
    cells = {("stock", "/reserve", "shop"): cell, ("shop", "/orders", ""): cell}
    calls = list(call_observations(SeriesNames(10), cells))
    assert [(o.series, o.service, o.kind, o.count) for o in calls] == [
        ('calls{service="shop",callee="stock /reserve"}', "shop", "calls", 4)
    ]
    served = Observation("", "shop", "requests", 4, operation="/orders")
    of_a_caller = Observation("", "shop", "requests", 4, caller="web")
    assert steps_of([*calls, served, of_a_caller]) == {
        "shop": {Step("call", "stock /reserve"): 4, Step("request", "/orders"): 4}
    }
