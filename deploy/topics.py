"""The topics that tocsin writes: how they must be, how they are, and making the missing ones."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
from rich.table import Table

from deploy.credentials import KafkaSettings, SecretError
from schemas.configuration import Configuration
from schemas.times import DAY_MS
from streams.shell.checkpoints import CHANGELOG_SETTINGS

EMBEDDED: Final = "mockCluster"
"""What the cluster id of the embedded broker begins with."""
UNLIMITED_MS: Final = -1
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""A window of very many series is one record; Kafka's default is 1 MB."""

_TIMEOUT_SECONDS: Final = 10

Policy = Literal["delete", "compact"]
State = Literal["in order", "missing", "created", "differs"]


class TopicsError(Exception):
    """Kafka does not answer, or refuses to list or create topics."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it must be. `retention_ms` is -1 for ever, and None where it is compacted.

    `at_most` are further settings by Kafka's names, numbers that must not be larger.
    """

    name: str
    partitions: int
    policy: Policy
    retention_ms: int | None
    purpose: str
    large: bool = False
    at_most: Mapping[str, str] = field(default_factory=dict)

    def settings(self, replication_factor: int) -> dict[str, str]:
        """Its settings by Kafka's names."""
        settings: dict[str, str] = {"cleanup.policy": self.policy, **self.at_most}
        if self.retention_ms is not None:
            settings["retention.ms"] = str(self.retention_ms)
        if self.large:
            settings["max.message.bytes"] = str(MAX_MESSAGE_BYTES)
        if replication_factor >= 3:
            # Acknowledged by all in-sync replicas is only worth something with two of them.
            settings["min.insync.replicas"] = "2"
        return settings


@dataclass(frozen=True, slots=True)
class Row:
    """A topic beside what the cluster has of it; `mend` says what is wrong and how to mend it."""

    topic: Topic
    state: State
    mend: str = ""


@dataclass(slots=True)
class Cluster:
    """What a cluster has: partition counts and settings of the topics asked for, and all names."""

    partitions: dict[str, int] = field(default_factory=dict)
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()


def plan(configuration: Configuration) -> list[Topic]:
    """All topics of tocsin's own. Raw topics are not among them: they are somebody else's."""
    topics = configuration.topics
    shards = topics.observation_shards
    return [
        Topic(topics.observations, shards, "delete", 7 * DAY_MS, "windows by series", large=True),
        Topic(topics.anomalies, 1, "delete", 30 * DAY_MS, "what is out of order", large=True),
        Topic(topics.incidents, 1, "compact", None, "latest state by incident", large=True),
        Topic(
            topics.incident_events, 1, "delete", UNLIMITED_MS, "the log of incidents", large=True
        ),
        Topic(topics.silence_events, 1, "delete", 30 * DAY_MS, "the ends of silences"),
        Topic(topics.commands, 1, "delete", UNLIMITED_MS, "what people ask for"),
        Topic(topics.deliveries, 1, "delete", UNLIMITED_MS, "who was told what"),
        Topic(topics.dead_letters, 1, "delete", 14 * DAY_MS, "raw records not used", large=True),
    ]


def changelogs(configuration: Configuration, raw_partitions: Mapping[str, int]) -> list[Topic]:
    """The worker's checkpoints, which it creates itself if `kafka.create_topics` is on.

    `raw_partitions` are the partition counts of the raw topics; unknown ones are left out.
    """
    group = configuration.worker.consumer_group
    partitions = {
        f"ingest-{source.topic}": raw_partitions[source.topic]
        for source in configuration.sources
        if source.topic in raw_partitions
    }
    partitions |= {"detect": configuration.topics.observation_shards, "incident": 1}
    return [
        Topic(
            f"{group}-{name}-changelog",
            count,
            "compact",
            None,
            "the worker's checkpoints",
            at_most=CHANGELOG_SETTINGS,
        )
        for name, count in partitions.items()
    ]


def partitions_of(
    configuration: Configuration, raw_partitions: Mapping[str, int]
) -> dict[str, int]:
    """Partition counts of all topics of tocsin's own, for a broker that is made anew."""
    ours = [*plan(configuration), *changelogs(configuration, raw_partitions)]
    return {topic.name: topic.partitions for topic in ours}


def compare(topics: Iterable[Topic], cluster: Cluster) -> list[Row]:
    """Each topic beside what the cluster has of it."""
    return [_compare(topic, cluster) for topic in topics]


def _compare(topic: Topic, cluster: Cluster) -> Row:
    count = cluster.partitions.get(topic.name)
    if count is None:
        return Row(topic, "missing", "create it with `tocsin topics --apply`")
    found = cluster.settings.get(topic.name, {})
    wrong = []
    if count < topic.partitions:
        wrong.append(f"has {count} partitions, needs {topic.partitions}: add some")
    if topic.policy not in found.get("cleanup.policy", topic.policy).split(","):
        wrong.append(f"cleanup.policy is {found['cleanup.policy']}, set it to {topic.policy}")
    has_ms, needs_ms = _ms(found.get("retention.ms")), _ms(topic.retention_ms)
    if topic.policy == "delete" and "retention.ms" in found and has_ms < needs_ms:
        wrong.append(f"retention.ms is {found['retention.ms']}, set it to {topic.retention_ms}")
    if topic.large and int(found.get("max.message.bytes", MAX_MESSAGE_BYTES)) < MAX_MESSAGE_BYTES:
        has = found["max.message.bytes"]
        wrong.append(f"max.message.bytes is {has}, set it to {MAX_MESSAGE_BYTES}")
    wrong += [
        f"{name} is {found[name]}, set it to {value}"
        for name, value in topic.at_most.items()
        if float(found.get(name, value)) > float(value)
    ]
    return Row(topic, "differs", "; ".join(wrong)) if wrong else Row(topic, "in order")


