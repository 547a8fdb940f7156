"""How the worker reaches Kafka: settings for Faust, and what the cluster says of topics."""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import faust
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.configuration import Kafka


class WorkerError(Exception):
    """The worker cannot start or go on; the text says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class KafkaSecrets:
    """The secrets that `Kafka` names, resolved. They never appear in `repr`."""

    sasl_password: str | None = field(default=None, repr=False)
    ssl_key_password: str | None = field(default=None, repr=False)


def ssl_context(kafka: Kafka, secrets: KafkaSecrets) -> ssl.SSLContext | None:
    """The TLS context, or None without TLS. Raises `WorkerError` if a file cannot be read."""
    if kafka.security_protocol not in {"SSL", "SASL_SSL"}:
        return None
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_ca_location)
        if kafka.ssl_certificate_location:
            context.load_cert_chain(
                kafka.ssl_certificate_location, kafka.ssl_key_location, secrets.ssl_key_password
            )
    except OSError as error:
        raise WorkerError(
            f"kafka: the TLS files cannot be used ({error}); see kafka.ssl_ca_location, "
            "ssl_certificate_location and ssl_key_location"
        ) from error
    return context


def credentials(kafka: Kafka, secrets: KafkaSecrets) -> Any:
    """Faust's credentials, or None on a plain connection."""
    context = ssl_context(kafka, secrets)
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=secrets.sasl_password,
            ssl_context=context,
            mechanism=kafka.sasl_mechanism or "PLAIN",
        )
    return faust.SSLCredentials(context) if context else None


def client_settings(kafka: Kafka, secrets: KafkaSecrets) -> dict[str, Any]:
    """The same for aiokafka's own clients."""
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "client_id": kafka.client_id,
        "security_protocol": kafka.security_protocol,
        "ssl_context": ssl_context(kafka, secrets),
        "sasl_mechanism": kafka.sasl_mechanism or "PLAIN",
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": secrets.sasl_password,
    }


async def partition_counts(
    kafka: Kafka, secrets: KafkaSecrets, topics: Iterable[str]
) -> Mapping[str, int]:
    """Partitions of each topic. Raises `WorkerError` naming every topic that does not exist."""
    topics = sorted(set(topics))
    admin = AIOKafkaAdminClient(**client_settings(kafka, secrets))
    try:
        await admin.start()
        described = await admin.describe_topics(topics)
    except KafkaError as error:
        raise WorkerError(
            f"Kafka at {kafka.bootstrap_servers} does not answer ({error!r}); see kafka."
            "bootstrap_servers and kafka.security_protocol"
        ) from error
    finally:
        await admin.close()
    counts = {d["topic"]: len(d["partitions"]) for d in described if not d["error_code"]}
    missing = [topic for topic in topics if not counts.get(topic)]
    if missing:
        raise WorkerError(
            f"on {kafka.bootstrap_servers} these topics do not exist or may not be read: "
            f"{', '.join(missing)}; create them or correct `sources` and `topics`"
        )
    return counts
