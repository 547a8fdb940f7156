"""From Kafka's records to what the store takes. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog

from schemas.configuration import Topics
from schemas.incidents import Delivery, IncidentEvent
from schemas.reading import UNREADABLE
from sinks.case_store.metrics import DROPPED
from sinks.sink import Record

log = structlog.get_logger()

LARGEST = 2**53
"""Beyond it a time or version is no number that a store or a browser holds exactly."""

_events = msgspec.json.Decoder(IncidentEvent)
_deliveries = msgspec.json.Decoder(Delivery)


@dataclass(frozen=True, slots=True)
class Entry:
    """An incident event and when Kafka recorded it."""

    event: IncidentEvent
    recorded_ms: int


@dataclass(slots=True)
class Batch:
    """What one call of `apply` writes in one transaction."""

    entries: list[Entry] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    positions: dict[tuple[str, int], int] = field(default_factory=dict)


def read(records: Sequence[Record], topics: Topics) -> Batch:
    """Sorts records by their topic.

    A record that is no entry (not of our schema) would stop the store for ever if it raised: it is
    left out, counted by reason and named in the logs. Raises `ValueError` for a foreign topic.
    """
    batch = Batch()
    for record in records:
        place = (record.topic, record.partition)
        batch.positions[place] = max(batch.positions.get(place, 0), record.offset + 1)
        if record.topic not in (topics.incident_events, topics.deliveries):
            raise ValueError(
                f"topic {record.topic!r} is not the case store's; it reads "
                f"{topics.incident_events!r} and {topics.deliveries!r}"
            )
        try:
            if record.topic == topics.incident_events:
                batch.entries.append(_entry(record))
            else:
                batch.deliveries.append(_delivery(record))
        except UNREADABLE as error:
            _drop(record, str(error))
    return batch


def _entry(record: Record) -> Entry:
    event = _events.decode(record.value or b"")
    incident = event.incident
    if event.incident_id != incident.id or event.version != incident.version:
        raise msgspec.ValidationError("the event is about another incident than it holds")
    times = (event.time_ms, incident.opened_ms, incident.updated_ms, incident.resolved_ms)
    _check((event.version, *times, incident.closed_ms, incident.acknowledged_ms))
    return Entry(event, record.timestamp_ms)


def _delivery(record: Record) -> Delivery:
    delivery = _deliveries.decode(record.value or b"")
    _check((delivery.time_ms, delivery.attempt))
    return delivery


def _check(numbers: Sequence[int | None]) -> None:
    if any(number is not None and not 0 <= number <= LARGEST for number in numbers):
        raise msgspec.ValidationError("a time or version is out of range")


def _drop(record: Record, reason: str) -> None:
    label = "no value" if not record.value else "not of the schema"
    DROPPED.labels(label).inc()
    log.warning(
        "record dropped",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        reason=label,
        detail=reason,
    )


def chunks(items: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """Parts small enough for an SQL `IN`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def clean(text: str) -> str:
    """Without NUL, which PostgreSQL does not store in text."""
    return text.replace("\0", "\ufffd")
