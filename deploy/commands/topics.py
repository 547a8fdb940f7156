"""`tocsin topics`: which topics tocsin needs, and what the cluster has of them."""

import sys
from pathlib import Path

from rich.console import Console

from deploy import topics
from deploy.configuration import load
from deploy.credentials import SecretError, kafka_settings


def run_topics(config: Path | None, *, apply: bool) -> int:
    """Prints the table of topics, after creating the missing ones if `apply`.

    Returns 0 if all are in order, 1 if something is missing or differs, 2 if Kafka does not answer
    or refuses. Raises `ConfigurationError` if the file itself has mistakes.
    """
    configuration = load(config)
    look = topics.apply if apply else topics.show
    try:
        rows = look(configuration, kafka_settings(configuration.kafka))
    except (topics.TopicsError, SecretError) as error:
        print(error, file=sys.stderr)
        return 2
    Console().print(topics.table(rows))
    return 0 if all(row.state in {"in order", "created"} for row in rows) else 1
