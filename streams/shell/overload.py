"""What is left out when more comes than can be worked through, and how far behind that is."""

import time
from collections.abc import Mapping
from typing import Any, Final

from mode import get_logger

from streams.shell import metrics
from streams.shell.checkpoints import Outgoing
from streams.shell.keeper import Keeper
from streams.shell.lag import partition_of
from streams.shell.stages import IngestStage

logger = get_logger(__name__)

ALL_TIERS: Final = 4
STEPS: Final = ((4.0, 1), (2.0, 2), (1.0, 3))
"""How many times as late as allowed, and the least critical tier that is then still read. Tier 1 is
never left out."""

RECOVERED: Final = 0.25
"""Of what is allowed; once less late than that, everything is read again."""


def tier_to_read(
    now: int | None, behind_seconds: float, allowed_seconds: float | None
) -> int | None:
    """The least critical tier to read from now on; None is all.

    More is left out the later it is, and nothing is taken back before almost all is made up for:
    each change closes windows that are of no use, and a worker that has just recovered would fall
    behind again.

    Parameters
    ----------
    now
        What is read up to now.
    allowed_seconds
        How late is late; None if nothing is ever to be left out.
    """
    if allowed_seconds is None or behind_seconds < allowed_seconds * RECOVERED:
        return None
    for factor, tier in STEPS:
        if behind_seconds >= allowed_seconds * factor:
            return tier if now is None else min(tier, now)
    return now


class Relief:
    """Sees to it that ingest leaves out what is least critical while the worker is late.

    Parameters
    ----------
    allowed_seconds
        How late is late; None if nothing is ever to be left out.
    """

    def __init__(self, allowed_seconds: float | None) -> None:
        self._allowed_seconds = allowed_seconds
        self._left_out = 0

    def count(self, stage: IngestStage) -> None:
        """Takes over what the stage has counted."""
        if stage.shed:
            for tier, records in stage.shed.items():
                metrics.SHED_RECORDS.labels(tier).inc(records)
                self._left_out += records
            stage.shed.clear()

    async def look(
        self,
        consumer: Any,
        reads: Mapping[str, Keeper[Any]],
        ingest: Mapping[str, Keeper[IngestStage]],
    ) -> None:
        """Sets what is to be read of each raw partition by how late that one and all after it are.

        `reads` are all stages by what they read, `ingest` those that read raw partitions.
        """
        _observe_event_time(reads)
        behind = _behind_seconds(consumer, reads)
        later = max((behind[source] for source in behind if source not in ingest), default=0.0)
        for source, keeper in list(ingest.items()):
            late_seconds = behind[source] + later
            now = keeper.stage.most_tier
            tier = tier_to_read(now, late_seconds, self._allowed_seconds)
            if tier != now:
                await _set(keeper, tier)
                self._say(source, tier, late_seconds)
            tp = partition_of(source)
            left_out = 0 if tier is None else ALL_TIERS - tier
            metrics.SHED_TIERS.labels(tp.topic, tp.partition).set(left_out)

    def _say(self, source: str, tier: int | None, late_seconds: float) -> None:
        if tier is None:
            logger.warning(
                "%s is %.0f s late and all of it is read again; %d records of all partitions have "
                "been left out since the start",
                source,
                late_seconds,
                self._left_out,
            )
        else:
            logger.warning(
                "%s is %.0f s late: from now on services less critical than tier %d are left out",
                source,
                late_seconds,
                tier,
            )


async def _set(keeper: Keeper[IngestStage], tier: int | None) -> None:
    """Changes what is read, and saves that: a replay reads the same."""

    def change() -> list[Outgoing]:
        keeper.stage.read_up_to(tier)
        keeper.touch()
        return []

    await keeper.change_exactly(change)


def _behind_seconds(consumer: Any, keepers: Mapping[str, Keeper[Any]]) -> dict[str, float]:
    """How old the last record is that was read of each source, where there is more; else 0.

    By Kafka's timestamps. `keepers` are by what they read.
    """
    now_seconds = time.time()
    found: dict[str, float] = {}
    for source, keeper in keepers.items():
        end = consumer.highwater(partition_of(source)) or 0
        at_ms = keeper.timestamps_ms.get(source)
        is_left = end > keeper.next_offsets.get(source, end)
        found[source] = max(now_seconds - at_ms / 1000, 0.0) if is_left and at_ms else 0.0
    return found


def _observe_event_time(keepers: Mapping[str, Keeper[Any]]) -> None:
    """Sets how far behind the wall clock the event time of each stage is."""
    now_seconds = time.time()
    for source, keeper in keepers.items():
        watermark_ms = getattr(keeper.stage, "watermark_ms", None)
        if watermark_ms is not None and watermark_ms >= 0:
            tp = partition_of(source)
            metrics.EVENT_TIME_LAG_SECONDS.labels(tp.topic, tp.partition).set(
                now_seconds - watermark_ms / 1000
            )
