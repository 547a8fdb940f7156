"""Names that were seen before are not made anew, and nothing else is different."""

import msgspec
import pytest

from schemas.configuration import Source, Windows
from streams.ingest import Ingest
from streams.raw import Raw
from streams.vocabulary import MAX_NAMES, Vocabulary
from tests.streams.raw_records import event, gauge, heartbeat, log, request, run_of

plainly = msgspec.json.Decoder(Raw).decode


def knowing(*records: bytes, kind: str = "auto") -> Vocabulary:
    """A vocabulary that has missed these records until it knew them."""
    vocabulary = Vocabulary(kind)
    for record in records * 100:
        vocabulary.learn(plainly(record))
    return vocabulary


def test_a_known_name_is_the_same_string_each_time() -> None:
    record = gauge(1, 0.5, instance="cart-1")
    vocabulary = knowing(record)
    first, second = vocabulary.decode(record), vocabulary.decode(record)
    assert (first.service, first.metric, first.instance) == ("cart", "cpu_ratio", "cart-1")
    assert first.service is second.service
    assert first.instance is second.instance


@pytest.mark.parametrize(
    "record",
    [
        gauge(1, 0.5, instance="cart-2"),
        gauge(1, 0.5, metric="other"),
        event(1, service="pay", metric="cpu_ratio", value=1),
        event(1, service=None, body="who am I"),
        heartbeat(1),
    ],
)
def test_another_name_or_none_where_one_is_needed_is_refused(record: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        knowing(gauge(1, 0.5, instance="cart-1")).decode(record)
    with pytest.raises(msgspec.ValidationError):
        Vocabulary().decode(record)


def test_a_field_with_too_many_names_is_read_as_it_comes() -> None:
    vocabulary = Vocabulary()
    for n in range(2 * MAX_NAMES):
        vocabulary.learn(plainly(gauge(1, 0.5, instance=f"cart-{n}")))
    assert vocabulary.decode(gauge(1, 0.5, instance="never seen")).instance == "never seen"
    with pytest.raises(msgspec.ValidationError):
        vocabulary.decode(gauge(1, 0.5, metric="never seen"))


def test_a_name_that_turns_up_often_is_known_soon() -> None:
    vocabulary, missed = knowing(gauge(1, 0.5)), 0
    for _ in range(1_000):
        try:
            vocabulary.decode(log(1, "hello", instance="new"))
        except msgspec.ValidationError:
            missed += 1
            vocabulary.learn(plainly(log(1, "hello", instance="new")))
    assert 0 < missed < 50


def test_where_the_source_says_the_kind_only_records_that_can_be_no_other_are_read() -> None:
    line = log(1, "hello")
    vocabulary = knowing(line, kind="log")
    assert vocabulary.decode(line).body == "hello"
    with pytest.raises(msgspec.ValidationError):
        vocabulary.decode(log(1, "hello", duration_seconds=0.1))


BOTH = [
    gauge(1, 1, body="metric and log"),
    log(1, "log and request", duration_seconds=0.1),
    request(1, 0.1, requests=5, errors=1),
    event(1, metric="half a metric", body="a log line"),
]


@pytest.mark.parametrize("kind", ["auto", "metric", "log", "request", "count"])
def test_a_record_that_could_be_of_two_kinds_is_of_the_sources_kind(kind: str) -> None:
    records = [*BOTH, gauge(1, 1), log(1, "line"), request(1, 0.2), event(1, requests=7)] * 100
    source = msgspec.convert({"topic": "raw", "kind": kind}, Source)
    quick, careful = (Ingest(source, "raw", 3, Windows(), 1) for _ in range(2))
    first = quick.process(run_of([*records, heartbeat(99)]))
    second = careful.process(run_of([*records, heartbeat(99), None]))  # one by one, for the last
    assert first.batches == second.batches
    assert first.dead_letters == second.dead_letters[:-1]
    assert any(batch.observations for batch in first.batches)


def test_what_is_said_does_not_depend_on_what_is_known() -> None:
    records = [
        record
        for n in range(300)
        for record in (
            gauge(n / 10, n, service=f"s{n % 40}", instance=f"i{n}"),
            request(n / 10, 0.1, service=f"s{n % 7}", caller=f"s{n % 40}", operation=f"o{n % 3}"),
            log(n / 10, f"line {n}", service=f"s{n % 40}"),
            event(n / 10, service=None, body="nameless"),
        )
    ]
    knows, learns = (Ingest(Source(topic="raw"), "raw", 3, Windows(), 2) for _ in range(2))
    knows.process(run_of(records))
    data = Ingest(Source(topic="raw"), "raw", 3, Windows(), 2).snapshot()
    knows.restore(data)
    first, second = (
        ingest.process(run_of([*records, heartbeat(99)])) for ingest in (knows, learns)
    )
    assert first == second
    assert {letter.reason for letter in first.dead_letters} == {"missing_field"}
