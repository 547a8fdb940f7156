"""What became of every event: counted in a window, refused with a reason, or nowhere."""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from deploy.chaos.soak_feed import Cell
from schemas.configuration import Configuration
from schemas.observations import ObservationBatch

_decode = msgspec.json.Decoder(ObservationBatch).decode


class Account(threading.Thread):
    """Reads observations and dead letters from their beginnings, for as long as they come.

    Attributes
    ----------
    counted
        Events in closed windows, by cell; a batch that comes again under its id is not added.
    repeats
        Batches that came again as they were.
    conflicts
        Ids under which other bytes came.
    refused
        Dead letters by reason.
    """

    def __init__(self, confluent: Mapping[str, Any], configuration: Configuration) -> None:
        super().__init__(name="account", daemon=True)
        self.counted: Counter[Cell] = Counter()
        self.repeats = 0
        self.conflicts: list[str] = []
        self.refused: Counter[str] = Counter()
        self.failure: str | None = None
        self._topics = configuration.topics
        self._seen: dict[str, int] = {}
        self._letters: set[str] = set()
        self._end = threading.Event()
        self._consumer = Consumer(
            {**confluent, "group.id": "tocsin-soak", "enable.auto.commit": False, "log_level": 0}
        )
        shards = range(self._topics.observation_shards)
        self._consumer.assign(
            [
                *(TopicPartition(self._topics.observations, shard, 0) for shard in shards),
                TopicPartition(self._topics.dead_letters, 0, 0),  # it has one partition
            ]
        )

    def run(self) -> None:
        """Until `stop`."""
        try:
            while not self._end.is_set():
                for message in self._consumer.consume(500, 0.2):
                    if message.error() is None:
                        self._take(message)
        except Exception as error:
            self.failure = repr(error)
        self._consumer.close()

    def stop(self) -> None:
        """Ends it."""
        self._end.set()
        self.join(30)

    def _take(self, message: Message) -> None:
        value = message.value() or b""
        if message.topic() == self._topics.dead_letters:
            headers = {name: text.decode() for name, text in message.headers() or ()}
            if headers["tocsin.id"] not in self._letters:
                self._letters.add(headers["tocsin.id"])
                self.refused[headers["tocsin.reason"]] += 1
            return
        batch = _decode(value)
        if batch.idle:
            return
        digest = hash(value)
        if batch.id not in self._seen:
            self._seen[batch.id] = digest
            events = sum(observation.count for observation in batch.observations)
            self.counted[batch.source, batch.window_end_ms] += events
        elif self._seen[batch.id] == digest:
            self.repeats += 1
        else:
            self.conflicts.append(batch.id)
