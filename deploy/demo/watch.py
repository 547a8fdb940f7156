"""What the demo sees of the pipeline: the incidents' log, the deliveries, the progress."""

import time
from dataclasses import dataclass, field

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from schemas.anomalies import AnomalyBatch
from schemas.configuration import Topics
from schemas.incidents import Delivery, Incident, IncidentEvent

FINAL = ("sent", "failed", "withheld")


@dataclass
class Seen:
    """Everything read so far. A repeat, recognised by its id, is not counted again."""

    events: dict[str, IncidentEvent] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    progress: dict[str, int] = field(default_factory=dict)
    dead_letters: int = 0
    last_news: float = field(default_factory=time.monotonic)

    @property
    def incidents(self) -> dict[str, Incident]:
        """The latest state of each incident by id, in order of opening."""
        latest: dict[str, Incident] = {}
        for event in sorted(self.events.values(), key=lambda e: e.version):
            latest[event.incident_id] = event.incident
        return dict(sorted(latest.items(), key=lambda item: (item[1].opened_ms, item[0])))

    def unfinished(self) -> int:
        """Messages that were asked for and have neither arrived nor been given up."""
        asked = {d.message_id for d in self.deliveries.values() if d.status == "asked"}
        done = {d.message_id for d in self.deliveries.values() if d.status in FINAL}
        return len(asked - done)

    def reached(self, shards: int) -> int:
        """Event time up to which every shard has been looked at, ms; 0 before that."""
        return min(self.progress.values()) if len(self.progress) == shards else 0


class Watcher:
    """Reads tocsin's topics from their beginning, outside of any consumer group."""

    def __init__(self, bootstrap_servers: str, topics: Topics) -> None:
        self.seen = Seen()
        self._topics = topics
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "tocsin-demo",
                "enable.auto.commit": False,
            }
        )
        wanted = (topics.incident_events, topics.deliveries, topics.anomalies, topics.dead_letters)
        self._consumer.assign(
            [
                TopicPartition(topic, partition, OFFSET_BEGINNING)
                for topic in wanted
                for partition in self._consumer.list_topics(topic, 10).topics[topic].partitions
            ]
        )

    def poll(self, seconds: float) -> list[IncidentEvent | Delivery]:
        """What is new within `seconds`, in the order read."""
        news: list[IncidentEvent | Delivery] = []
        for message in self._consumer.consume(500, seconds):
            if message.error() is None and (item := self._take(message)) is not None:
                news.append(item)
                self.seen.last_news = time.monotonic()
        return news

    def close(self) -> None:
        """Closes the consumer."""
        self._consumer.close()

    def _take(self, message: Message) -> IncidentEvent | Delivery | None:
        value, topic = message.value() or b"", message.topic()
        if topic == self._topics.incident_events:
            event = msgspec.json.decode(value, type=IncidentEvent)
            return event if self.seen.events.setdefault(event.id, event) is event else None
        if topic == self._topics.deliveries:
            delivery = msgspec.json.decode(value, type=Delivery)
            first = self.seen.deliveries.setdefault(delivery.id, delivery)
            return delivery if first is delivery else None
        if topic == self._topics.anomalies:
            batch = msgspec.json.decode(value, type=AnomalyBatch)
            self.seen.progress[batch.source] = batch.window_end_ms
        else:
            self.seen.dead_letters += 1
        return None
