"""What everybody has in the end, as cells: by table and key, with wall times and places left out.

The tables are tocsin's topics, the sinks' stores, what the receiver took, and the counts of every
window. Topics are read as any consumer reads them; what came again under its id is counted.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from deploy.chaos.receiver import Receiver
from deploy.chaos.stage import ChaosError, Stage
from schemas.anomalies import AnomalyBatch
from schemas.incidents import Delivery, IncidentEvent
from schemas.observations import ObservationBatch

Cells = dict[str, dict[str, bytes]]
"""Values by table and key."""

_READ_SECONDS: Final = 60.0
_ALWAYS_SAID: Final = ("asked", "sent", "withheld")
"""Steps of a delivery that do not depend on whether a receiver was down."""

_WALL_TIMES: Final = ("told_ms", "changes_ms")
"""Of a document of the status page."""

_STORES: Final[dict[str, tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]]] = {
    "notifier": (
        ("notifier_incident", ("incident_id",), ("version", "is_open", "severity", "opened_ms")),
        (
            "notifier_message",
            ("message_id",),
            (
                "event_id",
                "incident_id",
                "stage",
                "recipient",
                "channel",
                "rule",
                "subject",
                "state",
            ),
        ),
    ),
    "case-store": (
        (
            "case",
            ("number",),
            ("incident_id", "version", "title", "severity", "state", "public_phase", "incident"),
        ),
        ("case_service", ("number", "service"), ()),
        (
            "timeline",
            ("event_id",),
            ("number", "version", "type", "time_ms", "actor", "text", "changes", "incident"),
        ),
        ("delivery", ("message_id", "status"), ("event_id", "recipient", "channel", "rule")),
    ),
    "status-page": (
        ("status_page_incidents", ("id",), ("version", "public", "opened_ms", "document")),
    ),
}
"""Key and compared columns of each table of each store."""


@dataclass
class Outcome:
    """`repeats` are the same bytes again under the same id, by table; `conflicts` other bytes."""

    cells: Cells = field(default_factory=dict)
    repeats: Counter[str] = field(default_factory=Counter)
    conflicts: list[str] = field(default_factory=list)

    def add(self, table: str, key: str, value: bytes) -> None:
        """Takes in one cell."""
        held = self.cells.setdefault(table, {})
        if key not in held:
            held[key] = value
            return
        self.repeats[table] += 1
        if held[key] != value:
            self.conflicts.append(f"{table} {key}")


class _Cell(NamedTuple):
    key: str
    value: bytes


def outcome(stage: Stage) -> Outcome:
    """Of a run whose processes have ended. Raises `ChaosError` if the topics cannot be read."""
    found = Outcome()
    for table in ("raw", "window counts"):
        found.cells[table] = {}
    _read_topics(stage, found)
    for sink, tables in _STORES.items():
        for table, key, columns in tables:
            for cell in _rows(stage.store(sink), table, key, columns):
                if not (table == "delivery" and cell.key.split(" ")[-1] not in _ALWAYS_SAID):
                    found.add(f"{sink}: {table}", cell.key, cell.value)
    for cell in _taken(stage.receiver):
        found.add("receiver", cell.key, cell.value)
    found.conflicts += [f"receiver {key}" for key in sorted(stage.receiver.conflicts)]
    return found


def _read_topics(stage: Stage, found: Outcome) -> None:
    topics = stage.configuration.topics
    names = {
        stage.raw_topic: "raw",
        topics.observations: "observations",
        topics.anomalies: "anomalies",
        topics.incident_events: "incident-events",
        topics.incidents: "incidents",
        topics.deliveries: "deliveries",
        topics.dead_letters: "dead-letters",
    }
    sent: set[str] = set()
    for message in _messages(stage, names):
        table, value = names[message.topic() or ""], message.value() or b""
        if table == "incidents":  # compacted: the last one counts
            found.cells.setdefault(table, {})[_text(message.key())] = value
        elif table == "deliveries":
            _add_delivery(found, msgspec.json.decode(value, type=Delivery), sent)
        elif table == "observations":
            _add_observations(found, value)
        elif table == "anomalies":
            _add_anomalies(found, value)
        elif table == "incident-events":
            found.add(table, msgspec.json.decode(value, type=IncidentEvent).id, value)
        elif table == "dead-letters":
            found.add(table, _text(dict(message.headers() or ()).get("tocsin.id")), value)
        else:
            found.cells[table][f"{message.partition()}/{message.offset()}"] = value


def _add_observations(found: Outcome, value: bytes) -> None:
    batch = msgspec.json.decode(value, type=ObservationBatch)
    if batch.idle:
        return
    is_new = batch.id not in found.cells.get("observations", {})
    found.add("observations", batch.id, value)
    if is_new:
        for each in batch.observations:
            key = f"{batch.source} {each.series} {batch.window_end_ms}"
            found.add("window counts", key, str(each.count).encode())


def _add_anomalies(found: Outcome, value: bytes) -> None:
    """A batch that holds nothing only says how far its shard is, and comes as the fetches come."""
    batch = msgspec.json.decode(value, type=AnomalyBatch)
    if batch.anomalies or batch.calls or batch.traffic:
        found.add("anomalies", batch.id, value)


def _add_delivery(found: Outcome, delivery: Delivery, seen: set[str]) -> None:
    """By message and step; a record that came again as a whole is a repeat, another attempt at
    what was done already would be a second cell."""
    if delivery.status not in _ALWAYS_SAID:
        return
    key = f"{delivery.message_id} {delivery.status}"
    value = "\n".join((delivery.event_id, delivery.recipient, delivery.channel, delivery.rule))
    if delivery.id not in seen and key in found.cells.get("deliveries", {}):
        found.conflicts.append(f"deliveries {key}")
    seen.add(delivery.id)
    found.add("deliveries", key, value.encode())


def _messages(stage: Stage, topics: Mapping[str, str]) -> Iterator[Message]:
    """Every record of the topics, from the first to the last."""
    consumer = Consumer(
        {
            **stage.settings.confluent,
            "group.id": "tocsin-chaos-outcome",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    counts = {topic.name: topic.partitions for topic in stage.topics()}
    left = {(topic, partition) for topic in topics for partition in range(counts[topic])}
    deadline = time.monotonic() + _READ_SECONDS
    with closing(consumer):
        consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in left])
        while left:
            if time.monotonic() > deadline:
                raise ChaosError(f"the broker does not hand out {sorted(left)}")
            for message in consumer.consume(1000, 0.1):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard((message.topic() or "", message.partition() or 0))


def _rows(file: Path, table: str, key: Sequence[str], columns: Sequence[str]) -> Iterator[_Cell]:
    names = ", ".join([*key, *columns])
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        statement = f'SELECT DISTINCT {names} FROM "{table}"'  # noqa: S608 - names of our own
        for row in connection.execute(statement):
            held = [_without_wall_times(value) for value in row[len(key) :]]
            yield _Cell(" ".join(str(part) for part in row[: len(key)]), msgspec.json.encode(held))


def _without_wall_times(value: Any) -> Any:
    """A JSON document without what a wall clock put into it; anything else as it is."""
    if not (isinstance(value, str) and value.startswith("{")):
        return value
    document = msgspec.json.decode(value)
    for name in _WALL_TIMES:
        document.pop(name, None)
    return document


def _taken(receiver: Receiver) -> Iterator[_Cell]:
    """What was posted, without links, whose tickets hold the time at which they were made."""
    for key, body in receiver.taken.items():
        document = msgspec.json.decode(body)
        document["data"].pop("links", None)
        yield _Cell(key, msgspec.json.encode(document, order="sorted"))


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
