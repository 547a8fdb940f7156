"""A worker that stands still through a rebalance, and goes on where it was: in a checkpoint."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP
from msgspec.structs import replace

from deploy.brokers.apache import ApacheKafka
from schemas.configuration import Configuration, Windows
from streams.shell.changelog import Changelogs
from streams.shell.checkpoints import Checkpoint, Manifest, is_manifest
from streams.shell.copies import Copies
from tests.streams.shell.conftest import START_MS, committed, metric, produce, topic_partitions


@pytest.mark.slow
@pytest.mark.kafka
async def test_its_checkpoint_does_not_take_the_place_of_its_successor_s(
    kafka_broker: ApacheKafka, configuration: Callable[..., Configuration], tmp_path: Path
) -> None:
    servers = kafka_broker.bootstrap_servers
    c = configuration(servers, "replaced-", 0.3, Windows(idle_timeout_seconds=3600))
    for topic, partitions in topic_partitions(c, 1).items():
        kafka_broker.create_topic(topic, partitions)
    source, group = c.sources[0].topic, c.worker.consumer_group
    changelog = TP(f"{group}-ingest-{source}-changelog", 0)
    flag = tmp_path / "stop"

    async def send(first: int, last: int) -> None:
        await produce(servers, source, {0: [metric(START_MS + n) for n in range(first, last)]})

    async def until_committed(offset: int) -> None:
        async with asyncio.timeout(60):
            while await committed(servers, group, source, 0) != offset:  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    first = start(tmp_path, "first", c, flag)
    try:
        await send(0, 100)
        await until_committed(100)
        flag.touch()
        await send(100, 200)
        async with asyncio.timeout(60):
            while flag.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        second = start(tmp_path, "second", c, tmp_path / "never")
        try:
            await until_committed(200)
            await send(200, 300)
            await until_committed(300)
        finally:
            second.kill()
            second.wait()
        before = await latest(servers, changelog, tmp_path)
        assert before.next_offsets == {f"{source}/0": 300}
        first.send_signal(signal.SIGCONT)
        async with asyncio.timeout(60):
            while (sequence := await last_sequence(servers, changelog)) >= before.sequence:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    finally:
        first.kill()
        first.wait()
    assert sequence < before.sequence
    assert await latest(servers, changelog, tmp_path) == before


def start(folder: Path, name: str, c: Configuration, flag: Path) -> "subprocess.Popen[bytes]":
    """A worker with its own disk."""
    own = replace(c, worker=replace(c.worker, data_dir=str(folder / name)))
    file = folder / f"{name}.json"
    file.write_bytes(msgspec.json.encode(own))
    with (folder / f"{name}.log").open("ab") as log:
        command = [sys.executable, "-m", "tests.streams.shell.stopping", str(file), str(flag)]
        return subprocess.Popen(command, stdout=log, stderr=log)


async def latest(servers: str, changelog: TP, folder: Path) -> Checkpoint:
    changelogs = Changelogs({"bootstrap_servers": servers}, Copies(folder / "none"))
    checkpoint = (await changelogs.latest([changelog]))[changelog].checkpoint
    assert checkpoint is not None
    return checkpoint


async def last_sequence(servers: str, changelog: TP) -> int:
    """Of the manifest that stands last in the log."""
    tp = TopicPartition(*changelog)
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([tp])
        end, sequence = (await consumer.end_offsets([tp]))[tp], 0
        while await consumer.position(tp) < end:
            for record in (await consumer.getmany(tp, timeout_ms=200)).get(tp, []):
                if is_manifest(record.key):
                    sequence = msgspec.msgpack.decode(record.value, type=Manifest).sequence
        return sequence
    finally:
        await consumer.stop()
