"""How far everybody has come: offsets of groups and topics, and what the notifier has to send."""

import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from deploy.chaos.stage import Stage
from schemas.configuration import Configuration

EVERY_SECONDS: Final = 0.5
_ASK_SECONDS: Final = 2.0
_UNSENT: Final = (
    "SELECT (SELECT count(*) FROM notifier_message WHERE state IN ('waiting', 'sending'))"
    " + (SELECT count(*) FROM notifier_delivery)"
)

Place = tuple[str, str, int]
"""Group, topic, partition."""


@dataclass(frozen=True)
class Look:
    """One look. `committed` and `ends` are by group, topic and partition; a group that has
    committed nothing yet is at 0. `unsent` are messages and records that the notifier still has."""

    at: float
    committed: Mapping[Place, int]
    ends: Mapping[Place, int]
    unsent: int

    def behind(self) -> dict[Place, int]:
        """How many records are left, where any are."""
        left = {place: end - self.committed.get(place, 0) for place, end in self.ends.items()}
        return {place: records for place, records in left.items() if records > 0}

    def is_done(self) -> bool:
        """Whether everybody has read everything and everything is sent."""
        return not self.behind() and not self.unsent

    def has_passed(self, before: "Look") -> bool:
        """Whether everybody has read what there was at another look."""
        return all(self.committed.get(place, 0) >= end for place, end in before.ends.items())


class Looker(threading.Thread):
    """Looks every half second, as long as the broker answers. `looks` is in order of time."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(name="looker", daemon=True)
        self.looks: list[Look] = []
        self._stage = stage
        counts = {topic.name: topic.partitions for topic in stage.topics()}
        self._reads = {
            group: [TopicPartition(topic, p) for topic in topics for p in range(counts[topic])]
            for group, topics in reads(stage.configuration).items()
        }
        self._consumers = {group: self._consumer(group) for group in self._reads}
        self._end = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        while not self._end.wait(EVERY_SECONDS):
            try:
                self.looks.append(self._look())
            except (KafkaException, sqlite3.Error):  # away, or just being made
                continue
        for consumer in self._consumers.values():
            consumer.close()

    def stop(self) -> None:
        """Ends it."""
        self._end.set()
        self.join()

    def _consumer(self, group: str) -> Consumer:
        """Asks for what a group has committed; never joins it."""
        return Consumer(
            {
                **self._stage.settings.confluent,
                "group.id": group,
                "enable.auto.commit": False,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )

    def _look(self) -> Look:
        at = time.monotonic()
        ends: dict[Place, int] = {}
        committed: dict[Place, int] = {}
        known: dict[tuple[str, int], int] = {}
        for group, places in self._reads.items():
            consumer = self._consumers[group]
            for tp in places:
                if (tp.topic, tp.partition) not in known:
                    _, end = consumer.get_watermark_offsets(tp, _ASK_SECONDS)
                    known[tp.topic, tp.partition] = end
                ends[group, tp.topic, tp.partition] = known[tp.topic, tp.partition]
            for tp in consumer.committed(places, _ASK_SECONDS):
                committed[group, tp.topic, tp.partition] = max(0, tp.offset)
        return Look(at, committed, ends, self._unsent())

    def _unsent(self) -> int:
        file = self._stage.store("notifier")
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=1)) as connection:
            (count,) = connection.execute(_UNSENT).fetchone()
        return int(count)


def reads(c: Configuration) -> dict[str, tuple[str, ...]]:
    """Which topics each group reads."""
    raw = tuple(source.topic for source in c.sources)
    topics = c.topics
    return {
        c.worker.consumer_group: (*raw, topics.observations, topics.anomalies, topics.commands),
        c.notifier.consumer_group: (topics.incident_events, topics.silence_events),
        c.case_store.consumer_group: (topics.incident_events, topics.deliveries),
        c.status_page.consumer_group: (topics.incident_events,),
    }