def _ms(retention_ms: int | str | None) -> float:
    """Retention as a number that can be compared; for ever is infinite."""
    value = float(retention_ms if retention_ms is not None else UNLIMITED_MS)
    return float("inf") if value < 0 else value


def inspect(settings: KafkaSettings, names: Iterable[str]) -> Cluster:
    """What the cluster has of `names`. Raises `TopicsError`."""
    client = _client(settings)
    try:
        metadata = client.list_topics(timeout=_TIMEOUT_SECONDS)
        found = metadata.topics
        wanted = set(names)
        partitions = {
            name: len(topic.partitions)
            for name, topic in found.items()
            if name in wanted and topic.partitions
        }
        embedded = str(metadata.cluster_id).startswith(EMBEDDED)  # which has no settings to ask for
        settings_of = {} if embedded else _settings(client, partitions)
        return Cluster(partitions, settings_of, frozenset(found))
    except KafkaException as error:
        raise _refused(settings, "list topics", error, client) from error


def _settings(client: AdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    if not resources:
        return {}
    answers = client.describe_configs(resources, request_timeout=_TIMEOUT_SECONDS)
    return {
        resource.name: {key: entry.value for key, entry in answer.result().items() if entry.value}
        for resource, answer in answers.items()
    }


def show(configuration: Configuration, settings: KafkaSettings) -> list[Row]:
    """Every topic, the worker's changelogs too, beside what the cluster has of it.

    Raises `TopicsError`.
    """
    raw = [source.topic for source in configuration.sources]
    ours = plan(configuration)
    possible = changelogs(configuration, dict.fromkeys(raw, 1))
    cluster = inspect(settings, [*raw, *(topic.name for topic in [*ours, *possible])])
    return compare([*ours, *changelogs(configuration, cluster.partitions)], cluster)


def apply(configuration: Configuration, settings: KafkaSettings) -> list[Row]:
    """Creates what is missing; changes nothing that exists. Raises `TopicsError`."""
    rows = show(configuration, settings)
    missing = [row.topic for row in rows if row.state == "missing"]
    create(settings, missing, configuration.kafka.replication_factor)
    return [Row(row.topic, "created") if row.state == "missing" else row for row in rows]


def create_missing(configuration: Configuration, settings: KafkaSettings) -> list[str]:
    """Creates those of tocsin's own topics that are missing, and says which they were.

    The worker's changelogs are left to it. Raises `TopicsError`.
    """
    ours = plan(configuration)
    there = inspect(settings, [topic.name for topic in ours]).partitions
    missing = [topic for topic in ours if topic.name not in there]
    create(settings, missing, configuration.kafka.replication_factor)
    return [topic.name for topic in missing]


def create(settings: KafkaSettings, topics: Iterable[Topic], replication_factor: int) -> None:
    """Creates topics; one that is there already is left as it is. Raises `TopicsError`."""
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=replication_factor,
            config=topic.settings(replication_factor),
        )
        for topic in topics
    ]
    if not new:
        return
    client = _client(settings)  # held: its end would cancel what it is asked
    try:
        for answer in client.create_topics(new, request_timeout=_TIMEOUT_SECONDS).values():
            _done_or_there(answer)
    except KafkaException as error:
        raise _refused(settings, "create topics", error, client) from error


def _done_or_there(answer: Future[None]) -> None:
    """Another process may have been faster; its topic is as good."""
    try:
        answer.result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _client(settings: KafkaSettings) -> "_Admin":
    try:
        settings.sign_in()
        return _Admin(settings)
    except SecretError as error:
        raise TopicsError(str(error)) from error
    except KafkaException as error:
        raise _refused(settings, "let anybody in", error) from error


class _Admin(AdminClient):  # type: ignore[misc]
    """A client that remembers why it has not got through, of which its errors say nothing."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._heard: list[str] = []
        super().__init__(
            {
                **settings.confluent,
                "log_level": 0,
                "error_cb": lambda error: self._heard.append(error.str()),
            }
        )

    def heard(self) -> str:
        """The first thing that went wrong with the connection; empty if nothing did."""
        self.poll(0)
        return self._heard[0] if self._heard else ""


def _refused(
    settings: KafkaSettings, what: str, error: KafkaException, client: "_Admin | None" = None
) -> TopicsError:
    why = "; ".join(filter(None, (error.args[0].str(), client.heard() if client else "")))
    return TopicsError(
        f"Kafka at {settings.bootstrap_servers} does not {what} ({why}): "
        f"do address and credentials fit, and may this user do it?"
    )


def table(rows: Iterable[Row]) -> Table:
    """The rows as a table for a terminal."""
    shown = Table(title="Topics", title_justify="left")
    shown.add_column("topic", no_wrap=True)
    for heading in ("partitions", "cleanup", "kept", "holds", "state"):
        shown.add_column(heading, overflow="fold")
    for row in rows:
        topic = row.topic
        # How a missing one is made is the same for all, and said once below the table.
        state = f"{row.state}: {row.mend}" if row.state == "differs" else row.state
        colour = "green" if row.state in {"in order", "created"} else "yellow"
        shown.add_row(
            topic.name,
            str(topic.partitions),
            topic.policy,
            _kept(topic),
            topic.purpose,
            f"[{colour}]{state}[/]",
        )
    return shown


def _kept(topic: Topic) -> str:
    if topic.retention_ms is None:
        return "latest by key"
    return "for ever" if topic.retention_ms < 0 else f"{topic.retention_ms / DAY_MS:g} days"
