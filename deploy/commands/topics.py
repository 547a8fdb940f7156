"""`tocsin topics`: what tocsin writes to, what of it is missing or differs, who may do what."""

import sys
from pathlib import Path

from deploy import acls
from deploy.configuration import load
from deploy.console import new_console
from deploy.credentials import SecretError, kafka_settings
from deploy.topics import TopicsError, apply, show, table
from sinks.outgoing import Outgoing


def run_topics(config: Path | None, *, create: bool) -> int:
    """Prints the table of topics, after creating the missing ones if asked.

    Returns 0 if all are in order, 1 if something must be mended, 2 if Kafka does not answer.
    """
    configuration = load(config)
    try:
        settings = kafka_settings(configuration.kafka, Outgoing.of(configuration.outgoing))
        rows = (apply if create else show)(configuration, settings)
    except (SecretError, TopicsError) as error:
        print(error, file=sys.stderr)
        return 2
    new_console().print(table(rows))
    if missing := sum(row.state == "missing" for row in rows):
        others = "; the processes do so too" if configuration.kafka.create_topics else ""
        print(f"{missing} missing: `tocsin topics --apply` creates them{others}")
    return 1 if any(row.mend for row in rows) else 0


def run_acls(config: Path | None, *, principal: str | None) -> int:
    """Prints what each part needs of Kafka; as commands for users that begin with `principal`."""
    configuration = load(config)
    needed = acls.acls(configuration)
    if principal is None:
        new_console().print(acls.table(needed))
    else:
        for line in acls.commands(needed, configuration.kafka.bootstrap_servers, principal):
            print(line)
    return 0
