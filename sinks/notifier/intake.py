"""Turns incident events into messages to send, in the store's transaction."""

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.configuration import Configuration
from schemas.incidents import Delivery, IncidentEvent
from sinks.notifier import metrics, outbox
from sinks.notifier.channels.channel import NO_DETAILS, Message
from sinks.notifier.links import Linker
from sinks.notifier.messages import Ask
from sinks.notifier.outbox import Entry
from sinks.notifier.routing import Decision, Router
from sinks.notifier.store import add_deliveries, read_version, write_incident
from sinks.notifier.words import Writer

PIPELINE = "tocsin"
"""The actor of what no person did."""


class Intake:
    """Takes one event in: the incident's latest state, the messages, the delivery records."""

    def __init__(
        self, configuration: Configuration, linker: Linker, now_ms: Callable[[], int]
    ) -> None:
        section = configuration.notifier
        recipients = {recipient.name: recipient for recipient in section.recipients}
        self._router = Router(section.routes, recipients, configuration.catalogue)
        self._writer = Writer(configuration.catalogue)
        self._linker = linker
        self._stale_after_ms = int(section.stale_after_seconds * 1000)
        self._now_ms = now_ms

    async def take(
        self, connection: AsyncConnection, event: IncidentEvent, recorded_ms: int
    ) -> bool:
        """Whether the event was new. `recorded_ms` is when it was written to Kafka."""
        if event.version <= await read_version(connection, event.incident_id):
            return False
        await write_incident(connection, event.incident, event.version)
        if recorded_ms <= 0:  # Kafka's word for a record without a timestamp
            recorded_ms = self._now_ms()
        # What the pipeline itself says is as old as what it is about, also where it comes late to
        # it, as on a first start; what a person says is as old as its record.
        said_ms = min(recorded_ms, event.time_ms) if event.actor == PIPELINE else recorded_ms
        stale = self._now_ms() - said_ms > self._stale_after_ms
        told = await outbox.told(connection, event.incident_id)
        decisions = self._router.decide(event, told, stale=stale)
        await self._ask(connection, event, decisions, recorded_ms)
        return True

    async def _ask(
        self,
        connection: AsyncConnection,
        event: IncidentEvent,
        decisions: Sequence[Decision],
        recorded_ms: int,
    ) -> None:
        now_ms = self._now_ms()
        entries: list[tuple[Entry, str | None]] = []
        steps: list[Delivery] = []
        for decision in decisions:
            entry = self._entry(event, decision, recorded_ms, now_ms)
            entries.append((entry, decision.withheld))
            if decision.withheld is not None:
                steps.append(entry.delivery("withheld", now_ms, detail=decision.withheld))
                metrics.notifications.labels(entry.channel, "withheld").inc()
                continue
            if not decision.first:
                steps += await self._overtaken(connection, entry, now_ms)
            steps.append(entry.delivery("asked", now_ms))
        await outbox.add(connection, entries)
        await add_deliveries(connection, steps)

    async def _overtaken(
        self, connection: AsyncConnection, entry: Entry, now_ms: int
    ) -> list[Delivery]:
        content = entry.content
        older = await outbox.overtake(connection, content.incident_id, content.recipient)
        metrics.notifications.labels(entry.channel, "withheld").inc(len(older))
        detail = "overtaken by a later message"
        return [entry.delivery("withheld", now_ms, detail=detail) for entry in older]

    def _entry(
        self, event: IncidentEvent, decision: Decision, recorded_ms: int, now_ms: int
    ) -> Entry:
        incident, recipient = event.incident, decision.recipient
        asked = Ask(
            stage=decision.stage,
            recipient=recipient,
            rule=decision.rule,
            event=event,
            first=decision.first,
        )
        said = self._writer.write(asked) if decision.withheld is None else None
        is_told = said is not None and recipient.audience != "customer"
        is_news = decision.first and decision.stage == "opened"
        return Entry(
            content=Message(
                id=outbox.message_id(event.id, recipient.name, recipient.channel),
                event_id=event.id,
                incident_id=incident.id,
                stage=decision.stage,
                severity=incident.severity,
                recipient=recipient.name,
                audience=recipient.audience,
                address=recipient.address,
                subject=said.subject if said else "",
                text=said.text if said else "",
                links=self._linker.links(event, decision) if said else (),
                time_ms=event.time_ms,
                details=msgspec.Raw(msgspec.json.encode(incident)) if is_told else NO_DETAILS,
            ),
            channel=recipient.channel,
            rule=decision.rule,
            asked_ms=now_ms,
            recorded_ms=recorded_ms,
            detection_delay_ms=(
                max(0, event.time_ms - incident.first_anomaly_ms) if is_news else None
            ),
        )
