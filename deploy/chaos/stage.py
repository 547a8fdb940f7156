"""Where one run takes place: a broker behind a proxy, a receiver, topics, and the processes."""

import secrets
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.brokers.apache import ApacheKafka
from deploy.chaos.parts import Parts
from deploy.chaos.plan import JOINER, SINKS, WORKERS
from deploy.chaos.proxy import Proxy
from deploy.chaos.receiver import Receiver
from deploy.chaos.stream import PARTITIONS
from deploy.configuration import load
from deploy.credentials import KafkaSettings, kafka_settings
from deploy.demo import CONFIG as DEMO_CONFIG
from deploy.demo.children import free_ports
from deploy.topics import Topic, changelogs, create, plan
from schemas.configuration import Configuration

SECRET_VARIABLE: Final = "TOCSIN_CHAOS_SECRET"  # noqa: S105 - the name of a variable

_LISTENER: Final = "PROXIED"
_CHECKPOINT_SECONDS: Final = 1


class ChaosError(Exception):
    """The runs cannot be made or compared; says why."""


class Place(msgspec.Struct, frozen=True):
    """What both runs have in common, so that what they say is the same: names and ports."""

    prefix: str
    ports: dict[str, int]
    secret: str


def new_place() -> Place:
    """Free ports, and names that no other run on the same broker has."""
    names = (*WORKERS, JOINER, *SINKS)
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    return Place(f"tocsin-chaos-{uuid.uuid4().hex[:8]}.", ports, secrets.token_urlsafe(32))


class Stage:
    """One run's broker and processes. `broker` is None on a Kafka of one's own."""

    def __init__(
        self,
        place: Place,
        folder: Path,
        receiver: Receiver,
        proxy: Proxy,
        *,
        servers: str,
        broker: ApacheKafka | None = None,
    ) -> None:
        self.sinks = SINKS
        self.receiver = receiver
        self.proxy = proxy
        self.servers = servers
        self.folder = folder
        self._broker = broker
        self._broker_work = ThreadPoolExecutor(1, thread_name_prefix="broker")
        through = proxy.address if broker else servers
        file = folder / "tocsin.json"
        file.write_bytes(msgspec.json.encode(_document(place, folder, receiver, through)))
        environment = {SECRET_VARIABLE: place.secret}
        self.configuration: Configuration = load(file, environment)
        self.settings: KafkaSettings = kafka_settings(
            msgspec.structs.replace(self.configuration.kafka, bootstrap_servers=servers)
        )
        self.parts = Parts(file, folder)
        for name in (*WORKERS, JOINER):
            self.parts.add(name, "worker", environment | _of_worker(place, folder, name))
        for name in SINKS:
            self.parts.add(name, name, environment)

    @property
    def raw_topic(self) -> str:
        """The topic of the stream."""
        return self.configuration.sources[0].topic

    def store(self, sink: str) -> Path:
        """The SQLite file of a sink."""
        return self.folder / f"{sink}.sqlite3"

    def topics(self) -> list[Topic]:
        """All of this run."""
        raw = Topic(self.raw_topic, PARTITIONS, "delete", -1, "the stream")
        counts = {self.raw_topic: PARTITIONS}
        return [raw, *plan(self.configuration), *changelogs(self.configuration, counts)]

    def start(self) -> None:
        """Topics and all processes but the third worker."""
        create(self.settings, self.topics(), 1)
        for name in (*WORKERS, *SINKS):
            self.parts.start(name)

    def restart_broker(self, *, kill: bool) -> Future[None]:
        """Stops the broker and starts it again, beside what goes on."""
        return self._broker_work.submit(self._restart, kill)

    def _restart(self, kill: bool) -> None:
        if self._broker is None:
            raise ChaosError("this Kafka was not started here; leave the kinds broker-… out")
        self._broker.stop(0 if kill else 20)
        self._broker.start()

    def close(self) -> None:
        """Ends the processes, and on a Kafka of one's own takes the topics and groups away."""
        self._broker_work.shutdown()
        self.parts.stop()
        if self._broker is None:
            _remove(self)


def _remove(stage: Stage) -> None:
    admin = AdminClient({**stage.settings.confluent, "log_level": 0})
    answers: dict[str, Any] = admin.delete_topics([topic.name for topic in stage.topics()])
    groups = [section.consumer_group for section in _sections(stage.configuration)]
    answers |= admin.delete_consumer_groups(groups)
    for name, answer in answers.items():
        try:
            answer.result(30)
        except KafkaException as error:
            raise ChaosError(f"{name} is left behind: {error}") from error
    ours, deadline = {topic.name for topic in stage.topics()}, time.monotonic() + 30
    while left := ours & set(admin.list_topics(timeout=10).topics):
        if time.monotonic() > deadline:
            raise ChaosError(f"the broker does not remove {', '.join(sorted(left))}")
        time.sleep(0.2)


