"""Changes from a topic of one's own: each record becomes a command, under an id of its place."""

from datetime import datetime

import msgspec

from schemas.incidents import Command
from sinks.reading import decode, drop
from sinks.sink import Record

LONGEST_TEXT = 500


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment pipeline says; other fields are passed over.

    `time` is Unix milliseconds or ISO 8601 with its zone, and Kafka's timestamp if it is missing.
    """

    time: int | str | None = None
    service: str | None = None
    services: tuple[str, ...] = ()
    text: str | None = None
    summary: str | None = None
    actor: str | None = None
    author: str | None = None


_decoder = msgspec.json.Decoder(Told)


def change_in(record: Record, sink: str) -> Command | None:
    """The change that a record tells of; None, counted, where it tells of none."""
    told = decode(record, _decoder, sink)
    if told is None:
        return None
    services = told.services or ((told.service,) if told.service else ())
    try:
        at_ms = _time_ms(told.time, record.timestamp_ms)
    except ValueError as error:
        drop(sink, record, "malformed", str(error))
        return None
    if not services:
        drop(sink, record, "malformed", "it names no service: write `service` or `services`")
        return None
    return Command(
        id=f"change-{record.topic}-{record.partition}-{record.offset}",
        type="change",
        incident_id="",
        actor=told.actor or told.author or record.topic,
        issued_ms=record.timestamp_ms,
        text=(told.text or told.summary or "a change").replace("\0", "\ufffd")[:LONGEST_TEXT],
        services=tuple(services),
        from_ms=at_ms,
    )


def _time_ms(time: int | str | None, recorded_ms: int) -> int:
    if time is None or isinstance(time, int):
        return recorded_ms if time is None else time
    at = datetime.fromisoformat(time)
    if at.tzinfo is None:
        raise ValueError(
            f"time {time!r} has no zone; write 2026-11-24T18:00+01:00, or milliseconds"
        )
    return round(at.timestamp() * 1000)
