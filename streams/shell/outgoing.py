"""What the stages say, as records of the topics it goes to."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

import msgspec

from schemas.anomalies import AnomalyBatch
from schemas.configuration import Topics
from schemas.events import DeadLetter
from schemas.incidents import IncidentEvent
from schemas.observations import ObservationBatch
from schemas.times import iso
from streams.run import Run
from streams.shell.checkpoints import Outgoing

_encode = msgspec.json.Encoder().encode
_JSON = (("content-type", b"application/json"),)

MAX_DEAD_LETTER_BYTES = 15 * 1024 * 1024
"""A longer value is left where it is, and only its length and coordinates are written."""

EXCEPTION_CLASSES = {
    "VALUE_CONVERTER": "org.apache.kafka.connect.errors.DataException",
    "TRANSFORMATION": "org.apache.kafka.connect.errors.DataException",
}
"""The names that Kafka Connect's own converters and transforms use for a record of no use."""


def observations(batches: Iterable[ObservationBatch], topics: Topics) -> list[Outgoing]:
    """Batches go to the partition of their shard, keyed by source."""
    return [
        Outgoing(topics.observations, b.source.encode(), _encode(b), _JSON, b.shard)
        for b in batches
    ]


def anomalies(batches: Iterable[AnomalyBatch], topics: Topics) -> list[Outgoing]:
    """Everything goes to the one partition: an environment's incidents are decided in one place."""
    return [Outgoing(topics.anomalies, b.source.encode(), _encode(b), _JSON, 0) for b in batches]


def incident_events(events: Iterable[IncidentEvent], topics: Topics) -> list[Outgoing]:
    """Each event to the log and the incident after it to the compacted topic, by incident id."""
    return [record for event in events for record in _incident_event(event, topics)]


def _incident_event(event: IncidentEvent, topics: Topics) -> Iterator[Outgoing]:
    key = event.incident_id.encode()
    headers = _cloud_event(event)
    yield Outgoing(topics.incident_events, key, _encode(event), headers)
    yield Outgoing(topics.incidents, key, _encode(event.incident), headers)


def _cloud_event(event: IncidentEvent) -> tuple[tuple[str, bytes], ...]:
    """CloudEvents 1.0, binary mode of its Kafka protocol binding."""
    return (
        ("ce_id", event.id.encode()),
        ("ce_type", f"tocsin.incident.{event.type}".encode()),
        ("ce_source", f"/tocsin/{event.incident.environment}".encode()),
        ("ce_specversion", b"1.0"),
        ("ce_time", iso(event.time_ms).encode()),
        *_JSON,
    )


def dead_letters(
    letters: Iterable[DeadLetter], run: Run, environment: str, topics: Topics
) -> list[Outgoing]:
    """Key, value and headers as they came, with the headers of Kafka Connect and our own."""
    return [_dead_letter(letter, run, environment, topics) for letter in letters]


def _dead_letter(letter: DeadLetter, run: Run, environment: str, topics: Topics) -> Outgoing:
    value, size = letter.value, len(letter.value or b"")
    if size > MAX_DEAD_LETTER_BYTES:
        value = None
    return Outgoing(
        topics.dead_letters,
        letter.key,
        value,
        (
            *_original_headers(letter, run),
            ("__connect.errors.topic", letter.topic.encode()),
            ("__connect.errors.partition", str(letter.partition).encode()),
            ("__connect.errors.offset", str(letter.offset).encode()),
            ("__connect.errors.stage", letter.stage.encode()),
            (
                "__connect.errors.exception.class.name",
                EXCEPTION_CLASSES.get(letter.stage, "").encode(),
            ),
            ("__connect.errors.exception.message", letter.message.encode()),
            ("tocsin.id", letter.id.encode()),
            ("tocsin.reason", letter.reason.encode()),
            ("tocsin.environment", environment.encode()),
            ("tocsin.value_bytes", str(size).encode()),
        ),
    )


def _original_headers(letter: DeadLetter, run: Run) -> tuple[tuple[str, bytes], ...]:
    if not run.headers or letter.topic != run.topic or letter.partition != run.partition:
        return ()
    index = bisect_left(run.offsets, letter.offset)
    return run.headers.get(index, ()) if run.offsets[index] == letter.offset else ()
