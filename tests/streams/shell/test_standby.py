"""What another worker saves is here when that worker is gone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from faust.types import TP

from deploy.brokers.mock import MockBroker
from streams.shell.changelog import Changelogs
from streams.shell.checkpoints import CHUNK_BYTES, Checkpoint, records_of
from streams.shell.copies import Copies
from streams.shell.standby import Standby

TOPIC = "worker-detect-changelog"


def generation(partition: int, sequence: int) -> Checkpoint:
    state = bytes([sequence]) * (2 * CHUNK_BYTES)
    return Checkpoint(sequence, state, {f"observations/{partition}": sequence})


async def write(broker: MockBroker, partition: int, records: Sequence[tuple[bytes, bytes]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    await producer.start()
    for key, value in records:
        await producer.send_and_wait(TOPIC, value, key=key, partition=partition)
    await producer.stop()


@asynccontextmanager
async def following(broker: MockBroker, copies: Copies, mine: set[TP]) -> AsyncIterator[None]:
    client = {"bootstrap_servers": broker.bootstrap_servers}
    standby = Standby(client, copies, {TOPIC: 2}, lambda: mine)
    tasks = [asyncio.create_task(standby.run()), asyncio.create_task(copies.run())]
    await asyncio.sleep(1)  # until it stands where the changelogs end
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def fetched_bytes(broker: MockBroker, copies: Copies, partition: int) -> int:
    client = {"bootstrap_servers": broker.bootstrap_servers}
    found = await Changelogs(client, copies).latest([TP(TOPIC, partition)])
    return found[TP(TOPIC, partition)].fetched_bytes


def kept(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} if folder.exists() else set()


@pytest.mark.slow
async def test_a_take_over_finds_what_the_other_worker_saved_on_the_own_disk(
    mock_broker: MockBroker, tmp_path: Path
) -> None:
    mock_broker.create_topic(TOPIC, 2)
    copies = Copies(tmp_path / "checkpoints")
    async with following(mock_broker, copies, {TP(TOPIC, 1)}):
        await write(mock_broker, 0, records_of(0, generation(0, 1)))
        await write(mock_broker, 1, records_of(1, generation(1, 1)))
        await write(mock_broker, 0, records_of(0, generation(0, 2)))
        await write(mock_broker, 0, records_of(0, generation(0, 3))[:1])
        for _ in range(100):
            if await fetched_bytes(mock_broker, copies, 0) < 2 * CHUNK_BYTES:
                break
            await asyncio.sleep(0.1)
    assert kept(tmp_path / "checkpoints") == {f"{TOPIC}-0.checkpoint"}
    assert await fetched_bytes(mock_broker, copies, 0) < 2 * CHUNK_BYTES
    assert await fetched_bytes(mock_broker, copies, 1) > 2 * CHUNK_BYTES  # its own, as ever
