"""Where a measurement runs: a broker started for it, or one that is given and left as it was."""

import contextlib
from collections.abc import Iterator, Set
from typing import Literal, Protocol

from confluent_kafka.admin import AdminClient

from deploy.brokers.apache import ApacheKafka
from deploy.brokers.mock import MockBroker
from deploy.credentials import kafka_settings
from deploy.topics import UNLIMITED_MS, Topic, create
from schemas.configuration import Kafka


class Place(Protocol):
    """A broker. `admin` is whether clients can create topics on it."""

    servers: str
    admin: bool

    def create(self, topic: str, partitions: int) -> None:
        """Creates a topic."""


class _Mock:
    admin = False

    def __init__(self, broker: MockBroker) -> None:
        self.servers = broker.bootstrap_servers
        self._broker = broker

    def create(self, topic: str, partitions: int) -> None:
        self._broker.create_topic(topic, partitions)


class _Kafka:
    admin = True

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self._settings = kafka_settings(Kafka(bootstrap_servers=servers))
        self._created = False

    def create(self, topic: str, partitions: int) -> None:
        wanted = Topic(topic, partitions, "delete", UNLIMITED_MS, "a measurement", large=True)
        create(self._settings, [wanted], replication_factor=1)
        self._created = True

    def remove(self, name: str) -> None:
        """Deletes the topics and groups whose names begin with `name`."""
        if not self._created:
            return
        client = AdminClient({**self._settings.confluent, "log_level": 2})
        topics = [t for t in client.list_topics(timeout=10).topics if t.startswith(name)]
        for answer in client.delete_topics(topics).values() if topics else ():
            answer.result(30)
        listed = client.list_consumer_groups(request_timeout=10).result().valid or []
        groups = [group.group_id for group in listed if group.group_id.startswith(name)]
        for answer in client.delete_consumer_groups(groups).values() if groups else ():
            answer.result(30)


@contextlib.contextmanager
def place(
    broker: Literal["mock", "kafka"], bootstrap: str | None, name: str, cpus: Set[int] | None
) -> Iterator[Place]:
    """The broker to measure on; on a given one, what begins with `name` is removed afterwards."""
    if bootstrap is not None:
        given = _Kafka(bootstrap)
        try:
            yield given
        finally:
            given.remove(name)
    elif broker == "mock":
        with MockBroker() as mock:
            yield _Mock(mock)
    else:
        with ApacheKafka(cpus=cpus) as kafka:
            yield _Kafka(kafka.bootstrap_servers)
