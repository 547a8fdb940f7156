"""Two hours of three services for recordings of what a release writes; the same everywhere.

`cart` fails for four minutes in the second half hour, which is over and closed; `web` waits for it.
When the recording ends `stock` is failing, and `cart` fails again afterwards.
"""

import json
from collections.abc import Iterator

from schemas.configuration import Catalogue, Configuration, Incidents, Service, Source, Topics

MINUTE_MS = 60_000
START_MS = 1_767_225_600_000  # 2026-01-01
RECORDED_MINUTES = 100
"""Of these the release keeps its state; what comes then is for who restores it."""
MINUTES = 120
FAULTS = (("cart", 60, 64), ("stock", 97, 103), ("cart", 110, 115))
"""Service, and the minutes in which it is slow and fails."""

CONFIGURATION = Configuration(
    topics=Topics(observation_shards=1),
    sources=(Source(topic="telemetry"),),
    incidents=Incidents(close_after_seconds=600),
    catalogue=Catalogue(
        services=(
            Service(name="web", depends_on=("cart",), public_name="Shop"),
            Service(name="cart", tier=1, depends_on=("stock",), public_name="Basket"),
            Service(name="stock", tier=2),
        )
    ),
)


def lines(from_minute: int, to_minute: int) -> list[bytes]:
    """The raw records of these minutes in order of time; more than 250 a minute."""
    return [
        json.dumps({"time": START_MS + second * 1000, **fields}).encode()
        for second in range(from_minute * 60, to_minute * 60, 5)
        for fields in _at(second)
    ]


def _at(second: int) -> Iterator[dict[str, object]]:
    for number, service in enumerate(("web", "cart", "stock")):
        yield from _of(second, number, service)


def _of(second: int, number: int, service: str) -> Iterator[dict[str, object]]:
    wave = (second * 7919 + number * 104_729) % 97 / 97  # looks like noise, and is the same anew
    fails = any(s == service and a <= second / 60 < b for s, a, b in FAULTS)
    for instance in ("a", "b"):
        load = 0.98 if fails else 0.3 + 0.05 * wave
        of = {"service": service, "instance": f"{service}-{instance}"}
        yield {**of, "metric": "cpu_usage_ratio", "value": round(load, 4)}
        yield {**of, "metric": "queue_depth_records", "value": round(40 + 9 * wave, 2)}
    caller = {"cart": {"caller": "web"}, "stock": {"caller": "cart"}}.get(service, {})
    for call in range(2):
        took = (3.0 if fails else 0.05) + 0.01 * wave + 0.002 * call
        yield {
            "service": service,
            **caller,
            "operation": "GET /items",
            "duration_seconds": round(took, 4),
            "status": 503 if fails and (second // 5 + call) % 2 else 200,
        }
    yield {"service": service, "severity": "INFO", "body": f"request {second} done in {wave:.2f}"}
    if fails:
        body = f"call {second} failed: deadline exceeded"
        yield {"service": service, "severity": "ERROR", "body": body}
