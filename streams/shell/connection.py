"""How the worker reaches Kafka: settings for Faust, and what the cluster says of topics."""

from collections.abc import Iterable, Mapping
from typing import Any

import faust
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

Client = Mapping[str, Any]
"""Settings of aiokafka's clients: `bootstrap_servers`, `client_id`, `security_protocol` and, where
needed, `ssl_context`, `sasl_mechanism`, `sasl_plain_username`, `sasl_plain_password`."""


class WorkerError(Exception):
    """The worker cannot start or go on; the text says why and how to mend it."""


def credentials(client: Client) -> Any:
    """The same as Faust's credentials; None on a plain connection."""
    context = client.get("ssl_context")
    if str(client.get("security_protocol", "")).startswith("SASL"):
        return faust.SASLCredentials(
            username=client["sasl_plain_username"],
            password=client["sasl_plain_password"],
            ssl_context=context,
            mechanism=client["sasl_mechanism"],
        )
    return faust.SSLCredentials(context) if context else None


async def partition_counts(client: Client, topics: Iterable[str]) -> Mapping[str, int]:
    """Partitions of each topic. Raises `WorkerError` naming every topic that does not exist."""
    topics = sorted(set(topics))
    servers = client["bootstrap_servers"]
    admin = AIOKafkaAdminClient(**client)
    try:
        await admin.start()
        described = await admin.describe_topics(topics)
    except (KafkaError, OSError) as error:
        raise WorkerError(
            f"Kafka at {servers} does not answer ({error!r}); see kafka.bootstrap_servers and "
            "kafka.security_protocol"
        ) from error
    finally:
        await admin.close()
    counts = {d["topic"]: len(d["partitions"]) for d in described if not d["error_code"]}
    missing = [topic for topic in topics if not counts.get(topic)]
    if missing:
        raise WorkerError(
            f"on {servers} these topics do not exist or may not be read: {', '.join(missing)}; "
            "create them or correct `sources` and `topics`"
        )
    return counts