def _sections(c: Configuration) -> tuple[Any, ...]:
    return (c.worker, c.notifier, c.case_store, c.status_page)


@contextmanager
def stage(
    place: Place, folder: Path, receiver: Receiver, bootstrap: str | None = None
) -> Iterator[Stage]:
    """Everything up for one run, and down again after it."""
    folder.mkdir(parents=True, exist_ok=True)
    receiver.forget()
    with Proxy() as proxy:
        if bootstrap is not None:
            with _put_up(Stage(place, folder, receiver, proxy, servers=bootstrap)) as made:
                yield made
            return
        listeners, advertised = {_LISTENER: "PLAINTEXT"}, {_LISTENER: proxy.address}
        with ApacheKafka(listeners=listeners, advertised=advertised) as broker:
            proxy.lead_to(broker.address(_LISTENER))
            servers = broker.bootstrap_servers
            made = Stage(place, folder, receiver, proxy, servers=servers, broker=broker)
            with _put_up(made):
                yield made


@contextmanager
def _put_up(made: Stage) -> Iterator[Stage]:
    try:
        made.start()
        yield made
    finally:
        made.close()


def _document(place: Place, folder: Path, receiver: Receiver, servers: str) -> dict[str, Any]:
    """The configuration. What a clock decides is off: both runs must come to the same end."""
    prefix, port = place.prefix, place.ports
    names = (
        "observations", "anomalies", "incidents", "incident_events", "silence_events", "commands",
        "deliveries",
    )  # fmt: skip
    return {
        "environment": "chaos",
        "kafka": {"bootstrap_servers": servers, "create_topics": False},
        "topics": {
            **{name: f"{prefix}{name.replace('_', '-')}" for name in names},
            "dead_letters": f"{prefix}dead-letters",
            "observation_shards": 2,
        },
        "sources": [{"topic": f"{prefix}telemetry"}],
        "windows": {"idle_timeout_seconds": 3600},
        "worker": {
            "consumer_group": f"{prefix}worker",
            "checkpoint_seconds": _CHECKPOINT_SECONDS,
        },
        "catalogue": {"include": [str(DEMO_CONFIG.parent / "catalogue.yaml")]},
        "notifier": {
            "consumer_group": f"{prefix}notifier",
            **_listen(port["notifier"]),
            "store": f"sqlite:///{folder / 'notifier.sqlite3'}",
            "signing_secret": {"env": SECRET_VARIABLE},
            "stale_after_seconds": 10 * 365 * 86_400,
            "limit": {"messages": 0},
            "cadence": {"minutes": {}},
            "channels": {"webhooks": {"receiver": {"url": receiver.url}}},
            "recipients": [
                {"name": audience, "channel": "webhook:receiver", "audience": audience}
                for audience in ("engineer", "manager", "support")
            ],
            "routes": [
                {
                    "name": "everything",
                    "recipients": ["engineer", "manager", "support"],
                    "events": ["opened", "severity_changed", "reopened", "resolved"],
                }
            ],
        },
        "case_store": {
            "consumer_group": f"{prefix}case-store",
            **_listen(port["case-store"]),
            "store": f"sqlite:///{folder / 'case-store.sqlite3'}",
        },
        "status_page": {
            "consumer_group": f"{prefix}status-page",
            **_listen(port["status-page"]),
            "store": f"sqlite:///{folder / 'status-page.sqlite3'}",
            "components": [{"name": "Web shop", "services": ["frontend", "cartservice"]}],
        },
        "logging": {"level": "INFO"},
    }


def _listen(port: int) -> dict[str, Any]:
    return {
        "listen": {"host": "127.0.0.1", "port": port},
        "public_url": f"http://127.0.0.1:{port}",
    }


def _of_worker(place: Place, folder: Path, name: str) -> dict[str, str]:
    """The first two are static members of their group; one that joins is a dynamic one."""
    own = {
        "TOCSIN_WORKER_DATA_DIR": str(folder / name),
        "TOCSIN_WORKER_ADMIN": f"{{host: 127.0.0.1, port: {place.ports[name]}}}",
    }
    return own if name == JOINER else own | {"TOCSIN_WORKER_INSTANCE_ID": name}
