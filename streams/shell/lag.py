"""How far the stages are behind the ends of what they read."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from faust.types import TP

from streams.shell import metrics
from streams.shell.keeper import Keeper
from streams.shell.watchdog import Progress


def partition_of(source: str) -> TP:
    """The partition of a source, `topic/partition`."""
    topic, _, partition = source.rpartition("/")
    return TP(topic, int(partition))


class Ends(NamedTuple):
    """Where the broker says that partitions begin and end."""

    begins: Mapping[TP, int]
    ends: Mapping[TP, int]


NO_ENDS: Final = Ends({}, {})


async def ask_ends(consumer: Any, sources: Iterable[str]) -> Ends:
    """Asks the broker, whatever has been fetched. Raises what the consumer raises."""
    places = [partition_of(source) for source in sources]
    if not places:
        return NO_ENDS
    return Ends(await consumer.earliest_offsets(*places), await consumer.highwaters(*places))


def observe_lag(
    consumer: Any, keepers: Mapping[str, Keeper[Any]], asked: Ends, checkpoint_seconds: float
) -> dict[str, Progress]:
    """Sets the lag metrics; returns how far each source is. `keepers` are by what they read.

    An end is the highest that the broker was heard to say, in answer to a question or with what it
    handed out: a partition that is not fetched says nothing by itself.
    """
    found: dict[str, Progress] = {}
    for source, keeper in keepers.items():
        tp = partition_of(source)
        end = max(consumer.highwater(tp) or 0, asked.ends.get(tp) or 0)
        begin = asked.begins.get(tp) or 0
        position = keeper.next_offsets.get(source, begin)
        lag = max(end - position, 0)
        metrics.LAG_RECORDS.labels(tp.topic, tp.partition).set(lag)
        at_ms = keeper.timestamps_ms.get(source)  # None until the first after a restart
        if at_ms is not None or not lag:
            behind = time.time() - at_ms / 1000 if at_ms is not None and lag else 0
            metrics.LAG_SECONDS.labels(tp.topic, tp.partition).set(behind)
        committed = keeper.committed.get(source, keeper.began.get(source, begin))
        rest = checkpoint_seconds + keeper.rest_seconds()
        found[source] = Progress(position, committed, end, rest)
    for keeper in keepers.values():
        age = keeper.checkpoint_age_seconds()
        metrics.CHECKPOINT_AGE_SECONDS.labels(keeper.name, keeper.partition).set(age)
    return found


async def has_lag(consumer: Any, source: str) -> bool:
    """Whether anything of a source is unread, or not done with."""
    return source not in await without_lag(consumer, [source])


async def without_lag(consumer: Any, sources: Iterable[str]) -> dict[str, float]:
    """The sources that are done with, and how many seconds ago the broker said so of each."""
    places = {partition_of(source): source for source in sources}
    return {places[tp]: ago for tp, ago in (await consumer.drained(list(places))).items()}
