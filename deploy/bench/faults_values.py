"""Observations as plain numbers, one a series and window: what the baselines look at."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from schemas.anomalies import AnomalyKind
from schemas.observations import Observation
from schemas.units import metric_of


class Measured(NamedTuple):
    """One number of one series, and which kind of anomaly it would be."""

    name: str
    service: str
    kind: AnomalyKind
    value: float
    caller: str | None = None


def values(observations: Sequence[Observation]) -> Iterator[Measured]:
    """Means of gauges and durations, counts of requests, shares of failures, and error lines.

    Error lines are counted by service, 0 in a window in which it logged others only.
    """
    lines: dict[str, int] = {}
    for o in observations:
        if o.kind == "gauge":
            yield Measured(o.series, o.service, "level", o.mean)
        elif o.kind == "duration":
            kind: AnomalyKind = (
                "network" if metric_of(o.series).startswith("network") else "latency"
            )
            yield Measured(o.series, o.service, kind, o.mean, o.caller)
        elif o.kind == "requests":
            yield Measured(o.series, o.service, "traffic", float(o.count))
            if o.errors is not None and o.count:
                share = o.errors / o.count
                yield Measured(f"errors_of_{o.series}", o.service, "error_ratio", share)
        else:
            is_error = o.severity in ("ERROR", "FATAL")
            lines[o.service] = lines.get(o.service, 0) + (o.count if is_error else 0)
    for service in sorted(lines):
        name = f'error_lines{{service="{service}"}}'
        yield Measured(name, service, "error_log_rate", float(lines[service]))
