"""What a sink reads out of its records. What it cannot use is left out, counted and logged."""

from typing import Literal, TypeVar, get_args

import msgspec
import structlog
from prometheus_client import Counter

from schemas.incidents import IncidentEvent
from schemas.reading import UNREADABLE, NewerMessageError, read
from schemas.silences import SilenceEvent
from sinks.sink import Record

Reason = Literal["no_value", "malformed", "other_environment"]

DROPPED = Counter(
    "tocsin_sink_records_dropped_total",
    "Records that a sink left out: no_value, malformed or of an other_environment.",
    ["sink", "reason"],
)

log = structlog.get_logger(__name__)

_silences = msgspec.json.Decoder(SilenceEvent)

T = TypeVar("T")


class EventReader:
    """Reads the incident events of one environment."""

    def __init__(self, sink: str, environment: str) -> None:
        self._sink = sink
        self._environment = environment
        self._decoder = msgspec.json.Decoder(IncidentEvent)
        for reason in get_args(Reason):
            DROPPED.labels(sink, reason)  # there from the start, so that the first one is a rise

    def read(self, record: Record) -> IncidentEvent | None:
        """The event that a record holds; None, counted, where it holds none that is meant."""
        event = decode(record, self._decoder, self._sink)
        if event is None or self._is_own(record, event.incident.environment):
            return event
        return None

    def read_silence(self, record: Record) -> SilenceEvent | None:
        """The event of a silence that a record holds; None, counted, likewise."""
        event = decode(record, _silences, self._sink)
        return event if event is not None and self._is_own(record, event.environment) else None

    def _is_own(self, record: Record, environment: str) -> bool:
        if environment != self._environment:
            drop(self._sink, record, "other_environment", environment)
        return environment == self._environment


def decode(record: Record, decoder: msgspec.json.Decoder[T], sink: str) -> T | None:
    """What a record holds; None, counted, where it is nothing of this kind: nothing can follow.

    Raises `NewerMessageError` where a newer release has written it: read by that release, something
    will follow.
    """
    if record.value is None:
        drop(sink, record, "no_value")
        return None
    try:
        return read(record.value, decoder)
    except NewerMessageError as error:
        raise NewerMessageError(
            f"a newer release has written {record.topic}/{record.partition} at offset "
            f"{record.offset}: {error}. Nothing was read past it: run that release of {sink}, or "
            "set next_offset in its store's table of positions to pass over the record"
        ) from error
    except UNREADABLE as error:
        drop(sink, record, "malformed", str(error))
        return None


def drop(sink: str, record: Record, reason: Reason, detail: str = "") -> None:
    """Counts and logs a record that is left out: if it raised, it would stop the sink for ever."""
    DROPPED.labels(sink, reason).inc()
    log.warning(
        "record dropped",
        sink=sink,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        reason=reason,
        detail=detail,
    )
