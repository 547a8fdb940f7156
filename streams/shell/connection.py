"""How the worker reaches Kafka: settings for Faust, and what the cluster says of topics."""

import asyncio
from collections.abc import Mapping, Set
from typing import Any

import faust
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code
from faust.auth import OAuthCredentials

from schemas.configuration import Configuration
from streams.shell.checkpoints import CHANGELOG_SETTINGS

Client = Mapping[str, Any]
"""Settings of aiokafka's clients: `bootstrap_servers`, `client_id`, `security_protocol` and, where
needed, `ssl_context`, `sasl_mechanism`, and `sasl_plain_username` and `sasl_plain_password` or
`sasl_oauth_token_provider`."""

_LOOK_SECONDS, _LOOKING_SECONDS = 0.1, 60.0


class WorkerError(Exception):
    """The worker cannot start or go on; the text says why and how to mend it."""


def credentials(client: Client) -> Any:
    """The same as Faust's credentials; None on a plain connection."""
    context = client.get("ssl_context")
    if client.get("sasl_mechanism") == "OAUTHBEARER":
        return OAuthCredentials(oauth_cb=client["sasl_oauth_token_provider"], ssl_context=context)
    if str(client.get("security_protocol", "")).startswith("SASL"):
        return faust.SASLCredentials(
            username=client["sasl_plain_username"],
            password=client["sasl_plain_password"],
            ssl_context=context,
            mechanism=client["sasl_mechanism"],
        )
    return faust.SSLCredentials(context) if context else None


async def partition_counts(client: Client) -> Mapping[str, int]:
    """Partitions of every topic of the cluster.

    All topics are asked for, since to ask for one by name may create it. Raises `WorkerError` if
    Kafka does not answer.
    """
    admin = AIOKafkaAdminClient(**client)
    try:
        await admin.start()
        described = await admin.describe_topics()
    except (KafkaError, OSError) as error:
        raise WorkerError(
            f"Kafka at {client['bootstrap_servers']} does not answer ({error!r}); see "
            "kafka.bootstrap_servers and kafka.security_protocol"
        ) from error
    finally:
        await admin.close()
    return {d["topic"]: len(d["partitions"]) for d in described if not d["error_code"]}


def check_topics(configuration: Configuration, counts: Mapping[str, int]) -> None:
    """Raises `WorkerError` if a topic is missing or has another number of partitions than needed.

    `counts` are the partitions of the cluster's topics.
    """
    topics = configuration.topics
    raw = [source.topic for source in configuration.sources]
    ours = [
        topics.observations,
        topics.anomalies,
        topics.commands,
        topics.incidents,
        topics.incident_events,
        topics.silence_events,
        topics.dead_letters,
    ]
    missing = [topic for topic in (*raw, *ours) if topic not in counts]
    if missing:
        raise WorkerError(
            f"on {configuration.kafka.bootstrap_servers} these topics do not exist or may not be "
            f"read: {', '.join(missing)}; create them, or correct `sources` and `topics`"
        )
    if counts[topics.observations] < topics.observation_shards:
        raise WorkerError(
            f"{topics.observations} has {counts[topics.observations]} partitions and "
            f"topics.observation_shards is {topics.observation_shards}: add partitions or lower it"
        )
    for changelog, topic in changelogs(configuration).items():
        if counts.get(changelog, counts[topic]) != counts[topic]:
            raise WorkerError(
                f"{changelog} has {counts[changelog]} partitions and {topic} has {counts[topic]}: "
                "stop all workers, give them the same number, and start again"
            )


async def make_changelogs(
    client: Client, configuration: Configuration, counts: Mapping[str, int]
) -> None:
    """Creates the changelogs that the cluster lacks, and returns once it has them.

    A worker that joined its group before would be assigned partitions without their state.
    `counts` are the partitions of the cluster's topics. Raises `WorkerError` if it cannot; does
    nothing where `kafka.create_topics` is off.
    """
    lacking = {
        name: topic for name, topic in changelogs(configuration).items() if name not in counts
    }
    if not lacking or not configuration.kafka.create_topics:
        return
    replicas = configuration.kafka.replication_factor
    settings = {"cleanup.policy": "compact", **CHANGELOG_SETTINGS}
    new = [NewTopic(name, counts[of], replicas, None, settings) for name, of in lacking.items()]
    admin = AIOKafkaAdminClient(**client)
    try:
        await admin.start()
        answers = (await admin.create_topics(new)).topic_errors
    except (KafkaError, OSError) as error:
        raise WorkerError(f"the worker's changelogs cannot be created ({error!r})") from error
    finally:
        await admin.close()
    for name, code, *said in answers:
        if code not in (NoError.errno, TopicAlreadyExistsError.errno):
            raise WorkerError(
                f"{name} cannot be created ({for_code(code).__name__}: {' '.join(map(str, said))});"
                " let the worker create it, or create it by `tocsin topics`"
            )
    try:
        async with asyncio.timeout(_LOOKING_SECONDS):
            await _until_known(client, lacking.keys())
    except TimeoutError:
        raise WorkerError(
            "the cluster has created the worker's changelogs and lacks them"
        ) from None


async def _until_known(client: Client, topics: Set[str]) -> None:
    while True:
        if topics <= (await partition_counts(client)).keys():
            return
        await asyncio.sleep(_LOOK_SECONDS)


def changelogs(configuration: Configuration) -> dict[str, str]:
    """The changelog of each checkpoint table, and the topic whose partition numbers it has."""
    group = configuration.worker.consumer_group
    return {f"{group}-{table}-changelog": topic for table, topic in tables(configuration).items()}


def tables(configuration: Configuration) -> dict[str, str]:
    """The input topic of each checkpoint table; the two have partitions of the same numbers."""
    raw = {f"ingest-{source.topic}": source.topic for source in configuration.sources}
    topics = configuration.topics
    return raw | {"detect": topics.observations, "incident": topics.anomalies}
