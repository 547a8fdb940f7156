"""Keeps the promises of a next update: makes them, reminds, speaks or escalates."""

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.configuration import Configuration, Recipient
from schemas.incidents import Command, Incident, IncidentEvent
from sinks.notifier import announcing, cadence, metrics, outbox, timers
from sinks.notifier.announcing import CADENCE
from sinks.notifier.cadence import Promise
from sinks.notifier.desk import Desk, Order
from sinks.notifier.escalation.records import as_event
from sinks.notifier.messages import Ask, Kind, Stage
from sinks.notifier.people import People
from sinks.notifier.routing import PIPELINE, Decision
from sinks.notifier.store import add_command, add_deliveries, read_incident
from sinks.notifier.timers import Timer

PROMISE = "promise"
"""The kind of timer that a promise is; its subject is the incident."""
OUTSIDE = ("customer", "support")


class Promises:
    """All promises. What it does is in the transaction that it is given."""

    def __init__(
        self,
        configuration: Configuration,
        desk: Desk,
        people: People,
        now_ms: Callable[[], int],
    ) -> None:
        self._cadence = configuration.notifier.cadence
        self._commands_topic = configuration.topics.commands
        self._reviewed = frozenset(configuration.incidents.review_severities)
        self._desk = desk
        self._people = people
        self._now_ms = now_ms

    async def take(
        self,
        connection: AsyncConnection,
        event: IncidentEvent,
        decisions: Sequence[Decision],
        *,
        is_new: bool = False,
        heir: str | None = None,
    ) -> int | None:
        """An event has come; returns the promise that its messages make, Unix ms. `is_new` says
        that it is the first of its incident, `heir` which incident it goes on in, if it is over."""
        before = None if is_new else await self._read(connection, event.incident_id)
        if event.incident.state in ("resolved", "closed"):
            if before is not None:
                is_passed_on = heir is not None and await self._pass_on(
                    connection, event.incident, before, heir
                )
                if not is_passed_on:
                    await self._settle(connection, event.incident, before, automatic=False)
                await timers.drop(connection, PROMISE, event.incident_id)
            return None
        tells = any(
            decision.withheld is None and decision.recipient.audience in OUTSIDE
            for decision in decisions
        )
        if tells:
            return await self._renew(connection, event.incident, before, automatic=False)
        if before is None:
            return None
        after, now_ms = before, self._now_ms()
        if event.changes:
            after = cadence.changed(after, now_ms)
        if event.incident.severity != before.severity:
            after = cadence.tightened(self._cadence, after, event.incident.severity, now_ms)
        if after.due_ms != before.due_ms:
            gone = announcing.replaced(event.incident, before, now_ms)
            await add_deliveries(connection, [gone])
        if after != before:
            await self._write(connection, event.incident, after, before)
        return after.due_ms

    async def _pass_on(
        self, connection: AsyncConnection, incident: Incident, promise: Promise, heir: str
    ) -> bool:
        """Whether another incident keeps the promise from now on; its own if that is sooner."""
        other = await read_incident(connection, heir)
        if other is None or other.state in ("resolved", "closed"):
            return False
        known = await self._read(connection, heir)
        if known is None or promise.due_ms < known.due_ms:
            passed = msgspec.structs.replace(promise, severity=other.severity)
            if known is not None:
                gone = announcing.replaced(other, known, self._now_ms())
                await add_deliveries(connection, [gone])
            await self._write(connection, other, passed, known)
        step = announcing.passed_on(incident, promise, heir, self._now_ms())
        await add_deliveries(connection, [step])
        return True

    async def fire(self, connection: AsyncConnection, timer: Timer) -> None:
        """The time of a promise's next moment has come."""
        before = msgspec.json.decode(timer.state, type=Promise)
        incident = await read_incident(connection, timer.incident_id)
        if incident is None or incident.state in ("resolved", "closed"):
            await timers.drop(connection, PROMISE, timer.subject)
            return
        may_speak = incident.severity not in self._reviewed
        after, action = cadence.fire(self._cadence, before, self._now_ms(), may_speak=may_speak)
        await self._write(connection, incident, after, before)
        if action == "no_change":
            await self._say_no_change(connection, incident, after)
        elif action is not None:
            people = await self._responsible(connection, incident, escalate=action == "escalate")
            if action == "escalate" and not before.escalated:
                metrics.promises.labels(before.severity, "missed").inc()
                names = ", ".join(each.name for each in people) or "nobody"
                step = announcing.missed(
                    incident, before, self._now_ms(), f"nobody has spoken; told: {names}"
                )
                await add_deliveries(connection, [step])
            key = f"{before.due_ms}/{action}/{after.escalated}"
            await self._tell(connection, incident, people, after.due_ms, kind="update_due", key=key)

    async def _say_no_change(
        self, connection: AsyncConnection, incident: Incident, promise: Promise
    ) -> None:
        due_ms = await self._renew(connection, incident, promise, automatic=True)
        told = await outbox.told(connection, incident.id)
        outside = [
            recipient
            for name in told
            if (recipient := self._people.recipients.get(name)) is not None
            and recipient.audience in OUTSIDE
        ]
        await self._tell(
            connection, incident, outside, due_ms, stage="no_change", key=str(promise.due_ms)
        )
        # Into the log, so that the status page says it too.
        command = Command(
            id=f"no_change/{incident.id}/{promise.due_ms}",
            type="no_change",
            incident_id=incident.id,
            actor=PIPELINE,
            issued_ms=self._now_ms(),
        )
        await add_command(connection, command, self._commands_topic)

    async def _tell(
        self,
        connection: AsyncConnection,
        incident: Incident,
        people: Sequence[Recipient],
        due_ms: int | None,
        *,
        kind: Kind = "news",
        stage: Stage = "updated",
        key: str = "",
    ) -> None:
        event, now_ms = as_event(incident), self._now_ms()
        asks = [
            Ask(
                kind=kind,
                stage=stage,
                recipient=recipient,
                rule=CADENCE,
                event=event,
                key=f"{CADENCE}/{key}",
                next_update_ms=due_ms,
            )
            for recipient in people
        ]
        await self._desk.take(connection, [Order(ask, now_ms) for ask in asks])

    async def _responsible(
        self, connection: AsyncConnection, incident: Incident, *, escalate: bool
    ) -> list[Recipient]:
        """Who has the incident, else the engineers who were told of it; those to whom a missed
        promise is escalated as well."""
        told = await outbox.told(connection, incident.id)
        owner = self._people.known(incident.acknowledged_by)
        people = (
            [owner]
            if owner
            else [
                recipient
                for name in told
                if (recipient := self._people.recipients.get(name)) is not None
                and recipient.audience == "engineer"
            ]
        )
        if escalate:
            now_ms = self._now_ms()
            resolved = [self._people.resolve(name, now_ms) for name in self._cadence.escalate_to]
            people += [recipient for recipient in resolved if recipient is not None]
        return list({recipient.name: recipient for recipient in people}.values())

    async def _renew(
        self,
        connection: AsyncConnection,
        incident: Incident,
        before: Promise | None,
        *,
        automatic: bool,
    ) -> int | None:
        """There is an update: the promise before is settled and another one is made."""
        now_ms = self._now_ms()
        known = before
        if before is not None and not automatic:
            before = cadence.changed(before, now_ms)
        made = cadence.make(self._cadence, before, incident.severity, now_ms, automatic=automatic)
        if known is not None:
            # One that is made anew for the same time still stands.
            says_so = made is None or made.due_ms != known.due_ms
            await self._settle(connection, incident, known, automatic=automatic, says_so=says_so)
        if made is None:
            if known is not None:
                await timers.drop(connection, PROMISE, incident.id)
            return None
        await self._write(connection, incident, made, known)
        return made.due_ms

    async def _settle(
        self,
        connection: AsyncConnection,
        incident: Incident,
        promise: Promise,
        *,
        automatic: bool,
        says_so: bool = True,
    ) -> None:
        """There is an update, or the end: counts what has become of the promise, and says so."""
        now_ms = self._now_ms()
        result = cadence.result(promise, now_ms, automatic=automatic)
        if result is None:
            return
        metrics.promises.labels(promise.severity, result).inc()
        if result == "late":
            step = announcing.missed(incident, promise, now_ms)
        else:
            step = announcing.kept(incident, promise, now_ms, automatic=automatic)
        await add_deliveries(connection, [step] if says_so else [])

    async def _read(self, connection: AsyncConnection, incident_id: str) -> Promise | None:
        timer = await timers.get(connection, PROMISE, incident_id)
        return None if timer is None else msgspec.json.decode(timer.state, type=Promise)

    async def _write(
        self,
        connection: AsyncConnection,
        incident: Incident,
        promise: Promise,
        before: Promise | None,
    ) -> None:
        """Keeps the promise; one for another time than before is said in the log."""
        state = msgspec.json.encode(promise)
        timer = Timer(PROMISE, incident.id, incident.id, promise.fire_ms, state)
        await timers.put(connection, timer)
        if before is None or before.due_ms != promise.due_ms:
            step = announcing.promised(incident, promise, self._now_ms())
            await add_deliveries(connection, [step])
