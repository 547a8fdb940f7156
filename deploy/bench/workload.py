"""Made-up telemetry for measuring speed; not for judging detection.

Twenty services send events in event-time order: half of them metric samples (six metrics a
service), three in ten requests with caller, duration and status, one in five log lines of a few
kinds; some 400 series in all, or as many more as there are more services. The requests of one
service are slow and fail for a while. The same arguments give the same bytes everywhere.

How many events come in one second of event time decides how often a window closes and detection
has to look at every series: the fewer, the more windows in a million events.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Final

START_MS: Final = 1_767_225_600_000  # 2026-01-01
EVENTS_PER_SECOND: Final = 2_000

SERIES_A_SERVICE: Final = 21
"""Observations in a window that lacks nothing."""

_NAMES: Final = tuple(
    f"{name}-{region}"
    for name in (
        "frontend", "cart", "checkout", "payment", "catalogue",
        "recommendation", "shipping", "inventory", "search", "accounts",
    )
    for region in ("eu-1", "us-1")
)  # fmt: skip
FAULTY: Final = "payment-eu-1"
SERVICES: Final = len(_NAMES)
_FAULT_EVERY_SECONDS: Final = 480
_FAULT_SECONDS: Final = 90

_METRICS: Final = (
    ("process_cpu_usage_ratio", 0.35, 0.04),
    ("process_resident_memory_bytes", 4.2e8, 6e6),
    ("jvm_gc_pause_seconds", 0.012, 0.003),
    ("db_pool_connections_active", 14.0, 2.5),
    ("http_server_active_requests", 9.0, 2.0),
    ("queue_depth_records", 40.0, 9.0),
)
_OPERATIONS: Final = ("GET /v1/items/{id}", "POST /v1/orders", "GET /healthz")
_LINES: Final = (
    ("INFO", "request {n} for customer {m} done in {v:.1f} ms"),
    ("INFO", "cache refreshed: {n} entries, {m} evicted"),
    ("INFO", "published order {n} to partition {m}"),
    ("DEBUG", "connection {n} to 10.0.{m}.7:5432 returned to the pool"),
    ("WARN", "retry {m} of call {n} after {v:.1f} ms"),
    ("ERROR", "call {n} failed: deadline exceeded after {v:.1f} ms"),
)
_LINE_WEIGHTS: Final = (50, 15, 15, 14, 5, 1)


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One record for a raw topic."""

    partition: int
    time_ms: int
    key: bytes
    value: bytes


def workload(
    events: int,
    partitions: int,
    rate: int = EVENTS_PER_SECOND,
    seed: int = 1,
    services: int = SERVICES,
) -> Iterator[RawEvent]:
    """`events` records in event-time order, `rate` a second; a service's share a partition."""
    chance = random.Random(seed)  # noqa: S311
    return islice(_endless(partitions, rate, chance, _named(services)), events)


def _named(services: int) -> tuple[str, ...]:
    """The first so many of the names, then the names again with numbers."""
    more = (f"{_NAMES[n % len(_NAMES)]}-{n // len(_NAMES)}" for n in range(len(_NAMES), services))
    return (*_NAMES[:services], *more)


def _endless(
    partitions: int, rate: int, chance: random.Random, services: tuple[str, ...]
) -> Iterator[RawEvent]:
    keys = {service: service.encode() for service in services}
    homes = {service: index % partitions for index, service in enumerate(services)}
    samples = count()
    for number in count():
        time_ms = START_MS + number * 1000 // rate
        slot = number % 10
        if slot < 5:
            service, fields = _sample(next(samples), chance, services)
        elif slot < 8:
            service, fields = _request(time_ms, chance, services)
        else:
            service, fields = _line(chance, services)
        value = json.dumps({"time": time_ms, **fields}, separators=(",", ":")).encode()
        yield RawEvent(homes[service], time_ms, keys[service], value)


def _sample(
    number: int, chance: random.Random, services: tuple[str, ...]
) -> tuple[str, dict[str, Any]]:
    index = number % len(services)
    service = services[index]
    metric, level, spread = _METRICS[number // len(services) % len(_METRICS)]
    value = round(chance.gauss(level, spread), 6)
    instance = f"{service}-7d9f6c5b8-x{index:02}"
    fields = {"service": service, "instance": instance, "metric": metric, "value": value}
    return service, fields


def _request(
    time_ms: int, chance: random.Random, services: tuple[str, ...]
) -> tuple[str, dict[str, Any]]:
    index = chance.randrange(len(services))
    service, caller = services[index], services[(index + 2) % len(services)]
    broken = service == FAULTY and _in_fault(time_ms)
    duration = chance.lognormvariate(-4, 0.5) * (20 if broken else 1)
    failed = chance.random() < (0.5 if broken else 0.002)
    fields = {
        "service": service,
        "instance": f"{service}-7d9f6c5b8-x{index:02}",
        "caller": caller,
        "operation": _OPERATIONS[chance.randrange(len(_OPERATIONS))],
        "duration_seconds": round(duration, 6),
        "client_duration_seconds": round(duration + 0.0008, 6),
        "status": 500 if failed else 200,
        "trace_id": f"{chance.getrandbits(128):032x}",
    }
    return service, fields


def _in_fault(time_ms: int) -> bool:
    """The last part of every eight minutes, so that something normal comes first."""
    second = (time_ms - START_MS) // 1000 % _FAULT_EVERY_SECONDS
    return second >= _FAULT_EVERY_SECONDS - _FAULT_SECONDS


def _line(chance: random.Random, services: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    index = chance.randrange(len(services))
    service = services[index]
    severity, template = chance.choices(_LINES, _LINE_WEIGHTS)[0]
    body = template.format(
        n=chance.randrange(100_000), m=chance.randrange(64), v=chance.uniform(1, 900)
    )
    fields = {
        "service": service,
        "instance": f"{service}-7d9f6c5b8-x{index:02}",
        "severity": severity,
        "body": body,
        "trace_id": f"{chance.getrandbits(128):032x}",
    }
    return service, fields
