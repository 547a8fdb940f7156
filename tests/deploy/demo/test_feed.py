"""The feeder sends a recording in order, at its pace, and never more than the broker keeps."""

import threading
import time

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from deploy.brokers.mock import MockBroker
from deploy.demo import feed
from deploy.demo.feed import HEARTBEAT_MS, Feed, Feeder

SECOND_MS = 1000


def recording(seconds: int, size: int = 10) -> list[bytes]:
    body = "x" * size
    return [
        orjson.dumps({"time": n * SECOND_MS, "service": f"s{n % 5}", "body": body})
        for n in range(1, seconds + 1)
    ]


def a_feed(lines: list[bytes], speed: float) -> Feed:
    return Feed(
        lines=lines,
        topic="raw",
        partitions=2,
        shift_ms=60_000,
        tail_ms=20_000,
        speed=speed,
        group="worker",
    )


def read(broker: MockBroker) -> dict[int, list[dict[str, object]]]:
    """All records by partition, in the order of their offsets."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "test"})
    places = [TopicPartition("raw", p, OFFSET_BEGINNING) for p in range(2)]
    consumer.assign(places)
    ends = {p.partition: consumer.get_watermark_offsets(p)[1] for p in places}
    found: dict[int, list[dict[str, object]]] = {0: [], 1: []}
    while any(len(found[p]) < end for p, end in ends.items()):
        for message in consumer.consume(500, 1):
            partition = message.partition()
            assert partition is not None
            found[partition].append(orjson.loads(message.value() or b""))
    consumer.close()
    return found


def test_every_record_arrives_shifted_in_order_with_heartbeats_on_every_partition(
    mock_broker: MockBroker,
) -> None:
    mock_broker.create_topic("raw", 2)
    feeder = Feeder(a_feed(recording(60), 1e6), mock_broker.bootstrap_servers, threading.Event())
    feeder.start()
    feeder.join(20)
    assert feeder.failure is None
    assert feeder.finished
    by_partition = read(mock_broker)
    events = [r for records in by_partition.values() for r in records if "service" in r]
    assert len(events) == feeder.events == 60
    for records in by_partition.values():
        times = [int(str(r["time"])) for r in records]
        assert times == sorted(times)
        beats = [r["time"] for r in records if "service" not in r]
        expected = range(61_000, 61_000 + 59_000 + 20_000 + HEARTBEAT_MS + 1, HEARTBEAT_MS)
        assert beats == list(expected)
    by_service = {
        (p, r["service"]) for p, records in by_partition.items() for r in records if "service" in r
    }
    assert len(by_service) == 5, "a service keeps to one partition"


def test_the_pace_follows_the_speed(mock_broker: MockBroker) -> None:
    mock_broker.create_topic("raw", 2)
    feeder = Feeder(a_feed(recording(60), 100), mock_broker.bootstrap_servers, threading.Event())
    started = time.monotonic()
    feeder.start()
    feeder.join(20)
    # 59 s of recording and 20 s of tail, a hundred times faster; never earlier.
    assert time.monotonic() - started >= 0.79


def test_it_waits_for_the_worker_rather_than_overrun_the_broker(mock_broker: MockBroker) -> None:
    mock_broker.create_topic("raw", 2)
    servers = mock_broker.bootstrap_servers
    stop = threading.Event()
    feeder = Feeder(a_feed(recording(2_000, size=5_000), 1e6), servers, stop)
    feeder.start()
    held = 0
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (held == 0 or held != feeder.events):
        held = feeder.events
        time.sleep(0.5)
    assert 0 < held < 2_000
    assert held * 5_000 < 2 * (feed.AHEAD_BYTES + 10 * 5_000 * HEARTBEAT_MS / SECOND_MS)
    commit_everything(servers)
    while feeder.events == held and time.monotonic() < deadline:
        time.sleep(0.1)
    assert feeder.events > held
    stop.set()
    feeder.join(5)
    assert not feeder.is_alive()
    assert not feeder.finished


def commit_everything(servers: str) -> None:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "worker"})
    places = [TopicPartition("raw", p) for p in range(2)]
    ends = [
        TopicPartition("raw", p.partition, consumer.get_watermark_offsets(p)[1]) for p in places
    ]
    consumer.commit(offsets=ends, asynchronous=False)
    consumer.close()
