"""Which kind of event a raw record is: it follows from its fields, or the source says it."""

from collections.abc import Callable

import orjson

from schemas.configuration import Source
from schemas.events import EventKind
from streams.raw import Raw
from streams.reject import Rejected

_NEEDED: dict[str, tuple[str, ...]] = {
    "metric": ("metric", "value"),
    "log": ("body",),
    "request": ("duration_seconds",),
    "count": ("requests",),
}

DECISIVE = {"metric": "metric", "log": "body", "request": "duration_seconds", "count": "requests"}
"""What makes a record one of its kind, where the source does not say the kind."""


def placing(source: Source) -> Callable[[Raw], EventKind | None]:
    """The function that tells the kind of this source's records: `kind_of` or the named kind."""
    kind = source.kind
    if kind == "auto":
        return kind_of
    needed = _NEEDED[kind]
    return lambda raw: kind if all(getattr(raw, name) is not None for name in needed) else None


def kind_of(raw: Raw) -> EventKind | None:
    """What kind of event its fields make of a record; None if that needs a closer look."""
    if raw.metric is not None and raw.value is not None:
        return "metric"
    if raw.body is not None:
        return "log"
    if raw.duration_seconds is not None:
        return "request"
    return "count" if raw.requests is not None else None


def is_heartbeat(value: bytes) -> bool:
    """Whether a record that has a time holds nothing besides: `{"time": …}`."""
    return len(orjson.loads(value)) == 1


def missing(raw: Raw, kind: str = "auto") -> Rejected:
    """What a record of the wanted kind lacks, for one that `kind_of` cannot place."""
    if kind == "metric" or (kind == "auto" and (raw.metric, raw.value) != (None, None)):
        return _missing("metric" if raw.metric is None else "value", "a metric sample")
    if kind == "log" or (kind == "auto" and raw.severity is not None):
        return _missing("body", "a log line")
    of_request = (raw.operation, raw.caller, raw.client_duration_seconds, raw.status)
    if kind == "request" or (kind == "auto" and any(x is not None for x in of_request)):
        return _missing("duration_seconds", "a request")
    if kind == "count" or raw.errors is not None:
        return _missing("requests", "a request count")
    return Rejected(
        "unknown_kind",
        "nothing in the record is known: it needs metric and value, body, duration_seconds or"
        " requests; name your own fields under sources[].fields",
    )


def _missing(field: str, of: str) -> Rejected:
    return Rejected(
        "missing_field",
        f"$.{field} is missing, which {of} needs; send it, or say where it is under"
        f" sources[].fields",
    )
