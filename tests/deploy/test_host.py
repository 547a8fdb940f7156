"""A sink hosted on a broker: order, positions, outages, failures, shutdown."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route

from deploy.brokers.apache import ApacheKafka
from deploy.brokers.mock import MockBroker
from deploy.consume import AheadOfTopicError
from deploy.credentials import kafka_settings
from deploy.host import SinkHost, run_process
from deploy.publisher import Publisher
from deploy.topics import TopicsError
from schemas.configuration import Kafka, Listen
from sinks.sink import Publish, Record


class Memory:
    """What outlives a sink: its store."""

    def __init__(self) -> None:
        self.positions: dict[tuple[str, int], int] = {}
        self.values: list[bytes] = []
        self.seconds_to_read = 0.0


class MemorySink:
    """A sink whose store is in memory."""

    name = "memory"

    def __init__(self, topics: tuple[str, ...], store: Memory, publish: Publish) -> None:
        self.topics = topics
        self.store = store
        self.publish = publish
        self.calls: list[str] = []
        self.fail_with: Exception | None = None

    async def start(self) -> None:
        self.calls.append("start")

    async def positions(self) -> Mapping[tuple[str, int], int]:
        await asyncio.sleep(self.store.seconds_to_read)
        return dict(self.store.positions)

    async def apply(self, records: Sequence[Record]) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        for record in records:
            at = (record.topic, record.partition)
            if record.offset < self.store.positions.get(at, 0):
                continue
            self.store.positions[at] = record.offset + 1
            self.store.values.append(record.value or b"")

    async def stop(self) -> None:
        self.calls.append("stop")

    def routes(self) -> list[BaseRoute]:
        async def page(_request: Request) -> PlainTextResponse:
            return PlainTextResponse(f"{len(self.store.values)} records")

        return [Route("/page", page)]


class Hosted:
    def __init__(self, host: SinkHost, sink: MemorySink, stop: asyncio.Event) -> None:
        self.host, self.sink, self.stop = host, sink, stop
        self.task = asyncio.create_task(host.run(stop))


@asynccontextmanager
async def hosted(
    servers: str, store: Memory, topics: tuple[str, ...] = ("log",), group: str = "memory"
) -> AsyncIterator[Hosted]:
    settings = kafka_settings(Kafka(bootstrap_servers=servers))
    publisher = Publisher(settings)
    sink = MemorySink(topics, store, publisher)
    running = Hosted(SinkHost(sink, publisher, settings, group, Listen()), sink, asyncio.Event())
    try:
        yield running
    finally:
        running.stop.set()
        await asyncio.gather(running.task, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (the effect of other tasks is polled for)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def producing(servers: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def write(
    servers: str, values: Sequence[str], topic: str = "log", partition: int = 0
) -> None:
    async with producing(servers) as producer:
        for value in values:
            await producer.send_and_wait(topic, value.encode(), partition=partition)


def numbers(first: int, last: int) -> list[str]:
    return [f"{number:04}" for number in range(first, last)]


async def test_records_come_in_order_and_the_position_is_committed_for_lag_tools(
    mock_broker: MockBroker,
) -> None:
    mock_broker.create_topic("log", 1)
    store = Memory()
    servers = mock_broker.bootstrap_servers
    await write(servers, numbers(0, 600))
    async with hosted(servers, store) as running:
        await until(lambda: len(store.values) == 600)
        await until(lambda: running.host.health.ready)
    assert [value.decode() for value in store.values] == numbers(0, 600)
    assert await committed(servers, "memory") == 600
    assert running.sink.calls == ["start", "stop"]


async def committed(servers: str, group: str, topic: str = "log") -> int | None:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        offset: int | None = await consumer.committed(TopicPartition(topic, 0))
        return offset
    finally:
        await consumer.stop()


@pytest.mark.slow
async def test_the_stores_position_counts_and_not_kafkas(mock_broker: MockBroker) -> None:
    mock_broker.create_topic("log", 1)
    servers = mock_broker.bootstrap_servers
    await write(servers, numbers(0, 10))
    first = Memory()
    async with hosted(servers, first):
        await until(lambda: len(first.values) == 10)

    restored_from_backup = Memory()
    restored_from_backup.positions[("log", 0)] = 4
    async with hosted(servers, restored_from_backup):
        await until(lambda: len(restored_from_backup.values) >= 6)
    assert [v.decode() for v in restored_from_backup.values] == numbers(4, 10)


async def test_a_topic_made_anew_ends_the_host_rather_than_pass_for_read(
    mock_broker: MockBroker,
) -> None:
    mock_broker.create_topic("log", 1)
    store = Memory()
    store.positions[("log", 0)] = 40
    await write(mock_broker.bootstrap_servers, numbers(0, 3))
    async with hosted(mock_broker.bootstrap_servers, store, group="anew") as running:
        with pytest.raises(AheadOfTopicError, match="log/0 up to offset 40, which ends at 3"):
            await asyncio.wait_for(running.task, 20)
    assert store.values == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.002, 0.003, 0.005, 0.02])
async def test_what_came_while_partitions_were_assigned_is_read_after_a_restart(
    mock_broker: MockBroker, seconds: float
) -> None:
    mock_broker.create_topic("log", 1)
    servers, store = mock_broker.bootstrap_servers, Memory()
    store.seconds_to_read = seconds
    await write(servers, numbers(0, 2))
    async with hosted(servers, store):
        await until(lambda: len(store.values) == 2)
    await write(servers, numbers(2, 4))
    async with hosted(servers, store):
        await until(lambda: len(store.values) == 4)
    assert [v.decode() for v in store.values] == numbers(0, 4)


async def test_pages_health_and_metrics_are_served_side_by_side(mock_broker: MockBroker) -> None:
    mock_broker.create_topic("log", 1)
    await write(mock_broker.bootstrap_servers, ["a", "b"])
    store = Memory()
    async with hosted(mock_broker.bootstrap_servers, store, group="pages") as running:
        await until(lambda: len(store.values) == 2)
        async with aiohttp.ClientSession(running.host.url) as session:
            async with session.get("/page") as page:
                assert await page.text() == "2 records"
            async with session.get("/metrics") as metrics:
                text = await metrics.text()
    assert 'tocsin_sink_records_total{sink="memory",topic="log"}' in text
    assert 'tocsin_sink_next_offset{partition="0",sink="memory",topic="log"} 2.0' in text
    assert 'part="memory"' in text


async def test_health_and_metrics_can_be_kept_away_from_the_pages(mock_broker: MockBroker) -> None:
    mock_broker.create_topic("log", 1)
    settings = kafka_settings(Kafka(bootstrap_servers=mock_broker.bootstrap_servers))
    publisher, stop = Publisher(settings), asyncio.Event()
    sink = MemorySink(("log",), Memory(), publisher)
    host = SinkHost(sink, publisher, settings, "apart", Listen(), admin=Listen())
    running = asyncio.create_task(host.run(stop))
    await until(lambda: host.health.ready)
    async with aiohttp.ClientSession() as session:

        async def status(url: str) -> int:
            async with session.get(url) as answer:
                return answer.status

        admin, pages = host.admin_url, host.url
        assert [await status(f"{admin}{p}") for p in ("/health/live", "/metrics", "/page")] == [
            200,
            200,
            404,
        ]
        assert [await status(f"{pages}{p}") for p in ("/health/live", "/metrics", "/page")] == [
            404,
            404,
            200,
        ]
    stop.set()
    await running


async def test_what_the_sink_raises_ends_the_host_and_closes_the_sink(
    mock_broker: MockBroker,
) -> None:
    mock_broker.create_topic("log", 1)
    async with hosted(mock_broker.bootstrap_servers, Memory()) as running:
        await until(lambda: running.host.health.ready)
        running.sink.fail_with = OSError("disk full")
        await write(mock_broker.bootstrap_servers, ["a"])
        with pytest.raises(OSError, match="disk full"):
            await asyncio.wait_for(running.task, 10)
    assert running.sink.calls == ["start", "stop"]
    assert not running.host.health.live


async def test_positions_that_cannot_be_read_end_the_host_rather_than_skip_records(
    mock_broker: MockBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_self: MemorySink) -> Mapping[tuple[str, int], int]:
        raise OSError("store is locked")

    monkeypatch.setattr(MemorySink, "positions", broken)
    mock_broker.create_topic("log", 1)
    async with hosted(mock_broker.bootstrap_servers, Memory()) as running:
        with pytest.raises(OSError, match="store is locked"):
            await asyncio.wait_for(running.task, 10)


async def test_published_records_are_on_kafka_when_the_call_returns(
    mock_broker: MockBroker,
) -> None:
    mock_broker.create_topic("log", 1)
    mock_broker.create_topic("deliveries", 1)
    store = Memory()
    async with hosted(mock_broker.bootstrap_servers, store, ("log", "deliveries")) as running:
        # Called before the connection stands: it waits for it.
        await running.sink.publish("deliveries", "INC-1", b"sent", {"ce_type": "delivery"})
        await until(lambda: store.values == [b"sent"])


@pytest.mark.slow
async def test_a_host_without_broker_lives_is_not_ready_and_ends_within_five_seconds() -> None:
    with MockBroker() as gone:
        servers = gone.bootstrap_servers
    async with hosted(servers, Memory()) as running:
        await until(lambda: "waiting for" in running.host.health.reasons["kafka"])
        async with aiohttp.ClientSession(running.host.url) as session:
            async with session.get("/health/live") as live:
                assert live.status == 200
            async with session.get("/health/ready") as ready:
                assert ready.status == 503
                assert servers in (await ready.json())["reasons"]["kafka"]
        began = time.monotonic()
        running.stop.set()
        await running.task
    assert time.monotonic() - began < 5


@pytest.mark.kafka
@pytest.mark.slow
async def test_a_broker_that_comes_back_is_read_on_from_where_the_store_stands() -> None:
    store = Memory()
    with ApacheKafka() as broker:
        broker.create_topic("log", 2)
        servers = broker.bootstrap_servers
        await write(servers, numbers(0, 5))
        async with hosted(servers, store) as running:
            await until(lambda: len(store.values) == 5 and running.host.health.ready)
            broker.stop()
            waiting = asyncio.ensure_future(running.sink.publish("log", "k", b"late"))
            await until(lambda: not running.host.health.ready)
            assert running.host.health.live
            broker.start()
            await asyncio.wait_for(waiting, 60)
            await until(lambda: b"late" in store.values, 60)
            await until(lambda: running.host.health.ready, 60)
    assert sorted(v.decode() for v in store.values[:5]) == numbers(0, 5)


@pytest.mark.kafka
@pytest.mark.slow
async def test_two_members_of_a_group_share_the_partitions_and_lose_nothing(
    kafka_broker: ApacheKafka,
) -> None:
    kafka_broker.create_topic("shared-log", 2)
    servers, store = kafka_broker.bootstrap_servers, Memory()
    async with hosted(servers, store, ("shared-log",), "shared") as first:
        await until(lambda: first.host.health.ready)
        await write(servers, numbers(0, 50), "shared-log", 0)
        async with hosted(servers, store, ("shared-log",), "shared") as second:
            await until(lambda: second.host.health.ready, 40)
            await write(servers, numbers(50, 100), "shared-log", 1)
            await until(lambda: len(store.values) == 100, 40)
        await write(servers, numbers(100, 150), "shared-log", 1)
        await until(lambda: len(store.values) == 150, 40)
    assert sorted(v.decode() for v in store.values) == numbers(0, 150)


PROGRAM = """
import sys
from deploy.credentials import kafka_settings
from deploy.host import run_sink_process
from schemas.configuration import Kafka, Listen
from tests.deploy.test_host import Memory, MemorySink

