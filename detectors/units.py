"""What difference matters in a metric's unit, and how detectors write its values."""

from math import floor, isfinite, log10

from schemas.units import metric_of, split_unit

_MATTERS = {
    "s": 0.01,
    "ms": 10.0,
    "%": 0.02,  # of a ratio, whose values are parts of one
    "percent": 2.0,
    "B": 4096.0,
    "/s": 1.0,
    "millicores": 10.0,
    "°C": 1.0,
}


def smallest_difference(metric: str) -> float:
    """The difference below which nobody would care, in the metric's unit; 0 if it has none."""
    return _MATTERS.get(split_unit(metric)[1], 0.0)


_WORK = ("bytes", "packets", "syscall", "context_switch", "page_fault", "_iops")


def is_work(metric: str) -> bool:
    """Whether a metric counts work done for a load, by its name: it moves with nothing amiss."""
    return any(word in metric for word in _WORK)


_GOOD = ("success", "availability")
_BAD = ("error", "failure", "failed")


def failing_side(metric: str) -> int:
    """On which side of the usual a share of requests, as a service reports it, means failures.

    -1 if it tells how many succeed, 1 if it tells how many fail, 0 if it is no such share.
    """
    if not metric.endswith(("_ratio", "_percent", "availability")):
        return 0
    if any(word in metric for word in _GOOD):
        return -1
    return 1 if any(word in metric for word in _BAD) else 0


def show(value: float) -> str:
    """A number with three significant digits: `0.98`, `1,230`, `0.00412`."""
    if not isfinite(value) or value == 0:
        return f"{value:g}"
    decimals = 2 - floor(log10(abs(value)))
    if decimals <= 0:
        return f"{round(value, decimals):,.0f}"
    text = f"{value:.{min(decimals, 9)}f}"
    return text.rstrip("0").rstrip(".")


_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def show_in_unit(value: float, metric: str) -> str:
    """A number with the unit that the metric's name ends in: `0.25 s`, `80 GB`; a ratio in per
    cent."""
    _, unit = split_unit(metric)
    if unit == "B":
        size, prefix = next((p for p in _PREFIXES if abs(value) >= p[0]), (1.0, ""))
        return f"{show(value / size)} {prefix}B"
    text = show(100 * value if unit == "%" else value)
    return text + unit if unit.startswith("/") else f"{text} {unit}".rstrip()


def subject(series: str, service: str, instance: str | None, operation: str | None) -> str:
    """What is spoken of: `cpu_usage_ratio of cart-1`, `duration_seconds of Get at cart`."""
    place = instance or service
    if operation:
        return f"{metric_of(series)} of {operation} at {place}"
    return f"{metric_of(series)} of {place}"
