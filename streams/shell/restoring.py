"""What the stages of assigned partitions are restored from: checkpoints, and ends of topics."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faust.types import TP
from mode import get_logger

from streams.shell import metrics
from streams.shell.already import Already, Outputs
from streams.shell.changelog import Restored
from streams.shell.keeper import Keeper
from streams.shell.lag import partition_of
from streams.shell.table import CheckpointTable

logger = get_logger(__name__)

Found = dict[int, Restored]
"""By partition, in order."""


async def read_checkpoints(
    tables: Sequence[tuple[CheckpointTable, int]], actives: Mapping[CheckpointTable, set[TP]]
) -> list[Found]:
    """The last checkpoints of what is assigned, table by table, with how many partitions each has.

    A broker may have made a changelog with more. Raises what `CheckpointTable.read` does.
    """

    async def read(table: CheckpointTable, count: int) -> Found:
        mine = sorted(tp.partition for tp in actives.get(table, ()) if tp.partition < count)
        return dict(sorted((await table.read(mine)).items())) if mine else {}

    return await asyncio.gather(*(read(table, count) for table, count in tables))


async def ends_of(consumer: Any, found: Iterable[Found], also: Iterable[str]) -> dict[str, int]:
    """Where the sources end that checkpoints are about, and `also` these.

    In one question for all: its answer waits behind a fetch that waits for records, so with one for
    each stage a hundred partitions would take a minute.
    """
    checkpoints = [restored.checkpoint for of_table in found for restored in of_table.values()]
    sources = {source for c in checkpoints if c for source in c.next_offsets} | set(also)
    ends = await consumer.highwaters(*(partition_of(source) for source in sources))
    return {f"{tp.topic}/{tp.partition}": end or 0 for tp, end in ends.items()}


async def restore(
    keeper: Keeper[Any], table: CheckpointTable, found: Restored, ends: Mapping[str, int]
) -> None:
    """Restores one stage, or lets it begin afresh where its topic was made anew."""
    metrics.RESTORE_FETCHED_BYTES.inc(found.fetched_bytes)
    checkpoint = found.checkpoint
    if checkpoint is None:
        logger.info("%s %s starts without a checkpoint", table.name, keeper.partition)
        return
    beyond = [source for source, at in checkpoint.next_offsets.items() if at > ends[source]]
    if beyond:
        logger.error(
            "%s %s: the checkpoint is ahead of %s, so that topic was made anew; the stage "
            "starts afresh",
            keeper.name,
            keeper.partition,
            beyond,
        )
        keeper.begin_after(checkpoint)
        return
    await keeper.restore(checkpoint)
    logger.info("%s %s goes on from %s", keeper.name, keeper.partition, checkpoint.next_offsets)


def said_to(keepers: Iterable[Keeper[Any]], ends: Mapping[str, int]) -> dict[TP, int]:
    """From where on the stages that may repeat themselves have spoken since their checkpoints.

    `ends` are where the topics end that they read.
    """
    starts: dict[TP, int] = {}
    for keeper in keepers:
        if keeper.repeats(ends):
            for place, offset in keeper.said_to.items():
                tp = partition_of(place)
                starts[tp] = min(offset, starts.get(tp, offset))
    return starts


async def go_on(
    keepers: Sequence[Keeper[Any]],
    read_ends: Mapping[str, int],
    outputs: Outputs | None,
    written: Sequence[TP],
) -> None:
    """Lets restored stages speak, of what they had not said yet.

    `read_ends` are where the topics end that they read, `written` the partitions that they write.
    """
    already, ends = Already(), dict[TP, int]()
    if outputs is not None and keepers:
        already, ends = await outputs.since(said_to(keepers, read_ends), written)
    said_ends = {f"{tp.topic}/{tp.partition}": end for tp, end in ends.items()}
    await asyncio.gather(*(keeper.go_on(already, said_ends) for keeper in keepers))
