"""Commands from the command line to an incident, through the commands topic into its log."""

import getpass
import sys
import time
import uuid
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from deploy.commands import moments
from deploy.configuration import load
from deploy.console import put
from deploy.credentials import SecretError, for_command
from schemas.configuration import Configuration
from schemas.incidents import Command, CommandType, IncidentEvent, Severity
from schemas.naming import service_for
from schemas.outlook import Category
from schemas.reading import UNREADABLE, read
from schemas.times import moment_of

ANSWER_SECONDS = 10.0
EVENTS = msgspec.json.Decoder(IncidentEvent)
UNKNOWN_SERVICE = "about what the worker finds in its words (there is no catalogue here; see -c)"


def give(
    kind: CommandType,
    incident: str,
    *,
    config: Path | None,
    actor: str | None,
    text: str = "",
    severity: Severity | None = None,
    expected_ms: int | None = None,
    solution: str = "",
    category: Category | None = None,
    into: str | None = None,
    services: tuple[str, ...] = (),
) -> int:
    """Sends one command and waits until it stands in the incident's log.

    Returns 0 once it does, 1 if it was refused or no answer came, 2 if it could not be sent.
    """
    configuration = load(config)
    command = Command(
        id=str(uuid.uuid4()),
        type=kind,
        incident_id=incident,
        actor=actor or getpass.getuser(),
        issued_ms=moments.now_ms(),
        text=text,
        severity=severity,
        expected_ms=expected_ms,
        solution=solution,
        category=category,
        into=into,
        services=services,
    )
    try:
        event = send_and_wait(configuration, command)
    except (KafkaException, SecretError) as error:
        return not_sent(configuration, error)
    if event is None:
        print(
            f"sent, but no answer within {ANSWER_SECONDS:.0f} s: is the worker running, and is "
            f"{incident} open or lately resolved? The worker's log says why it refuses a command, "
            f"and `tocsin explain {incident}` what arrived",
            file=sys.stderr,
        )
        return 1
    if event.type == "noted" and event.actor != command.actor:
        # What is not obeyed, tocsin notes itself; what is obeyed stands there as its giver's.
        put(f"{event.incident_id}: {event.text}", sys.stderr)
        return 1
    did = event.type.replace("_", " ")
    put(f"{event.incident_id} {did} by {event.actor}{f': {event.text}' if event.text else ''}")
    return 0


def tell(
    kind: CommandType,
    text: str,
    *,
    config: Path | None,
    actor: str | None,
    service: str | None = None,
    services: tuple[str, ...] = (),
) -> int:
    """Sends what is about no single incident; 0 once Kafka has it, 2 if it could not be sent."""
    configuration = load(config)
    if kind == "change" and not services:
        print("tocsin change: name the services that were changed", file=sys.stderr)
        return 2
    about = ", ".join(services) or service
    if kind == "report" and (service or configuration.catalogue.services):
        try:
            about = service_for(service, text, configuration.catalogue.services)
        except ValueError as error:
            print(f"tocsin report: {str(error).replace('`service`', '--service')}", file=sys.stderr)
            return 2
    command = Command(
        id=str(uuid.uuid4()),
        type=kind,
        incident_id="",
        actor=actor or getpass.getuser(),
        issued_ms=moments.now_ms(),
        text=text,
        service=service,
        services=services,
    )
    try:
        send(configuration, command)
    except (KafkaException, SecretError) as error:
        return not_sent(configuration, error)
    put(f"sent, {f'about {about}' if about else UNKNOWN_SERVICE}: {text}")
    return 0


def not_sent(configuration: Configuration, error: KafkaException | SecretError) -> int:
    """Says why Kafka did not answer; returns 2."""
    reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
    servers = configuration.kafka.bootstrap_servers
    print(f"nothing was sent or read: Kafka at {servers}: {reason}", file=sys.stderr)
    return 2


def give_expectation(
    incident: str, when: str, *, config: Path | None, actor: str | None, text: str
) -> int:
    """Sends when the incident is expected to be over; as `give`, and 2 for a time that is none."""
    try:
        expected_ms = moment_of(when, moments.now_ms())
    except ValueError as error:
        print(f"tocsin expect: {error}", file=sys.stderr)
        return 2
    return give("expect", incident, config=config, actor=actor, text=text, expected_ms=expected_ms)


def send(configuration: Configuration, command: Command) -> None:
    """Sends a command that no incident's log will answer. Raises `KafkaException`."""
    settings = for_command(configuration)
    _send(settings, configuration.topics.commands, command)


def send_and_wait(configuration: Configuration, command: Command) -> IncidentEvent | None:
    """The event that the command led to; None if none came in time. Raises `KafkaException`."""
    settings = for_command(configuration)
    topics = configuration.topics
    consumer = Consumer(
        {**settings, "group.id": f"tocsin-command-{command.id}", "enable.auto.commit": False}
    )
    try:
        consumer.assign(ends(consumer, topics.incident_events))
        _send(settings, topics.commands, command)
        deadline = time.monotonic() + ANSWER_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            message = consumer.poll(min(left, 0.5))
            if message is None or message.error() is not None:
                continue
            try:
                event = read(message.value() or b"", EVENTS)
            except UNREADABLE:  # somebody else's, which cannot be the answer
                continue
            if event.command_id == command.id:
                return event
        return None
    finally:
        consumer.close()


def ends(consumer: Consumer, topic: str) -> list[TopicPartition]:
    """Every partition of the topic, at its end."""
    partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
    return [
        TopicPartition(
            topic, p, consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=5)[1]
        )
        for p in partitions
    ]


def _send(settings: dict[str, object], topic: str, command: Command) -> None:
    """Produces the command and waits for the broker's acknowledgement."""
    failures: list[KafkaException] = []
    producer = Producer({**settings, "enable.idempotence": True, "message.timeout.ms": 10_000})
    producer.produce(
        topic,
        msgspec.json.encode(command),
        command.incident_id.encode(),
        on_delivery=lambda error, _: failures.append(KafkaException(error)) if error else None,
    )
    producer.flush()
    if failures:
        raise failures[0]
