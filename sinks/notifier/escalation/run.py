"""Runs escalations: begins, stops and continues them as events come and as their time does."""

from collections.abc import Callable, Mapping

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.configuration import Configuration, Recipient
from schemas.incidents import Command, Incident, IncidentEvent
from sinks.notifier import holding, metrics, outbox, timers
from sinks.notifier.desk import Desk, Order, ways_of
from sinks.notifier.escalation.machine import Call, Machine, Page
from sinks.notifier.escalation.records import as_event, called_off, planned, record
from sinks.notifier.messages import Ask, Kind
from sinks.notifier.people import People
from sinks.notifier.routing import PIPELINE
from sinks.notifier.store import add_command, add_deliveries, read_incident
from sinks.notifier.timers import Timer

PAGE = "page"
"""The kind of timer that an escalation is; its subject is the incident and the policy."""
TURN = "turn"
"""Counts an escalation's beginnings, for round robin; a timer without a time."""
DRILL_STEP_MS = 1_000
"""In a drill the steps of an escalation follow each other this fast."""
NEWS_IS_PAGE = "the news to them is the page"
"""Why somebody is not paged whom a route has told the same by the same way."""
NAMES_OF_ESCALATION: tuple[Kind, ...] = ("page", "reminder")

log = structlog.get_logger("tocsin.notifier")


