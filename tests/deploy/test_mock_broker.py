"""The embedded broker as its clients see it."""

import signal
import subprocess
import sys

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.brokers.mock import AUTOMATIC_PARTITIONS, MockBroker, MockBrokerError


async def test_topics_have_the_partitions_that_were_asked_for() -> None:
    with MockBroker({"seven": 7}) as broker:
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
        await producer.start()
        try:
            asked = await producer.partitions_for("seven")
            automatic = await producer.partitions_for("nobody-created-it")
        finally:
            await producer.stop()
    assert asked == set(range(7))
    assert automatic == set(range(AUTOMATIC_PARTITIONS))


@pytest.mark.parametrize("instance", [None, "worker-0"])
async def test_a_group_of_one_reads_everything_and_commits(instance: str | None) -> None:
    with MockBroker({"raw": 3}) as broker:
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all")
        await producer.start()
        for number in range(30):
            await producer.send_and_wait("raw", b"%d" % number, partition=number % 3)
        await producer.stop()

        consumer = AIOKafkaConsumer(
            "raw",
            bootstrap_servers=broker.bootstrap_servers,
            group_id="group",
            group_instance_id=instance,
            session_timeout_ms=6000,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            read: list[int] = []
            while len(read) < 30:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    read += [int(record.value) for record in records]
            await consumer.commit()
            committed = [await consumer.committed(tp) for tp in consumer.assignment()]
        finally:
            await consumer.stop()
    assert sorted(read) == list(range(30))
    assert committed == [10, 10, 10]


def test_creating_a_topic_twice_is_refused_with_its_name() -> None:
    with (
        MockBroker({"raw": 1}) as broker,
        pytest.raises(MockBrokerError, match="topic raw cannot be created"),
    ):
        broker.create_topic("raw", 1)


def test_a_broker_that_does_not_run_says_so() -> None:
    broker = MockBroker()
    with pytest.raises(MockBrokerError, match="not running"):
        _ = broker.bootstrap_servers
    broker.start()
    broker.stop()
    broker.stop()
    with pytest.raises(MockBrokerError, match="not running"):
        broker.create_topic("raw", 1)


def test_as_a_process_it_prints_its_address_and_ends_on_a_signal() -> None:
    command = [sys.executable, "-m", "deploy.brokers.mock", "raw:2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=5)
    assert address.startswith("127.0.0.1:")
    assert code == 0
