"""The unit of a metric, which stands at the end of its name as in Prometheus' naming rules.

See https://prometheus.io/docs/practices/naming/.
"""

UNITS = {
    "_seconds": "s",
    "_milliseconds": "ms",
    "_ms": "ms",
    "_bytes": "B",
    "_ratio": "%",
    "_millicores": "millicores",
    "_percent": "percent",
    "_celsius": "°C",
    "_per_second": "/s",
}
"""By the end of the name. A ratio is told in per cent: 0.97 is 97 %."""


def metric_of(series: str) -> str:
    """The metric's name in a series id: what stands before the brace."""
    return series.partition("{")[0]


def split_unit(metric: str) -> tuple[str, str]:
    """The name without its unit, and the unit: `cpu_usage_ratio` is ("cpu_usage", "%").

    The unit is empty where the name tells none. `_total` marks a counter and is no unit.
    """
    name = metric.removesuffix("_total")
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            return name.removesuffix(ending), unit
    return name, ""