class Escalations:
    """All policies at work. What it does is in the transaction that it is given."""

    def __init__(
        self,
        configuration: Configuration,
        desk: Desk,
        people: People,
        now_ms: Callable[[], int],
    ) -> None:
        section = configuration.notifier
        too_late_ms = int(section.stale_after_seconds * 1000)
        self._machines = {each.name: Machine(each, too_late_ms) for each in section.escalations}
        self._commands_topic = configuration.topics.commands
        self._desk = desk
        self._people = people
        self._now_ms = now_ms

    async def take(
        self,
        connection: AsyncConnection,
        event: IncidentEvent,
        chosen: Mapping[str, str],
        *,
        fresh: bool,
        is_new: bool = False,
    ) -> None:
        """An event has come; `chosen` are the policies that routes name for it, with the routes.
        `is_new` says that it is the first of its incident.

        What is not `fresh`, or muted, begins no escalation; it can still end one.
        """
        pages = [] if is_new else await self._pages(connection, event.incident_id)
        known = {page.policy: page for page in pages}
        for policy, page in known.items():
            await self._follow(connection, page, event, again=policy in chosen and fresh)
        if not fresh:
            return
        for policy, rule in chosen.items():
            machine = self._machines.get(policy)
            if machine is not None and policy not in known and self._pages_for(machine, event):
                turn = await self._next_turn(connection, policy)
                page = Page(incident_id=event.incident_id, policy=policy, rule=rule, turn=turn)
                await self._keep(connection, machine.begin(page, self._now_ms()), event.incident)

    async def acknowledged(self, connection: AsyncConnection, incident_id: str, by: str) -> None:
        """Somebody has the incident: nothing more goes out of any escalation, from now on."""
        now_ms = self._now_ms()
        incident = await read_incident(connection, incident_id)
        for page in await self._pages(connection, incident_id):
            machine = self._machines.get(page.policy)
            if machine is not None and page.state in ("paging", "exhausted"):
                after = machine.acknowledge(page, by, now_ms)
                await self._keep(connection, after, incident)
        await self._take_back(connection, incident_id, f"acknowledged by {by}")

    async def fire(self, connection: AsyncConnection, timer: Timer) -> None:
        """The time of an escalation's next moment has come."""
        page = msgspec.json.decode(timer.state, type=Page)
        machine = self._machines.get(page.policy)
        incident = await read_incident(connection, page.incident_id)
        if machine is None or incident is None:  # the policy is no longer configured
            await timers.drop(connection, PAGE, timer.subject)
            return
        if incident.state in ("resolved", "closed"):
            await self._keep(connection, machine.end(page), incident)
            return
        now_ms = self._now_ms()
        page, call = machine.fire(page, now_ms)
        if call is not None:
            metrics.escalations.labels(page.policy, call.kind).inc()
            page = await self._carry_out(connection, machine, page, call, incident)
        await self._keep(connection, page, incident)

    async def _follow(
        self, connection: AsyncConnection, page: Page, event: IncidentEvent, *, again: bool
    ) -> None:
        machine = self._machines.get(page.policy)
        if machine is None:
            return
        incident, now_ms = event.incident, self._now_ms()
        after, reason = page, ""
        if incident.state in ("resolved", "closed"):
            after, reason = machine.end(page), "the incident is over"
        elif incident.silenced_by:
            after, reason = machine.end(page), f"silenced by {incident.silenced_by}"
        elif incident.severity not in machine.policy.severities:
            after, reason = machine.end(page), f"the incident is {incident.severity} now"
        elif incident.acknowledged_by and page.state in ("paging", "exhausted"):
            after = machine.acknowledge(page, incident.acknowledged_by, now_ms)
            reason = f"acknowledged by {incident.acknowledged_by}"
        elif _begins_again(page, event, again=again):
            after = machine.begin(page, now_ms)
        elif event.actor != PIPELINE:
            after = machine.hear(page, now_ms)
        if after != page:
            await self._keep(connection, after, incident)
        if reason and page.state != "over":
            await self._take_back(connection, incident.id, reason)

    async def _carry_out(
        self,
        connection: AsyncConnection,
        machine: Machine,
        page: Page,
        call: Call,
        incident: Incident,
    ) -> Page:
        if call.kind == "page":
            reached = await self._page(connection, page, call, incident)
            return page if reached else machine.skip(page, self._now_ms())
        if call.kind == "reminder":
            await self._remind(connection, page, call, incident)
        elif call.kind == "lapse":
            await self._let_go(connection, page, incident)
        else:
            await self._note(connection, page, call, incident)
        return page

    async def _page(
        self, connection: AsyncConnection, page: Page, call: Call, incident: Incident
    ) -> bool:
        """Pages the step's people; whether there was anybody."""
        told = await outbox.heard(connection, incident.id)
        found: dict[str, Recipient] = {}
        for target in call.targets:
            recipient = self._people.resolve(target, self._now_ms())
            if recipient is None:
                await self._nobody(connection, page, call, incident, target)
            else:
                found.setdefault(recipient.name, recipient)
        orders = []
        for recipient in found.values():
            _, heard = told.get(recipient.name, ("", False))
            ask = self._ask(page, call, incident, recipient, "page", first=not heard)
            withheld = None
            if page.epoch == 1 and (news := await self._just_told(connection, ask)):
                withheld = NEWS_IS_PAGE
                await outbox.count_as_pages(connection, news)
            unheard = recipient.name in told and not heard
            orders.append(Order(ask, self._now_ms(), withheld, unheard))
        await self._desk.take(connection, orders)
        return bool(orders)

    async def _just_told(self, connection: AsyncConnection, ask: Ask) -> list[str]:
        """Messages by which a route tells them the same by the same way."""
        first = ways_of(ask)[0]
        entries = await outbox.find(connection, ask.event.id, ask.recipient.name)
        return [
            entry.content.id
            for entry in entries
            if entry.content.kind == "news"
            and (entry.channel, entry.content.address) == (first.channel, first.address)
        ]

    async def _remind(
        self, connection: AsyncConnection, page: Page, call: Call, incident: Incident
    ) -> None:
        owner = self._people.known(page.acknowledged_by)
        now_ms = self._now_ms()
        people = [owner] if owner else [self._people.resolve(name, now_ms) for name in call.targets]
        names = {person.name: person for person in people if person is not None}
        asks = [self._ask(page, call, incident, each, "reminder") for each in names.values()]
        await self._desk.take(connection, [Order(ask, now_ms) for ask in asks])

    async def _let_go(self, connection: AsyncConnection, page: Page, incident: Incident) -> None:
        """Asks the incident stage to take the acknowledgement back; its event begins the pages."""
        command = Command(
            id=f"lapse/{incident.id}/{page.policy}/{page.epoch}",
            type="unacknowledge",
            incident_id=incident.id,
            actor=PIPELINE,
            issued_ms=self._now_ms(),
            text=f"{page.acknowledged_by} has not been heard of; the acknowledgement lapsed.",
        )
        await add_command(connection, command, self._commands_topic)

    async def _note(
        self, connection: AsyncConnection, page: Page, call: Call, incident: Incident
    ) -> None:
        if call.kind == "exhausted":
            log.error("nobody acknowledged", incident_id=incident.id, policy=page.policy)
        key = call.key or call.kind
        step = record(page, incident, page.policy, key, self._now_ms())
        status = "failed" if call.kind == "exhausted" else "withheld"
        failure = "gave_up" if call.kind == "exhausted" else None
        made = msgspec.structs.replace(step, status=status, failure=failure, detail=call.label)
        await add_deliveries(connection, [made])

    async def _nobody(
        self,
        connection: AsyncConnection,
        page: Page,
        call: Call,
        incident: Incident,
        target: str,
    ) -> None:
        log.warning("nobody is on call", schedule=target, incident_id=incident.id)
        step = record(page, incident, target, call.key, self._now_ms())
        detail = f"{call.label}: nobody is on call"
        await add_deliveries(connection, [msgspec.structs.replace(step, detail=detail)])

    def _ask(
        self,
        page: Page,
        call: Call,
        incident: Incident,
        recipient: Recipient,
        kind: Kind,
        *,
        first: bool = False,
    ) -> Ask:
        return Ask(
            kind=kind,
            stage="opened",
            recipient=recipient,
            rule=f"{page.policy}: {call.label}",
            event=as_event(incident),
            first=first,
            step=call.label,
            key=call.key,
        )

    async def _keep(
        self, connection: AsyncConnection, page: Page, incident: Incident | None
    ) -> None:
        """Keeps where the escalation stands, and says in the log what will come when."""
        if incident is not None and incident.drill and page.due_ms is not None:
            soon_ms = self._now_ms() + DRILL_STEP_MS
            page = msgspec.structs.replace(page, due_ms=min(page.due_ms, soon_ms))
        subject = f"{page.incident_id}/{page.policy}"
        before = await timers.get(connection, PAGE, subject)
        state = msgspec.json.encode(page)
        await timers.put(connection, Timer(PAGE, subject, page.incident_id, page.due_ms, state))
        if incident is None or (before is not None and before.due_ms == page.due_ms):
            return
        policy, now_ms = self._machines[page.policy].policy, self._now_ms()
        steps = planned(policy, page, incident, now_ms)
        if before is not None and page.state != "paging":
            was = msgspec.json.decode(before.state, type=Page)
            if was.state == "paging" and was.due_ms is not None and was.due_ms > now_ms:
                said = msgspec.structs.replace(
                    incident, acknowledged_by=page.acknowledged_by or incident.acknowledged_by
                )
                steps = [*called_off(policy, was, said, now_ms), *steps]
        await add_deliveries(connection, steps)

    async def _take_back(self, connection: AsyncConnection, incident_id: str, reason: str) -> None:
        """No page that has not gone out yet goes out any more, in any channel."""
        taken = await holding.cancel(connection, incident_id, NAMES_OF_ESCALATION, reason)
        for entry in taken:
            metrics.notifications.labels(entry.channel, "withheld").inc()
        steps = [entry.delivery("withheld", self._now_ms(), detail=reason) for entry in taken]
        await add_deliveries(connection, steps)

    async def _pages(self, connection: AsyncConnection, incident_id: str) -> list[Page]:
        found = await timers.of_incident(connection, PAGE, incident_id)
        return [msgspec.json.decode(timer.state, type=Page) for timer in found]

    async def _next_turn(self, connection: AsyncConnection, policy: str) -> int:
        known = await timers.get(connection, TURN, policy)
        turn = int(known.state) if known else 0
        await timers.put(connection, Timer(TURN, policy, "", None, str(turn + 1).encode()))
        return turn

    def _pages_for(self, machine: Machine, event: IncidentEvent) -> bool:
        incident = event.incident
        return (
            incident.severity in machine.policy.severities
            and incident.state not in ("resolved", "closed")
            and not incident.acknowledged_by
        )


def _begins_again(page: Page, event: IncidentEvent, *, again: bool) -> bool:
    """Whether pages begin anew: let go, back or severe again; never while somebody has it."""
    if event.incident.acknowledged_by:
        return False
    return event.type in ("unacknowledged", "reopened") or (page.state == "over" and again)
