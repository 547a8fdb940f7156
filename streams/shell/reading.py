"""Reads the records of tocsin's own topics.

What a newer release has written stops the worker, so that nothing is misread and nothing lost; of
what people ask, which anybody may write to the topic, it goes to the dead letters instead.
"""

from typing import TypeVar

import msgspec

from schemas.events import DeadLetter
from schemas.reading import UNREADABLE, NewerMessageError, read
from streams.run import Run
from streams.shell.connection import WorkerError

T = TypeVar("T")


def decode_run(run: Run, decoder: "msgspec.json.Decoder[T]") -> tuple[list[T], list[DeadLetter]]:
    """The records of a run, and those that are none as dead letters.

    Raises `WorkerError` for a record of a newer release.
    """
    good: list[T] = []
    bad: list[DeadLetter] = []
    for index, value in enumerate(run.values):
        try:
            good.append(read(value or b"", decoder))
        except NewerMessageError as error:
            raise WorkerError(
                f"a newer release has written {run.source} at offset {run.offsets[index]}: {error}."
                " Nothing was read past it: run that release on all workers of the group"
            ) from error
        except UNREADABLE as error:
            bad.append(_undecodable(run, index, error))
    return good, bad


def decode_asked(run: Run, decoder: "msgspec.json.Decoder[T]") -> tuple[list[T], list[DeadLetter]]:
    """The same of what people ask: what a newer release means is a dead letter."""
    good: list[T] = []
    bad: list[DeadLetter] = []
    for index, value in enumerate(run.values):
        try:
            good.append(read(value or b"", decoder))
        except (NewerMessageError, *UNREADABLE) as error:
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
