"""Reads the records of tocsin's own topics."""

from typing import TypeVar

import msgspec

from schemas.events import DeadLetter
from schemas.reading import UNREADABLE
from streams.run import Run

T = TypeVar("T")


def decode_run(run: Run, decoder: "msgspec.json.Decoder[T]") -> tuple[list[T], list[DeadLetter]]:
    """The records of a run, and those that are none as dead letters."""
    decode = decoder.decode
    try:
        return [decode(value or b"") for value in run.values], []
    except UNREADABLE:
        return _decode_each(run, decoder)


def _decode_each(run: Run, decoder: "msgspec.json.Decoder[T]") -> tuple[list[T], list[DeadLetter]]:
    good: list[T] = []
    bad: list[DeadLetter] = []
    for index, value in enumerate(run.values):
        try:
            good.append(decoder.decode(value or b""))
        except UNREADABLE as error:
            bad.append(_undecodable(run, index, error))
    return good, bad


def _undecodable(run: Run, index: int, error: Exception) -> DeadLetter:
    return DeadLetter(
        topic=run.topic,
        partition=run.partition,
        offset=run.offsets[index],
        reason="malformed",
        message=f"not a record of {run.topic}: {error}",
        stage="VALUE_CONVERTER",
        key=run.keys[index],
        value=run.values[index],
        timestamp_ms=run.timestamps_ms[index],
    )