settings = kafka_settings(Kafka(bootstrap_servers=sys.argv[1]))
make = lambda publish: MemorySink(("log",), Memory(), publish)
print("starting", flush=True)
sys.exit(run_sink_process(make, settings, "process", Listen()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_cleanly_within_five_seconds(
    mock_broker: MockBroker, number: signal.Signals, tmp_path: Path
) -> None:
    mock_broker.create_topic("log", 1)
    command = [sys.executable, "-c", PROGRAM, mock_broker.bootstrap_servers]
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + 30
        while "partitions assigned" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        began = time.monotonic()
        process.send_signal(number)
        code = process.wait(timeout=10)
    assert code == 0, log.read_text()
    assert time.monotonic() - began < 5


def test_what_is_foreseen_ends_a_process_in_one_line_and_the_rest_with_a_traceback() -> None:
    async def foreseen() -> None:
        raise TopicsError("Kafka at nowhere does not answer")

    async def unforeseen() -> None:
        raise KeyError("a bug")

    with structlog.testing.capture_logs() as said:
        assert run_process(foreseen, (TopicsError,)) == 1
        assert run_process(unforeseen, (TopicsError,)) == 1
    assert [(line["error"], line.get("exc_info", False)) for line in said] == [
        ("Kafka at nowhere does not answer", False),
        ("KeyError: 'a bug'", True),
    ]
