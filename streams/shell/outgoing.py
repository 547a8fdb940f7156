"""What the stages say, as records of the topics it goes to."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

import msgspec
from mode import get_logger
from msgspec.structs import replace

from schemas.anomalies import AnomalyBatch
from schemas.configuration import Topics
from schemas.events import DeadLetter
from schemas.incidents import IncidentEvent
from schemas.observations import ObservationBatch
from schemas.silences import SilenceEvent
from schemas.times import iso
from streams.run import Run
from streams.shell import metrics
from streams.shell.checkpoints import Outgoing

logger = get_logger(__name__)

_encode = msgspec.json.Encoder().encode
_JSON = (("content-type", b"application/json"),)

MAX_RECORD_BYTES = 15 * 1024 * 1024
"""tocsin's topics take 16 MiB with headers. What Kafka refuses it would refuse after every restart
again, so what is longer is cut: of a window the last series or the weakest anomalies are left out
and counted; a dead letter keeps its headers, which have its length, and loses its value.
"""

EXCEPTION_CLASSES = {
    "VALUE_CONVERTER": "org.apache.kafka.connect.errors.DataException",
    "TRANSFORMATION": "org.apache.kafka.connect.errors.DataException",
}
"""The names that Kafka Connect's own converters and transforms use for a record of no use."""


def written(topics: Topics) -> tuple[str, ...]:
    """The topics that the stages write."""
    return (
        topics.observations,
        topics.anomalies,
        topics.incident_events,
        topics.silence_events,
        topics.incidents,
        topics.dead_letters,
    )


def observations(batches: Iterable[ObservationBatch], topics: Topics) -> list[Outgoing]:
    """Batches go to the partition of their shard, keyed by source."""
    return [
        Outgoing(topics.observations, b.source.encode(), _observed(b), _JSON, b.shard)
        for b in batches
    ]


def _observed(batch: ObservationBatch) -> bytes:
    while len(value := _encode(batch)) > MAX_RECORD_BYTES:
        kept = _room(len(batch.observations), len(value), "observations")
        batch = replace(batch, observations=batch.observations[:kept])
    return value


def anomalies(batches: Iterable[AnomalyBatch], topics: Topics) -> list[Outgoing]:
    """Everything goes to the one partition: an environment's incidents are decided in one place."""
    return [Outgoing(topics.anomalies, b.source.encode(), _found(b), _JSON, 0) for b in batches]


def _found(batch: AnomalyBatch) -> bytes:
    while len(value := _encode(batch)) > MAX_RECORD_BYTES:
        worst = sorted(batch.anomalies, key=lambda a: (-a.score, a.id))
        kept = worst[: _room(len(worst), len(value), "anomalies")]
        batch = replace(batch, anomalies=tuple(sorted(kept, key=lambda a: a.id)))
    return value


def _room(count: int, size: int, what: str) -> int:
    """How many of `count` items, which take `size` bytes, there is surely room for."""
    kept = count * MAX_RECORD_BYTES * 9 // (size * 10)
    metrics.LEFT_OUT.labels(what).inc(count - kept)
    logger.error(
        "a window holds %d %s, %d bytes, more than a record can; %d are left out: take identifiers "
        "out of names, or lower windows.max_series",
        count,
        what,
        size,
        count - kept,
    )
    return kept


def incident_events(events: Iterable[IncidentEvent], topics: Topics) -> list[Outgoing]:
    """Each event to the log and the incident after it to the compacted topic, by incident id."""
    return [record for event in events for record in _incident_event(event, topics)]


def _incident_event(event: IncidentEvent, topics: Topics) -> Iterator[Outgoing]:
    key = event.incident_id.encode()
    environment = event.incident.environment
    headers = _cloud_event(event.id, f"incident.{event.type}", environment, event.time_ms)
    yield Outgoing(topics.incident_events, key, _encode(event), headers)
    yield Outgoing(topics.incidents, key, _encode(event.incident), headers)


def silence_events(events: Iterable[SilenceEvent], topics: Topics) -> list[Outgoing]:
    """That silences end, by the silence's id."""
    return [
        Outgoing(
            topics.silence_events,
            event.silence.id.encode(),
            _encode(event),
            _cloud_event(event.id, f"silence.{event.type}", event.environment, event.time_ms),
        )
        for event in events
    ]


def _cloud_event(
    id: str, what: str, environment: str, time_ms: int
) -> tuple[tuple[str, bytes], ...]:
    """CloudEvents 1.0, binary mode of its Kafka protocol binding."""
    return (
        ("ce_id", id.encode()),
        ("ce_type", f"tocsin.{what}".encode()),
        ("ce_source", f"/tocsin/{environment}".encode()),
        ("ce_specversion", b"1.0"),
        ("ce_time", iso(time_ms).encode()),
        *_JSON,
    )


def dead_letters(
    letters: Iterable[DeadLetter], run: Run, environment: str, topics: Topics
) -> list[Outgoing]:
    """Key, value and headers as they came, with the headers of Kafka Connect and our own."""
    return [_dead_letter(letter, run, environment, topics) for letter in letters]


def _dead_letter(letter: DeadLetter, run: Run, environment: str, topics: Topics) -> Outgoing:
    value, size = letter.value, len(letter.value or b"")
    if size > MAX_RECORD_BYTES:
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
    if letter.topic != run.topic or letter.partition != run.partition:
        return ()
    index = bisect_left(run.offsets, letter.offset)
    return run.headers.get(index, ()) if run.offsets[index] == letter.offset else ()
