"""What each part may do on Kafka: the least that it works with, by topic and group.

Kafka lets whoever may read or write a topic also describe it, so that DESCRIBE stands only where
nothing else does. No part needs a right on the cluster.
"""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rich.table import Table

from deploy.topics import changelogs, plan
from schemas.configuration import Configuration

Operation = Literal["CREATE", "DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE"]
Kind = Literal["topic", "group"]
Pattern = Literal["literal", "prefixed"]

PARTS: Final = (
    "worker",
    "notifier",
    "case-store",
    "status-page",
    "playbooks",
    "operator",
    "setup",
)
"""The processes; who gives commands (`tocsin ack`, `drill`, …); who runs `check` and `topics`."""

COMMAND_GROUPS: Final = ("tocsin-command-", "tocsin-drill-", "tocsin-silences-")
"""How the groups begin under which commands read what came of them. They keep no place in it."""


@dataclass(frozen=True, slots=True)
class Acl:
    """What one part may do with one topic or group, and what for."""

    part: str
    kind: Kind
    name: str
    operations: tuple[Operation, ...]
    purpose: str
    pattern: Pattern = "literal"


def acls(configuration: Configuration) -> list[Acl]:
    """What all parts need, part by part."""
    return [
        *_worker(configuration),
        *_sinks(configuration),
        *_operator(configuration),
        *_setup(configuration),
    ]


def _worker(configuration: Configuration) -> Iterator[Acl]:
    topics, raw = configuration.topics, [source.topic for source in configuration.sources]
    for name in raw:
        yield Acl("worker", "topic", name, ("READ",), "raw telemetry")
    for name, purpose in (
        (topics.observations, "windows, from ingest to detection"),
        (topics.anomalies, "anomalies, from detection to incidents"),
        (topics.incident_events, "the log of incidents; read after a crash, to repeat nothing"),
        (topics.silence_events, "the ends of silences, likewise"),
        (topics.incidents, "the state of incidents, likewise"),
        (topics.dead_letters, "records that cannot be used, likewise"),
    ):
        yield Acl("worker", "topic", name, ("READ", "WRITE"), purpose)
    yield Acl("worker", "topic", topics.commands, ("READ",), "what people ask for")
    for changelog in changelogs(configuration, dict.fromkeys(raw, 1)):
        yield Acl("worker", "topic", changelog.name, ("READ", "WRITE"), "checkpoints")
    group = configuration.worker.consumer_group
    yield Acl("worker", "group", group, ("READ",), "its place in the topics")
    if configuration.kafka.create_topics:
        made = [*plan(configuration), *changelogs(configuration, dict.fromkeys(raw, 1))]
        for topic in made:
            yield Acl(
                "worker",
                "topic",
                topic.name,
                ("CREATE", "DESCRIBE_CONFIGS"),
                "as kafka.create_topics is on",
            )


def _sinks(configuration: Configuration) -> Iterator[Acl]:
    topics, changes = configuration.topics, configuration.case_store.changes_topic
    for part in ("notifier", "case-store", "status-page", "playbooks"):
        yield Acl(part, "topic", topics.incident_events, ("READ",), "the log of incidents")
        if part != "status-page":
            yield Acl(part, "topic", topics.commands, ("WRITE",), "what people ask for")
        section = getattr(configuration, part.replace("-", "_"))
        yield Acl(part, "group", section.consumer_group, ("READ",), "its lag, to be measured")
    yield Acl("notifier", "topic", topics.silence_events, ("READ",), "the ends of silences")
    yield Acl("notifier", "topic", topics.deliveries, ("WRITE",), "who was told what")
    yield Acl("case-store", "topic", topics.deliveries, ("READ",), "who was told what")
    if changes is not None:
        yield Acl("case-store", "topic", changes, ("READ",), "deploys and other changes")


def _operator(configuration: Configuration) -> Iterator[Acl]:
    topics = configuration.topics
    yield Acl("operator", "topic", topics.commands, ("READ", "WRITE"), "commands, and silences")
    for name, purpose in (
        (topics.incident_events, "what came of a command"),
        (topics.incidents, "what is silenced"),
        (topics.deliveries, "what came of a drill"),
    ):
        yield Acl("operator", "topic", name, ("READ",), purpose)
    for group in COMMAND_GROUPS:
        yield Acl("operator", "group", group, ("DESCRIBE",), "to wait for answers", "prefixed")


def _setup(configuration: Configuration) -> Iterator[Acl]:
    raw = [source.topic for source in configuration.sources]
    for name in raw:
        yield Acl("setup", "topic", name, ("READ", "DESCRIBE_CONFIGS"), "to try its fields")
    group = configuration.worker.consumer_group
    yield Acl("setup", "group", group, ("DESCRIBE",), "to see where the worker stands")
    for topic in [*plan(configuration), *changelogs(configuration, dict.fromkeys(raw, 1))]:
        yield Acl(
            "setup", "topic", topic.name, ("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"), topic.purpose
        )


def commands(needed: Iterable[Acl], bootstrap_servers: str, prefix: str) -> Iterator[str]:
    """The lines by which Kafka's own tool gives the rights to `User:<prefix><part>`."""
    for acl in needed:
        words = ["kafka-acls.sh", "--bootstrap-server", bootstrap_servers, "--add"]
        words += ["--allow-principal", f"User:{prefix}{acl.part}"]
        for operation in acl.operations:
            words += ["--operation", "".join(map(str.capitalize, operation.split("_")))]
        words += [f"--{acl.kind}", acl.name]
        if acl.pattern != "literal":
            words += ["--resource-pattern-type", acl.pattern]
        yield shlex.join(words)


def table(needed: Iterable[Acl]) -> Table:
    """The rights as a table for a terminal."""
    shown = Table(title="Access that each part needs", title_justify="left")
    for heading in ("part", "on", "may", "for"):
        shown.add_column(heading, overflow="fold")
    for acl in needed:
        star = "*" if acl.pattern == "prefixed" else ""
        may = ", ".join(operation.lower().replace("_", " ") for operation in acl.operations)
        shown.add_row(acl.part, f"{acl.kind} {acl.name}{star}", may, acl.purpose)
    return shown
