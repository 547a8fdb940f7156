"""Why a raw record could not be used: a bounded set of reasons, and messages that help to mend."""

from typing import Literal, get_args

from schemas.events import DeadLetter
from streams.run import Run

Reason = Literal[
    "empty",  # a tombstone, or nothing but white space
    "too_large",
    "not_json",
    "not_an_object",
    "invalid_utf8",
    "too_deep",
    "missing_field",
    "wrong_type",
    "not_finite",
    "negative",
    "out_of_range",
    "in_the_future",
    "unknown_kind",  # an object in which nothing is recognised
    "late",  # its window is closed
    "too_many_series",
]
REASONS: tuple[Reason, ...] = get_args(Reason)


class Rejected(Exception):  # noqa: N818 - it names what happened to the record
    """This record cannot be used. The message holds no payload text."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message


def dead_letter(run: Run, index: int, why: Rejected) -> DeadLetter:
    """The record at `index` of a run as one that could not be used."""
    offset = run.offsets[index]
    timestamp_ms = run.timestamps_ms[index]
    decoding = why.reason not in ("late", "too_many_series", "in_the_future")
    return DeadLetter(
        topic=run.topic,
        partition=run.partition,
        offset=offset,
        reason=why.reason,
        message=f"{run.topic}/{run.partition} offset {offset}: {why.message}",
        stage="VALUE_CONVERTER" if decoding else "TRANSFORMATION",
        key=run.keys[index],
        value=run.values[index],
        timestamp_ms=timestamp_ms if timestamp_ms >= 0 else None,
    )
