"""The real Apache Kafka that tests and benchmarks start."""

import os
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.brokers import apache
from deploy.brokers.apache import ApacheKafka, ApacheKafkaError, ApacheKafkaMissingError


def test_without_java_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not apache.available()
    with pytest.raises(ApacheKafkaMissingError, match="java is not on the path: install"):
        ApacheKafka().start()


def test_without_maven_and_jars_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ApacheKafkaMissingError, match="mvn is not on the path: install Maven"):
        apache.jars()


def test_before_the_start_it_has_no_address() -> None:
    with pytest.raises(ApacheKafkaError, match="not started"):
        _ = ApacheKafka().bootstrap_servers


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.usefixtures("kafka_broker")  # skips where Java is missing
async def test_records_outlive_a_stop_and_the_process_ends_with_the_block() -> None:
    with ApacheKafka({"num.network.threads": "1"}, cpus={0}) as broker:
        broker.create_topic("raw", 2)
        with pytest.raises(ApacheKafkaError, match="topic raw cannot be created"):
            broker.create_topic("raw", 2)
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all")
        await producer.start()
        await producer.send_and_wait("raw", b"kept", partition=1)
        await producer.stop()
        first, address = broker.pid, broker.bootstrap_servers
        assert first is not None
        assert os.sched_getaffinity(first) == {0}

        broker.stop()
        broker.start()
        assert broker.bootstrap_servers == address
        consumer = AIOKafkaConsumer("raw", bootstrap_servers=address, auto_offset_reset="earliest")
        await consumer.start()
        record = await consumer.getone()
        await consumer.stop()
        second = broker.pid

    assert record.value == b"kept"
    assert second is not None
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)
