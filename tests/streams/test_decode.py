"""Whatever is wrong with a record is said in one word, and its neighbours are untouched."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.configuration import Source, Windows
from streams.ingest import Ingest
from streams.reject import REASONS
from tests.streams.raw_records import T0, event, gauge, heartbeat, run_of

SECRET = "s3cr3t"
DEEP = b'{"time":1700000000000,"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}"


def with_time(time: str) -> bytes:
    return b'{"time":%s,"service":"s3cr3t","metric":"m","value":1}' % time.encode()


def with_value(value: str) -> bytes:
    return b'{"time":1700000000000,"service":"s3cr3t","metric":"m","value":%s}' % value.encode()


BAD: dict[str, tuple[str, bytes | None]] = {
    "tombstone": ("empty", None),
    "no bytes": ("empty", b""),
    "white space": ("empty", b" \r\n"),
    "text": ("not_json", b"s3cr3t went down"),
    "cut off": ("not_json", b'{"time":1700000000000,"service":"s3cr3'),
    "two objects": ("not_json", b'{"time":1700000000000},{"time":1700000000000'),
    "two objects in one record": ("not_json", heartbeat(1) + heartbeat(2)),
    "comma and object": ("not_json", heartbeat(1) + b"," + heartbeat(2)),
    "trailing comma": ("not_json", b'{"time":1700000000000,}'),
    "single quotes": ("not_json", b"{'time':1700000000000}"),
    "control character in text": ("not_json", b'{"time":1700000000000,"service":"s3cr3t\n"}'),
    "leading zero": ("not_json", with_value("01")),
    "number of 5,000 digits": ("not_finite", with_value("9" * 5_000)),
    "byte order mark": ("not_json", b"\xef\xbb\xbf" + heartbeat(1)),
    "UTF-16": ("invalid_utf8", '{"time":1}'.encode("utf-16")),
    "gzip": ("invalid_utf8", b"\x1f\x8b\x08\x00\x00\x00"),
    "invalid UTF-8": ("invalid_utf8", b'{"time":1700000000000,"service":"\xff\xfe"}'),
    "half a surrogate": ("invalid_utf8", b'{"time":1700000000000,"service":"\\ud800"}'),
    "array": ("not_an_object", b"[1,2]"),
    "number": ("not_an_object", b"17"),
    "string": ("not_an_object", b'"s3cr3t"'),
    "null": ("not_an_object", b"null"),
    "nested too deep": ("too_deep", DEEP),
    "huge": ("too_large", event(1, body="x" * 300_000)),
    "NaN": ("not_finite", with_value("NaN")),
    "Infinity": ("not_finite", with_value("-Infinity")),
    "1e999": ("not_finite", with_value("1e999")),
    "1e305": ("out_of_range", with_value("1e305")),
    "number as text": ("wrong_type", with_value('"0.5"')),
    "bool as number": ("wrong_type", with_value("true")),
    "object as number": ("wrong_type", with_value("{}")),
    "service as number": ("wrong_type", b'{"time":1,"service":17,"metric":"m","value":1}'),
    "no time": ("missing_field", b'{"service":"s3cr3t","metric":"m","value":1}'),
    "null time": ("missing_field", with_time("null")),
    "time as text": ("wrong_type", with_time('"2023-11-14T22:13:20Z"')),
    "time as fraction": ("wrong_type", with_time("1700000000.123")),
    "negative time": ("negative", with_time("-1700000000000")),
    "time in seconds": ("out_of_range", with_time("1700000000")),
    "time in nanoseconds": ("out_of_range", with_time("1700000000000000000")),
    "time beyond 64 bits": ("out_of_range", with_time("9" * 30)),
    "no service": ("missing_field", b'{"time":1700000000000,"metric":"m","value":1}'),
    "empty service": ("missing_field", event(0, service="", metric="m", value=1)),
    "long service": ("out_of_range", event(0, service="s" * 257, metric="m", value=1)),
    "long operation": ("out_of_range", event(0, operation="o" * 257, duration_seconds=1)),
    "metric without value": ("missing_field", event(0, metric="m")),
    "value without metric": ("missing_field", event(0, value=1)),
    "severity without body": ("missing_field", event(0, severity="ERROR")),
    "operation without duration": ("missing_field", event(0, operation="Get")),
    "errors without requests": ("missing_field", event(0, errors=1)),
    "nothing recognised": ("unknown_kind", event(0, foo="s3cr3t")),
    "only a time and something unknown": ("unknown_kind", b'{"time":1700000000000,"x":1}'),
    "negative duration": ("negative", event(0, duration_seconds=-0.1)),
    "negative client duration": (
        "negative",
        event(0, caller="web", duration_seconds=1, client_duration_seconds=-1),
    ),
    "endless duration": ("out_of_range", event(0, duration_seconds=1e12)),
    "negative count": ("negative", event(0, requests=-1, errors=0)),
    "negative errors": ("negative", event(0, requests=1, errors=-1)),
    "more errors than requests": ("out_of_range", event(0, requests=1, errors=2)),
    "count beyond 64 bits": (
        "out_of_range",
        b'{"time":1700000000000,"service":"a","requests":%d}' % 10**25,
    ),
    "fraction of a request": ("wrong_type", event(0, requests=1.5, errors=0)),
}


def new() -> Ingest:
    return Ingest(Source(topic="raw"), "raw", 3, Windows(), 1)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_a_dead_letter_with_its_reason_and_its_neighbours_are_untouched(
    name: str,
) -> None:
    reason, value = BAD[name]
    ingested = new().process(run_of([gauge(1, 2), value, gauge(2, 4), heartbeat(60)], 7))
    (letter,) = ingested.dead_letters
    assert (letter.reason, letter.topic, letter.partition, letter.offset) == (reason, "raw", 3, 8)
    assert letter.value == value
    assert letter.message.startswith("raw/3 offset 8: ")
    assert SECRET not in letter.message
    assert len(letter.message) < 300
    (cpu,) = [o for batch in ingested.batches for o in batch.observations]
    assert (cpu.count, cpu.sum) == (2, 6)


def test_a_run_of_nothing_but_bad_records_leaves_the_state_as_it_was() -> None:
    ingest = new()
    before = ingest.snapshot()
    ingested = ingest.process(run_of([value for _, value in BAD.values()]))
    assert [letter.reason for letter in ingested.dead_letters] == [r for r, _ in BAD.values()]
    assert {letter.reason for letter in ingested.dead_letters} <= set(REASONS)
    assert ingested.batches == []
    assert ingest.snapshot() == before


def test_a_value_that_would_join_its_neighbours_swallows_none_of_them() -> None:
    opening = b'{"time":%d},{"a":[{}' % T0
    values = [opening, gauge(1, 2), b"{}]}", gauge(2, 3), heartbeat(60)]
    ingested = new().process(run_of(values))
    assert [letter.offset for letter in ingested.dead_letters] == [0, 2]
    assert [o.count for b in ingested.batches for o in b.observations] == [2]


def test_unknown_fields_and_repeated_keys_are_read_as_json_parsers_do() -> None:
    value = b'{"time":%d,"service":"a","metric":"m","value":1,"value":2,"x":{"y":[]}}' % T0
    ingested = new().process(run_of([value, heartbeat(60)]))
    assert ingested.dead_letters == []
    assert [o.last for b in ingested.batches for o in b.observations] == [2]


def test_a_record_too_far_ahead_of_its_kafka_timestamp_is_bad_and_closes_nothing() -> None:
    ingest = new()
    ingested = ingest.process(run_of([gauge(600, 1), gauge(601, 1)], timestamp_ms=T0))
    assert [(d.offset, d.reason, d.timestamp_ms) for d in ingested.dead_letters] == [
        (1, "in_the_future", T0)
    ]
    assert ingest.watermark_ms == T0 + 600_000


def test_a_topic_of_one_kind_reads_only_that_kinds_fields() -> None:
    ingest = Ingest(Source(topic="raw", kind="log"), "raw", 3, Windows(), 1)
    both = event(1, body="slow", metric="m", value=1)
    ingested = ingest.process(run_of([both, gauge(2, 1), heartbeat(60)]))
    assert [o.kind for b in ingested.batches for o in b.observations] == ["log"]
    assert [(d.reason, d.offset) for d in ingested.dead_letters] == [("missing_field", 1)]


@given(st.lists(st.binary(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["time", "service", "metric", "value", "body", "requests", "status"]),
        inner, max_size=7),
    max_leaves=12,
).map(lambda x: json.dumps(x).encode()), max_size=8))  # fmt: skip
def test_any_bytes_are_either_read_or_dead_lettered(values: list[bytes]) -> None:
    ingested = new().process(run_of(values))
    offsets = [letter.offset for letter in ingested.dead_letters]
    assert offsets == sorted(set(offsets))
    assert all(letter.reason in REASONS for letter in ingested.dead_letters)
