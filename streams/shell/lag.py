"""How far the stages are behind the ends of what they read."""

import time
from collections.abc import Iterable
from typing import Any

from faust.types import TP

from streams.shell import metrics
from streams.shell.keeper import Keeper


def partition_of(source: str) -> TP:
    """The partition of a source, `topic/partition`."""
    topic, _, partition = source.rpartition("/")
    return TP(topic, int(partition))


def observe_lag(consumer: Any, keepers: Iterable[Keeper[Any]]) -> tuple[int, int]:
    """Sets the lag metrics; returns all records left and the sum of all positions."""
    left = done = 0
    for keeper in keepers:
        for source, offset in keeper.next_offsets.items():
            tp = partition_of(source)
            lag = max((consumer.highwater(tp) or 0) - offset, 0)
            left, done = left + lag, done + offset
            metrics.LAG_RECORDS.labels(tp.topic, tp.partition).set(lag)
            at_ms = keeper.timestamps_ms.get(source)  # None until the first after a restart
            if at_ms is not None or not lag:
                behind = time.time() - at_ms / 1000 if at_ms is not None and lag else 0
                metrics.LAG_SECONDS.labels(tp.topic, tp.partition).set(behind)
        age = keeper.checkpoint_age_seconds()
        metrics.CHECKPOINT_AGE_SECONDS.labels(keeper.name, keeper.partition).set(age)
    return left, done


async def has_lag(consumer: Any, source: str) -> bool:
    """Whether anything of a source is unread, or not done with."""
    tp = partition_of(source)
    highwater = consumer.highwater(tp)
    if highwater is None or consumer.has_unacked(tp):
        return True
    position = await consumer.position(tp)
    return position is None or bool(position < highwater)
