"""`tocsin drill`: the true path with marked messages, and whether everybody was reached.

A command begins the drill; the worker opens an incident that is none, the notifier tells and pages
whom its configuration names, with the steps of an escalation a second apart. Once all is told the
drill is acknowledged and resolved, and what became of each message is read from the deliveries.
"""

import getpass
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from deploy.commands import moments
from deploy.commands.drill_result import ENDINGS, Result, result_of, show
from deploy.commands.say import ends, not_sent, send
from deploy.configuration import load
from deploy.credentials import SecretError, for_command
from schemas.configuration import Configuration
from schemas.incidents import Command, CommandType, Delivery, IncidentEvent, Severity
from schemas.reading import UNREADABLE

QUIET_SECONDS = 4.0
"""Nothing new for so long, and no message under way: everybody has been told."""
OPEN_SECONDS = 15.0

T = TypeVar("T", bound=msgspec.Struct)
Wanted = Callable[[], bool]


class NoDrillError(Exception):
    """The drill did not begin; says why."""


def run_drill(
    service: str,
    *,
    config: Path | None,
    severity: Severity,
    customers: bool,
    timeout: float,
    json: Path | None,
) -> int:
    """Runs a drill and prints what became of it.

    Returns 0 if everybody was reached, 1 if a channel or a step failed, 2 if it did not begin.
    """
    configuration = load(config)
    try:
        _check_service(service, configuration)
        drill = _Drill(configuration, service, severity, customers=customers)
        result = drill.run(timeout)
    except (KafkaException, SecretError) as error:
        return not_sent(configuration, error)
    except NoDrillError as error:
        print(f"tocsin drill: {error}", file=sys.stderr)
        return 2
    if json is not None:
        json.write_bytes(msgspec.json.encode(result) + b"\n")
    show(result)
    return 0 if result.ok else 1


def _check_service(service: str, configuration: Configuration) -> None:
    """Raises `NoDrillError` for a service that the catalogue, if there is one, lacks: routes by
    service would not be tried."""
    known = {one.name for one in configuration.catalogue.services}
    if known and service not in known:
        listed = ", ".join(sorted(known))
        raise NoDrillError(f"{service} is none of the catalogue's services {listed}")


class _Drill:
    """One drill: sends its commands and hears what comes of them."""

    def __init__(
        self, configuration: Configuration, service: str, severity: Severity, *, customers: bool
    ) -> None:
        self._configuration = configuration
        self._service = service
        self._actor = getpass.getuser()
        self._begin = self._command("drill", "", service=service, severity=severity)
        if customers:
            self._begin = msgspec.structs.replace(self._begin, to_customers=True)
        self._opened: IncidentEvent | None = None
        self._last: IncidentEvent | None = None
        self._deliveries: dict[str, Delivery] = {}
        self._heard_at = time.monotonic()

    def run(self, timeout_seconds: float) -> Result:
        """Begins, waits until everybody was told, acknowledges, resolves, and waits again.

        Raises NoDrillError, KafkaException and SecretError.
        """
        topics = self._configuration.topics
        settings = for_command(self._configuration)
        consumer = Consumer(
            {**settings, "group.id": f"tocsin-drill-{self._begin.id}", "enable.auto.commit": False}
        )
        deadline = time.monotonic() + timeout_seconds
        try:
            consumer.assign(_all_ends(consumer, (topics.incident_events, topics.deliveries)))
            send(self._configuration, self._begin)
            until = min(deadline, time.monotonic() + OPEN_SECONDS)
            if not self._listen(consumer, until, lambda: self._opened is not None):
                raise NoDrillError(
                    f"no incident of the drill within {OPEN_SECONDS:.0f} s: is the worker running?"
                )
            self._wait_until_told(consumer, deadline)
            for kind in ("acknowledge", "resolve"):
                self._send(kind)
                self._listen(consumer, deadline, self._has_come_to(kind))
            self._listen(consumer, deadline, self._is_quiet)
        finally:
            consumer.close()
        assert self._opened is not None
        return result_of(self._configuration, self._opened, self._mine())

    def _wait_until_told(self, consumer: Consumer, deadline: float) -> None:
        try:
            self._listen(consumer, deadline, self._is_quiet)
        except KeyboardInterrupt:
            self._send("resolve")  # nobody is to be paged by a drill that was broken off
            raise

    def _send(self, kind: CommandType) -> None:
        assert self._opened is not None
        send(self._configuration, self._command(kind, self._opened.incident_id))

    def _command(
        self,
        kind: CommandType,
        incident_id: str,
        *,
        service: str | None = None,
        severity: Severity | None = None,
    ) -> Command:
        return Command(
            id=str(uuid.uuid4()),
            type=kind,
            incident_id=incident_id,
            actor=self._actor,
            issued_ms=moments.now_ms(),
            service=service,
            severity=severity,
        )

    def _listen(self, consumer: Consumer, until: float, wanted: Wanted) -> bool:
        """Takes in what comes until it is as wanted; False if the time was up before."""
        while not wanted():
            left = until - time.monotonic()
            if left <= 0:
                return False
            message = consumer.poll(min(left, 0.2))
            if message is None or message.error() is not None:
                continue
            if message.topic() == self._configuration.topics.deliveries:
                self._hear_delivery(_decoded(message.value(), Delivery))
            else:
                self._hear_event(_decoded(message.value(), IncidentEvent))
        return True

    def _hear_event(self, event: IncidentEvent | None) -> None:
        if event is None:
            return
        if event.command_id == self._begin.id:
            self._opened = event
        if self._opened is not None and event.incident_id == self._opened.incident_id:
            self._last, self._heard_at = event, time.monotonic()

    def _hear_delivery(self, delivery: Delivery | None) -> None:
        """Deliveries can overtake the event that opened the drill, so all marked ones are kept."""
        if delivery is not None and delivery.incident_id.startswith("DRILL-"):
            self._deliveries[delivery.id] = delivery
            self._heard_at = time.monotonic()

    def _is_quiet(self) -> bool:
        if time.monotonic() - self._heard_at < QUIET_SECONDS:
            return False
        ended = {d.message_id for d in self._mine() if d.status in ENDINGS}
        asked = {d.message_id for d in self._mine() if d.status == "asked"}
        return bool(self._mine()) and asked <= ended

    def _has_come_to(self, kind: str) -> Wanted:
        wanted = {"acknowledge": "acknowledged", "resolve": "resolved"}[kind]
        return lambda: self._last is not None and self._last.type == wanted

    def _mine(self) -> list[Delivery]:
        name = self._opened.incident_id if self._opened else ""
        return [made for made in self._deliveries.values() if made.incident_id == name]


def _all_ends(consumer: Consumer, topics: Sequence[str]) -> list[TopicPartition]:
    return [place for topic in topics for place in ends(consumer, topic)]


def _decoded(value: bytes | None, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(value or b"", type=kind)
    except UNREADABLE:
        return None
