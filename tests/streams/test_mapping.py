"""One's own JSON is read by paths, in one's own units."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.configuration import Fields, Source, Windows
from streams.ingest import Ingest
from streams.mapping import Mapping, is_wire_format, parse_path, to_ms
from streams.raw import Raw
from streams.reject import REASONS, Rejected
from tests.streams.raw_records import T0, run_of


def read(source: Source, record: object) -> Raw:
    return Mapping(source)(json.dumps(record).encode())


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("time", ("time",)),
        ("kubernetes.labels.app", ("kubernetes", "labels", "app")),
        ("labels.[app.kubernetes.io/name]", ("labels", "app.kubernetes.io/name")),
        ("[@timestamp]", ("@timestamp",)),
        ("[a.b].c", ("a.b", "c")),
    ],
)
def test_paths_are_dotted_with_brackets_around_names_that_hold_dots(
    path: str, segments: tuple[str, ...]
) -> None:
    assert parse_path(path) == segments


@pytest.mark.parametrize("path", ["", "a..b", "a.", ".a", "[a", "[a]b", "[]", "a.[b]."])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_path(path)


@pytest.mark.parametrize(
    ("time", "unit"),
    [
        (1_700_000_000, "s"),
        (1_700_000_000.0, "s"),
        (1_700_000_000, "auto"),
        (1_700_000_000_000, "ms"),
        (1_700_000_000_000, "auto"),
        (1_700_000_000_000_999, "us"),
        (1_700_000_000_000_999, "auto"),
        (1_700_000_000_000_999_999, "ns"),
        (1_700_000_000_000_999_999, "auto"),
        ("2023-11-14T22:13:20Z", "iso8601"),
        ("2023-11-14T22:13:20.000999999Z", "iso8601"),
        ("2023-11-14T23:13:20+01:00", "auto"),
        ("2023-11-14 22:13:20", "auto"),
    ],
)
def test_times_are_read_in_their_unit(time: object, unit: str) -> None:
    assert to_ms(time, unit) == T0


def test_a_time_with_a_fraction_of_a_second_is_rounded_to_the_millisecond() -> None:
    assert to_ms(1_674_981_669.043, "s") == 1_674_981_669_043
    assert to_ms("2023-11-14T22:13:20.123456789Z", "auto") == T0 + 123


@pytest.mark.parametrize(
    ("time", "unit"),
    [
        (True, "auto"),
        ({}, "auto"),
        ("yesterday", "auto"),
        ("2023-11-14T22:13:20Z", "ms"),
        (1_700_000_000, "iso8601"),
    ],
)
def test_a_time_of_another_shape_is_a_wrong_type(time: object, unit: str) -> None:
    with pytest.raises(Rejected) as rejected:
        to_ms(time, unit)
    assert rejected.value.reason == "wrong_type"


def test_a_nested_access_log_becomes_a_request_in_seconds() -> None:
    source = Source(
        topic="access",
        kind="request",
        time_unit="iso8601",
        duration_unit="ms",
        fields=Fields(
            time="[@timestamp]",
            service="kubernetes.labels.[app.kubernetes.io/name]",
            operation="http.route",
            duration="took",
            status="http.status_code",
        ),
    )
    raw = read(
        source,
        {
            "@timestamp": "2023-11-14T22:13:20.5Z",
            "kubernetes": {"labels": {"app.kubernetes.io/name": "cart"}},
            "http": {"route": "/cart", "status_code": 502},
            "took": 1500,
        },
    )
    assert (raw.time, raw.service, raw.operation) == (T0 + 500, "cart", "/cart")
    assert (raw.duration_seconds, raw.status) == (1.5, 502)


def test_constants_stand_in_for_what_a_topic_does_not_say() -> None:
    source = Source(topic="t", service="db", metric="lag_seconds")
    ingest = Ingest(source, "raw", 3, Windows(), 1)
    values = [b'{"time":%d,"value":7}' % T0, b'{"time":%d}' % (T0 + 60_000)]
    ingested = ingest.process(run_of(values))
    assert ingested.dead_letters == []
    (lag,) = [o for b in ingested.batches for o in b.observations]
    assert (lag.series, lag.last) == ('lag_seconds{service="db"}', 7)


@pytest.mark.parametrize(
    ("record", "reason", "where"),
    [
        ({"t": T0, "svc": {"name": 5}, "v": 1}, "wrong_type", "$.svc.name"),
        ({"t": T0, "svc": {"name": "a"}, "v": "1"}, "wrong_type", "$.v"),
        ({"t": T0, "svc": {"name": "a"}, "v": True}, "wrong_type", "$.v"),
        ({"t": T0, "svc": "a", "v": 1}, "missing_field", "service"),
        ({"svc": {"name": "a"}, "v": 1}, "missing_field", "time"),
        ([1], "not_an_object", "object"),
        ({"t": T0, "svc": {"name": "a"}, "w": 1}, "missing_field", "value"),
    ],
)
def test_a_mapped_record_that_is_wrong_is_told_by_its_path(
    record: object, reason: str, where: str
) -> None:
    source = Source(topic="t", metric="m", fields=Fields(time="t", service="svc.name", value="v"))
    ingest = Ingest(source, "raw", 3, Windows(), 1)
    (letter,) = ingest.process(run_of([json.dumps(record).encode()])).dead_letters
    assert letter.reason == reason
    assert where in letter.message


@pytest.mark.parametrize("value", [b"{", b"\xff{}", b"", b"NaN", b"{'a':1}"])
def test_broken_bytes_are_told_apart_as_for_the_wire_format(value: bytes) -> None:
    plain, mapped = Source(topic="t"), Source(topic="t", service="cart")
    letters = [
        Ingest(source, "raw", 3, Windows(), 1).process(run_of([value])).dead_letters
        for source in (plain, mapped)
    ]
    assert letters[0] == letters[1]
    assert len(letters[0]) == 1


def test_only_a_source_without_mapping_is_the_wire_format() -> None:
    assert is_wire_format(Source(topic="t", kind="log"))
    assert not is_wire_format(Source(topic="t", time_unit="s"))
    assert not is_wire_format(Source(topic="t", fields=Fields(service="svc")))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.datetimes(timezones=st.none() | st.timezones()).map(str),
    lambda inner: st.dictionaries(st.sampled_from(["time", "value", "svc"]), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(ANYTHING, st.sampled_from(["auto", "s", "ns", "iso8601"]), ANYTHING)
def test_any_record_is_either_read_or_dead_lettered(time: object, unit: str, other: object) -> None:
    source = msgspec.convert(
        {"topic": "t", "metric": "m", "time_unit": unit, "fields": {"service": "svc.value"}}, Source
    )
    record = {"time": time, "svc": other, "value": other, "status": other}
    values = [json.dumps(record, default=str).encode(), b'{"time":1700000000}']
    letters = Ingest(source, "raw", 3, Windows(), 1).process(run_of(values)).dead_letters
    assert {letter.reason for letter in letters} <= set(REASONS)
