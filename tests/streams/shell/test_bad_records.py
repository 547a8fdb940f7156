"""What the worker's log says of records that cannot be used."""

import logging

import pytest

from schemas.events import DeadLetter
from streams.shell.bad_records import EVERY_SECONDS, BadRecords


def letter(offset: int, topic: str = "app-logs", reason: str = "missing_field") -> DeadLetter:
    return DeadLetter(
        reason=reason,
        message=f"{topic}/0 offset {offset}: $.time is missing",
        stage="VALUE_CONVERTER",
        topic=topic,
        partition=0,
        offset=offset,
        timestamp_ms=0,
        key=None,
        value=b"{}",
    )


def test_the_first_is_said_at_once_and_the_rest_are_counted_by_the_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    now = 1000.0
    records = BadRecords("dead", lambda: now)
    records.add([letter(0), letter(1)])
    for offset in range(2, 50):
        now += EVERY_SECONDS / 100
        records.add([letter(offset)])
    now = 1000.0 + EVERY_SECONDS
    records.add([letter(50)])
    assert caplog.messages == [
        "bad records in app-logs: 2 (missing_field), sent on to dead; "
        "such as app-logs/0 offset 0: $.time is missing",
        "bad records in app-logs: 49 (missing_field), sent on to dead; "
        "such as app-logs/0 offset 50: $.time is missing",
    ]


def test_each_topic_and_each_reason_is_said_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    records = BadRecords("dead", lambda: 0.0)
    records.add([letter(0), letter(1, reason="late"), letter(2, topic="other")])
    records.add([])
    assert [message.partition(", sent")[0] for message in caplog.messages] == [
        "bad records in app-logs: 1 (missing_field)",
        "bad records in app-logs: 1 (late)",
        "bad records in other: 1 (missing_field)",
    ]
