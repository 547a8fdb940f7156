"""From Kafka's records to what the store takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.configuration import Topics
from schemas.incidents import Command, Delivery, IncidentEvent
from sinks.case_store.changes import change_in
from sinks.reading import EventReader, decode, drop
from sinks.sink import Record

NAME = "case-store"
"""The sink's name in logs and metrics."""
LARGEST = 2**53
"""Beyond it a time or version is no number that a store or a browser holds exactly."""

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
    changes: list[Command] = field(default_factory=list)
    positions: dict[tuple[str, int], int] = field(default_factory=dict)


def read(
    records: Sequence[Record],
    topics: Topics,
    events: EventReader,
    changes_topic: str | None = None,
) -> Batch:
    """Sorts records by their topic; what is no entry is left out.

    Raises `ValueError` for a foreign topic.
    """
    batch = Batch()
    for record in records:
        place = (record.topic, record.partition)
        batch.positions[place] = max(batch.positions.get(place, 0), record.offset + 1)
        if record.topic == topics.incident_events:
            event = events.read(record)
            if event is not None and _keepable(record, _mistake_of_event(event)):
                batch.entries.append(Entry(event, record.timestamp_ms))
        elif record.topic == topics.deliveries:
            delivery = decode(record, _deliveries, NAME)
            if delivery is not None and _keepable(record, _mistake_of_delivery(delivery)):
                batch.deliveries.append(delivery)
        elif record.topic == changes_topic:
            change = change_in(record, NAME)
            if change is not None:
                batch.changes.append(change)
        else:
            raise ValueError(
                f"topic {record.topic!r} is not the case store's; it reads "
                f"{topics.incident_events!r} and {topics.deliveries!r}"
            )
    return batch


def _mistake_of_event(event: IncidentEvent) -> str:
    incident = event.incident
    if event.incident_id != incident.id or event.version != incident.version:
        return "the event is about another incident than it holds"
    times = (event.time_ms, incident.opened_ms, incident.updated_ms, incident.resolved_ms)
    return _mistake_of((event.version, *times, incident.closed_ms, incident.acknowledged_ms))


def _mistake_of_delivery(delivery: Delivery) -> str:
    return _mistake_of((delivery.time_ms, delivery.attempt))


def _mistake_of(numbers: Sequence[int | None]) -> str:
    within = all(number is None or 0 <= number <= LARGEST for number in numbers)
    return "" if within else "a time or version is out of range"


def _keepable(record: Record, mistake: str) -> bool:
    if mistake:
        drop(NAME, record, "malformed", mistake)
    return not mistake


def chunks(items: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """Parts small enough for an SQL `IN`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def storable(text: str) -> str:
    """Without NUL, which PostgreSQL does not store in text."""
    return text.replace("\0", "\ufffd")
