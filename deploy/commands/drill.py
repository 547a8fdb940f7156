"""`tocsin drill`: the true path with marked messages, and whether everybody was reached.

A command begins the drill; the worker opens an incident that is none, the notifier tells and pages
whom its configuration names, with the steps of an escalation a second apart. Once all is told the
drill is acknowledged and resolved, and what became of each message is read from the deliveries.
"""

import getpass
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition
from rich.markup import escape
from rich.table import Table

from deploy.commands.say import ends, not_sent, send
from deploy.configuration import load
from deploy.console import new_console
from deploy.credentials import SecretError, kafka_settings
from schemas.configuration import Configuration
from schemas.incidents import Command, CommandType, Delivery, IncidentEvent, Severity
from schemas.reading import UNREADABLE
from sinks.notifier.intake import router_of
from sinks.notifier.people import People

QUIET_SECONDS = 4.0
"""Nothing new for so long, and no message under way: everybody has been told."""
OPEN_SECONDS = 15.0
ENDINGS = ("sent", "failed", "withheld", "held")

T = TypeVar("T", bound=msgspec.Struct)
Wanted = Callable[[], bool]


class Line(msgspec.Struct, frozen=True):
    """What became of one message of the drill. `seconds` are those until it was taken."""

    recipient: str
    audience: str
    channel: str
    rule: str
    subject: str
    status: str
    seconds: float | None
    detail: str
    is_failure: bool


class Result(msgspec.Struct, frozen=True):
    """What `--json` writes: `missing` are people whom an escalation names and who got no page."""

    drill: str
    service: str
    ok: bool
    messages: tuple[Line, ...]
    missing: tuple[str, ...]


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
        drill = _Drill(configuration, service, severity, customers=customers)
        result = drill.run(timeout)
    except (KafkaException, SecretError) as error:
        return not_sent(configuration, error)
    except NoDrillError as error:
        print(f"tocsin drill: {error}", file=sys.stderr)
        return 2
    if json is not None:
        json.write_bytes(msgspec.json.encode(result) + b"\n")
    _print(result)
    return 0 if result.ok else 1


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
        settings = {**kafka_settings(self._configuration.kafka).confluent, "log_level": 0}
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
            self._listen(consumer, deadline, self._is_quiet)
            for kind in ("acknowledge", "resolve"):
                self._send(kind)
                self._listen(consumer, deadline, self._has_come_to(kind))
            self._listen(consumer, deadline, self._is_quiet)
        finally:
            consumer.close()
        return self._result()

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
            issued_ms=int(time.time() * 1000),
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

    def _result(self) -> Result:
        assert self._opened is not None
        lines = tuple(_lines(self._mine()))
        missing = tuple(_missing(self._configuration, self._opened, self._mine()))
        is_told = any(line.status == "sent" for line in lines)
        return Result(
            drill=self._opened.incident_id,
            service=self._service,
            ok=is_told and not missing and not any(line.is_failure for line in lines),
            messages=lines,
            missing=missing,
        )


def _lines(deliveries: Sequence[Delivery]) -> Iterator[Line]:
    """One line a message, in order of asking. A way that failed is a failure, also where the next
    one reached: that is what a drill is to find."""
    order: dict[str, list[Delivery]] = {}
    for made in sorted(deliveries, key=lambda d: (d.time_ms, d.attempt)):
        if made.status != "scheduled":
            order.setdefault(made.message_id, []).append(made)
    for steps in order.values():
        last = next((s for s in reversed(steps) if s.status in ENDINGS), steps[-1])
        asked = next((s for s in steps if s.status == "asked"), None)
        took = (last.time_ms - asked.time_ms) / 1000 if asked and last.status == "sent" else None
        gap = last.status == "withheld" and "nobody is on call" in last.detail
        if last.channel == "escalation" and not gap:
            continue  # what an escalation notes of itself, and is no message
        yield Line(
            recipient=last.recipient,
            audience=last.audience,
            channel=last.channel,
            rule=last.rule,
            subject=last.subject,
            status="no answer" if last.status == "asked" else last.status,
            seconds=took,
            detail=last.detail,
            is_failure=gap or last.status in ("failed", "asked"),
        )


def _missing(
    configuration: Configuration, opened: IncidentEvent, deliveries: Sequence[Delivery]
) -> Iterator[str]:
    """People whom the steps of the escalations name, and whom nothing was sent."""
    people = People(configuration)
    reached = {made.recipient for made in deliveries if made.status == "sent"}
    policies = {policy.name: policy for policy in configuration.notifier.escalations}
    for name in router_of(configuration).escalations(opened):
        policy = policies[name]
        if opened.incident.severity not in policy.severities:
            continue
        for number, step in enumerate(policy.steps, start=1):
            persons = [people.resolve(target, opened.time_ms) for target in step.notify]
            names = [person.name for person in persons if person is not None]
            if step.round_robin and reached & set(names):
                continue
            yield from (
                f"{person} (step {number} of {name})" for person in names if person not in reached
            )


def _all_ends(consumer: Consumer, topics: Sequence[str]) -> list[TopicPartition]:
    return [place for topic in topics for place in ends(consumer, topic)]


def _decoded(value: bytes | None, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(value or b"", type=kind)
    except UNREADABLE:
        return None


def _print(result: Result) -> None:
    console = new_console()
    table = Table(title=f"{result.drill}: drill of {result.service}", title_justify="left")
    for column in ("recipient", "audience", "channel", "what", "result", "seconds"):
        table.add_column(column, overflow="fold")
    for line in result.messages:
        colour = "red" if line.is_failure else "green" if line.status == "sent" else "yellow"
        said = f"{line.status}: {line.detail}" if line.detail else line.status
        table.add_row(
            escape(line.recipient),
            line.audience,
            escape(line.channel),
            escape(line.subject or line.rule),
            f"[{colour}]{escape(said)}[/]",
            "" if line.seconds is None else f"{line.seconds:.1f}",
        )
    console.print(table)
    for name in result.missing:
        console.print(f"[red]not reached[/]  {escape(name)}")
    verdict = "everybody was reached" if result.ok else "not everybody can be reached"
    console.print(verdict)
