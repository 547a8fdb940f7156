"""The last records of a raw topic, read as the worker would read them: do kind and fields fit?"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from deploy.credentials import KafkaSettings
from schemas.configuration import Configuration, Fields, Source
from streams.ingest import Ingest
from streams.mapping import parse_path
from streams.run import Run

RECORDS: Final = 20
"""Records looked at in each partition."""
PARTITIONS: Final = 4
TIMEOUT_SECONDS: Final = 10.0

_KINDS: Final = {"gauge": "metrics", "requests": "requests", "duration": "requests", "log": "logs"}
_DEPTH: Final = 4


@dataclass
class Sample:
    """What was seen in the last records of one topic."""

    records: int = 0
    kinds: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    bad: Counter[str] = field(default_factory=Counter)
    """Why records cannot be used, with how many."""
    fields: tuple[str, ...] = ()
    """The dotted names in a record that cannot be used, or that lacks a field that is mapped."""
    found: set[str] = field(default_factory=set)
    """Fields of the mapping that some record has."""


def sample(
    configuration: Configuration, settings: KafkaSettings, source: Source, partitions: int
) -> Sample:
    """Reads the last records of `source`'s topic; commits nothing. Raises `KafkaException`."""
    seen = Sample()
    consumer = Consumer(
        {
            **settings.confluent,
            # The worker's own group, for which it has the right anyway; nothing is committed.
            "group.id": configuration.worker.consumer_group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        for partition in range(min(partitions, PARTITIONS)):
            messages = list(_last(consumer, source.topic, partition))
            if messages:
                _read(seen, configuration, source, partition, messages)
    finally:
        consumer.close()
    return seen


def _last(consumer: Consumer, topic: str, partition: int) -> Iterator[Message]:
    """The last records of a partition, as many as come before its end or in time."""
    place = TopicPartition(topic, partition)
    low, high = consumer.get_watermark_offsets(place, timeout=TIMEOUT_SECONDS)
    if high <= low:
        return
    consumer.assign([TopicPartition(topic, partition, max(low, high - RECORDS))])
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        message = consumer.poll(left)
        if message is None:
            return
        error = message.error()
        if error is None:
            yield message
            if (message.offset() or 0) >= high - 1:
                return
        elif error.code() == KafkaError._PARTITION_EOF:
            return
        else:
            raise KafkaException(error)


def _read(
    seen: Sample,
    configuration: Configuration,
    source: Source,
    partition: int,
    messages: list[Message],
) -> None:
    """Takes the records through a stage of ingest of their own."""
    windows = configuration.windows
    ingest = Ingest(source, source.topic, partition, windows, shards=1)
    run = Run(
        topic=source.topic,
        partition=partition,
        offsets=[message.offset() or 0 for message in messages],
        timestamps_ms=[message.timestamp()[1] for message in messages],
        keys=[message.key() for message in messages],
        values=[message.value() for message in messages],
    )
    result = ingest.process(run)
    past_ms = round((windows.window_seconds + windows.allowed_lateness_seconds) * 1000)
    batches = [*result.batches, *ingest.advance(ingest.watermark_ms + past_ms)]
    for observation in (each for batch in batches for each in batch.observations):
        seen.kinds.add(_KINDS[observation.kind])
        seen.services.add(observation.service)
    seen.records += len(run)
    for letter in result.dead_letters:
        if letter.reason == "late":
            continue  # right in itself, and no matter of kind and fields
        seen.bad[letter.message.partition(": ")[2] or letter.message] += 1
        seen.fields = seen.fields or tuple(_dotted(_record(letter.value), "", _DEPTH))
    records = [_record(value) for value in run.values]
    seen.fields = seen.fields or tuple(_dotted(records[-1], "", _DEPTH))
    for name, path in mapped(source).items():
        if any(_has(record, parse_path(path)) for record in records):
            seen.found.add(name)


def mapped(source: Source) -> dict[str, str]:
    """The paths that the configuration names itself, by field; they are meant to be there."""
    paths = {name: getattr(source.fields, name) for name in Fields.__struct_fields__}
    usual = Fields()
    return {n: path for n, path in paths.items() if path and path != getattr(usual, n)}


def _has(record: dict[str, Any], path: tuple[str, ...]) -> bool:
    found: Any = record
    for segment in path:
        found = found.get(segment) if isinstance(found, dict) else None
    return found is not None


def _record(value: bytes | None) -> dict[str, Any]:
    """A record as it came; without fields if it is no JSON object."""
    try:
        record = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}


def _dotted(record: dict[str, Any], prefix: str, depth: int) -> Iterator[str]:
    for key, value in record.items():
        name = f"{prefix}[{key}]" if "." in key else f"{prefix}{key}"
        if isinstance(value, dict) and value and depth:
            yield from _dotted(value, f"{name}.", depth - 1)
        else:
            yield name
