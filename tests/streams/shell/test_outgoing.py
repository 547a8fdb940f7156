"""What the stages say, as records."""

import msgspec
from prometheus_client import REGISTRY

from schemas.anomalies import Anomaly, AnomalyBatch
from schemas.configuration import Topics
from schemas.events import DeadLetter
from schemas.observations import Observation, ObservationBatch
from streams.run import Run
from streams.shell.outgoing import MAX_RECORD_BYTES, anomalies, dead_letters, observations

TOPICS = Topics()


def letter(offset: int, value: bytes | None = b"{") -> DeadLetter:
    return DeadLetter(
        topic="raw",
        partition=2,
        offset=offset,
        reason="malformed",
        message="ungültig",
        stage="VALUE_CONVERTER",
        key=None,
        value=value,
    )


def run(*offsets: int, headers: dict[int, tuple[tuple[str, bytes], ...]] | None = None) -> Run:
    none = [None] * len(offsets)
    return Run("raw", 2, offsets, [0] * len(offsets), none, none, headers or {})


def test_a_batch_goes_to_the_partition_of_its_shard_and_reads_back_the_same() -> None:
    batch = ObservationBatch("raw/0", 3, 10_000)
    (record,) = observations([batch], TOPICS)
    assert (record.topic, record.partition, record.key) == (TOPICS.observations, 3, b"raw/0")
    assert msgspec.json.decode(record.value or b"", type=ObservationBatch) == batch


def test_anomalies_of_all_shards_go_to_one_partition() -> None:
    records = anomalies([AnomalyBatch(f"shard/{i}", 10_000) for i in range(3)], TOPICS)
    assert {record.partition for record in records} == {0}


def left_out(what: str) -> float:
    return REGISTRY.get_sample_value("tocsin_left_out_total", {"what": what}) or 0.0


def test_a_window_of_too_many_series_is_cut_to_what_kafka_takes_and_the_rest_counted() -> None:
    names = [f'm{{service="s",instance="{i}"}}{"x" * 1000}' for i in range(20_000)]
    batch = ObservationBatch(
        "raw/0", 0, 10_000, tuple(Observation(n, "s", "gauge", 1) for n in names)
    )
    before = left_out("observations")
    (record,) = observations([batch], TOPICS)
    kept = msgspec.json.decode(record.value or b"", type=ObservationBatch).observations
    assert len(record.value or b"") <= MAX_RECORD_BYTES
    assert kept == batch.observations[: len(kept)]
    assert 10_000 < len(kept) == 20_000 - (left_out("observations") - before)


def test_of_too_many_anomalies_the_weakest_are_left_out() -> None:
    batch = AnomalyBatch("shard/0", 10_000, tuple(anomaly(i) for i in range(20_000)))
    before = left_out("anomalies")
    (record,) = anomalies([batch], TOPICS)
    kept = msgspec.json.decode(record.value or b"", type=AnomalyBatch).anomalies
    assert len(record.value or b"") <= MAX_RECORD_BYTES
    assert sorted(a.score for a in kept) == [float(i) for i in range(20_000 - len(kept), 20_000)]
    assert len(kept) == 20_000 - (left_out("anomalies") - before)


def anomaly(number: int) -> Anomaly:
    return Anomaly(
        series=f"m{number:05}",
        service="s",
        kind="level",
        window_start_ms=0,
        window_end_ms=10_000,
        since_ms=0,
        score=float(number),
        value=1.0,
        expected=0.0,
        lower=0.0,
        upper=0.0,
        reason="r" * 1000,
    )


def test_headers_of_the_right_record_are_found_in_a_run_with_gaps() -> None:
    source = run(5, 9, 12, headers={1: (("a", b"1"),), 2: (("b", b"2"),)})
    records = dead_letters([letter(5), letter(9), letter(12)], source, "test", TOPICS)
    assert [record.headers[0] for record in records] == [
        ("__connect.errors.topic", b"raw"),
        ("a", b"1"),
        ("b", b"2"),
    ]


def test_header_texts_are_utf_8() -> None:
    (record,) = dead_letters([letter(5)], run(5), "test", TOPICS)
    headers = dict(record.headers)
    assert headers["__connect.errors.exception.message"].decode() == "ungültig"


def test_a_tombstone_stays_one() -> None:
    (record,) = dead_letters([letter(5, None)], run(5), "test", TOPICS)
    assert record.value is None


def test_a_value_that_no_topic_takes_is_left_out_and_its_length_told() -> None:
    long = b"x" * (MAX_RECORD_BYTES + 1)
    (record,) = dead_letters([letter(5, long)], run(5), "test", TOPICS)
    assert record.value is None
    assert dict(record.headers)["tocsin.value_bytes"] == str(len(long)).encode()
