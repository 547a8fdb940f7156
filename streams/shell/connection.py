"""How the worker reaches Kafka: settings for Faust, and what the cluster says of topics."""

from collections.abc import Mapping
from typing import Any

import faust
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faust.auth import OAuthCredentials

from schemas.configuration import Configuration

Client = Mapping[str, Any]
"""Settings of aiokafka's clients: `bootstrap_servers`, `client_id`, `security_protocol` and, where
needed, `ssl_context`, `sasl_mechanism`, and `sasl_plain_username` and `sasl_plain_password` or
`sasl_oauth_token_provider`."""


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
    for table, topic in tables(configuration).items():
        changelog = f"{configuration.worker.consumer_group}-{table}-changelog"
        if counts.get(changelog, counts[topic]) != counts[topic]:
            raise WorkerError(
                f"{changelog} has {counts[changelog]} partitions and {topic} has {counts[topic]}: "
                "stop all workers, give them the same number, and start again"
            )


def tables(configuration: Configuration) -> dict[str, str]:
    """The input topic of each checkpoint table; the two have partitions of the same numbers."""
    raw = {f"ingest-{source.topic}": source.topic for source in configuration.sources}
    topics = configuration.topics
    return raw | {"detect": topics.observations, "incident": topics.anomalies}
