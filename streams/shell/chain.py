"""Sees to it that nothing is missing between what is handed out of a partition, run after run."""

from collections.abc import Iterable, Mapping

from faust.types import TP
from mode import get_logger

from streams.run import Run

logger = get_logger(__name__)


class Chain:
    """Where the next run of each partition must begin.

    A run knows from where on and up to where it was read. What was fetched and then dropped, as a
    rebalance may do to it, would be missed by nobody: offsets jump by nature, by compaction and by
    what transactions write.
    """

    def __init__(self) -> None:
        self._next: dict[TP, int] = {}
        self._asked: dict[TP, int] = {}

    def begin(self, offsets: Mapping[TP, int]) -> None:
        """These partitions are read from there on."""
        self._next.update(offsets)

    def forget(self, partitions: Iterable[TP]) -> None:
        """Nothing is known of where they are read."""
        for tp in partitions:
            self._next.pop(tp, None)
            self._asked.pop(tp, None)

    def missing_from(self, tp: TP, run: Run) -> int | None:
        """From where on something is missing before a run; None if nothing is, or it is gone.

        A partition that was read again from there, and begins as late again, has lost those
        records itself: Kafka has deleted them.
        """
        expected = self._next.get(tp)
        if expected is None or run.from_offset is None or run.from_offset <= expected:
            return None
        if self._asked.get(tp) == expected:
            logger.error(
                "%s %s: the records from %s to %s are no longer there: is the retention shorter "
                "than the worker was away?",
                tp.topic,
                tp.partition,
                expected,
                run.from_offset,
            )
            return None
        self._asked[tp] = expected
        return expected

    def take(self, tp: TP, run: Run) -> None:
        """The run is handed out."""
        if run.until_offset is not None:
            self._next[tp] = max(run.until_offset, self._next.get(tp, 0))
