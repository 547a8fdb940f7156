"""Raw records for tests, small and inline."""

import json
from collections.abc import Sequence

from streams.run import Run

T0 = 1_700_000_000_000  # a multiple of ten seconds


def event(at_s: float, **fields: object) -> bytes:
    """An event of `cart`, or of the service named, `at_s` seconds after `T0`."""
    return json.dumps({"time": T0 + round(at_s * 1000), "service": "cart", **fields}).encode()


def gauge(at_s: float, value: float, metric: str = "cpu_ratio", **fields: object) -> bytes:
    return event(at_s, metric=metric, value=value, **fields)


def request(at_s: float, duration_seconds: float, **fields: object) -> bytes:
    return event(at_s, duration_seconds=duration_seconds, **fields)


def log(at_s: float, body: str, severity: str = "INFO", **fields: object) -> bytes:
    return event(at_s, severity=severity, body=body, **fields)


def heartbeat(at_s: float) -> bytes:
    return json.dumps({"time": T0 + round(at_s * 1000)}).encode()


def run_of(values: Sequence[bytes | None], first_offset: int = 0, timestamp_ms: int = -1) -> Run:
    n = len(values)
    offsets = range(first_offset, first_offset + n)
    return Run("raw", 3, offsets, [timestamp_ms] * n, [None] * n, list(values))
