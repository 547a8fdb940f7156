"""Turns incident events into what is to be sent and when, in the store's transaction."""

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.configuration import Configuration
from schemas.incidents import Delivery, IncidentEvent
from sinks.notifier import outbox
from sinks.notifier.desk import Desk, Order
from sinks.notifier.escalation.records import as_event
from sinks.notifier.escalation.run import Escalations
from sinks.notifier.family import TOLD_WITH, Family, goes_on, heir_of
from sinks.notifier.messages import Ask
from sinks.notifier.muting import inhibited, silenced
from sinks.notifier.people import People
from sinks.notifier.promises import Promises
from sinks.notifier.routing import ALONE, PIPELINE, Decision, Moment, Router
from sinks.notifier.store import (
    add_deliveries,
    add_taken,
    kin_of,
    older_open,
    read_version,
    unsubscribed,
    write_incident,
)


class Intake:
    """Takes one event in: the incident's latest state, the messages, the delivery records, and
    what the event means to escalations and promises."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        desk: Desk,
        people: People,
        escalations: Escalations,
        promises: Promises,
        now_ms: Callable[[], int],
    ) -> None:
        section = configuration.notifier
        self._router = router_of(configuration)
        self._inhibitions = section.inhibitions
        self._desk = desk
        self._people = people
        self._escalations = escalations
        self._promises = promises
        self._stale_after_ms = int(section.stale_after_seconds * 1000)
        self._now_ms = now_ms
        self._unsubscribed: tuple[AsyncConnection, frozenset[str]] | None = None

    async def take(
        self, connection: AsyncConnection, event: IncidentEvent, recorded_ms: int
    ) -> bool:
        """Whether the event was new. `recorded_ms` is when it was written to Kafka."""
        known_version = await read_version(connection, event.incident_id)
        if event.version <= known_version:
            return False
        family_name = await write_incident(connection, event.incident, event.version)
        await add_taken(connection, event, self._now_ms())
        if recorded_ms <= 0:  # Kafka's word for a record without a timestamp
            recorded_ms = self._now_ms()
        # What the pipeline itself says is as old as what it is about, also where it comes late to
        # it, as on a first start; what a person says is as old as its record.
        said_ms = min(recorded_ms, event.time_ms) if event.actor == PIPELINE else recorded_ms
        stale = self._now_ms() - said_ms > self._stale_after_ms
        is_new = known_version == 0  # nothing can be known of it: a storm need not ask
        heard = {} if is_new else await outbox.heard(connection, event.incident_id)
        family = ALONE
        if not is_new or event.incident.split_from is not None:
            family = await self._family(connection, family_name, event.incident_id)
        moment = Moment(
            told={name: rule for name, (rule, _) in heard.items()},
            unheard=frozenset(name for name, (_, more) in heard.items() if not more),
            stale=stale,
            muted=await self._muted(connection, event),
            unsubscribed=await self._read_unsubscribed(connection),
            family=family,
        )
        decisions = self._router.decide_at(event, moment, self._on_call)
        heir = heir_of(event.incident, [each.withheld for each in decisions], family)
        promised_ms = await self._promises.take(
            connection, event, decisions, is_new=is_new, heir=heir
        )
        orders = [
            Order(
                ask=_ask(event, decision, promised_ms),
                recorded_ms=recorded_ms,
                withheld=decision.withheld,
                unheard=decision.recipient.name in moment.unheard,
            )
            for decision in decisions
        ]
        orders += self._know_of_heir(event, decisions, family, recorded_ms)
        await self._desk.take(connection, orders)
        await self._desk.take(connection, self._reviews(event, moment, decisions, recorded_ms))
        await self._say_nobody_is_on_call(connection, event)
        await self._escalations.take(
            connection,
            event,
            self._router.escalations(event),
            fresh=not stale and moment.muted is None,
            is_new=is_new,
        )
        return True

    async def _family(self, connection: AsyncConnection, name: str, incident_id: str) -> Family:
        kin = await kin_of(connection, name, incident_id)
        heard = {each.id: await outbox.heard(connection, each.id) for each in kin}
        return Family(kin=tuple(kin), heard=heard) if kin else ALONE

    def _know_of_heir(
        self,
        event: IncidentEvent,
        decisions: tuple[Decision, ...],
        family: Family,
        recorded_ms: int,
    ) -> list[Order]:
        """Notes who knows of an incident from what was merged into it, so that they hear how it
        goes on."""
        name = event.incident.merged_into
        into = next((each for each in family.kin if each.id == name), None)
        if into is None or name is None:
            return []
        return [
            Order(
                Ask(
                    stage="opened",
                    recipient=decision.recipient,
                    rule=decision.rule,
                    event=as_event(into),
                    key=f"{TOLD_WITH}{event.incident_id}",
                ),
                recorded_ms,
                f"{TOLD_WITH}{event.incident_id}",
            )
            for decision in decisions
            if decision.withheld == goes_on(name)
            and decision.recipient.name not in family.heard.get(name, ())
        ]

    async def _read_unsubscribed(self, connection: AsyncConnection) -> frozenset[str]:
        """Once in a transaction: nobody else writes meanwhile."""
        if self._unsubscribed is None or self._unsubscribed[0] is not connection:
            self._unsubscribed = (connection, await unsubscribed(connection))
        return self._unsubscribed[1]

    def _on_call(self, schedule: str) -> str | None:
        return self._people.on_call(schedule, self._now_ms())

    async def _muted(self, connection: AsyncConnection, event: IncidentEvent) -> str | None:
        """The silence or inhibition that applies to the incident now."""
        said = silenced(event.incident)
        if said is not None or not self._inhibitions:
            return said
        others = await older_open(connection, event.incident)
        return inhibited(event.incident, self._inhibitions, others)

    def _reviews(
        self,
        event: IncidentEvent,
        moment: Moment,
        decisions: tuple[Decision, ...],
        recorded_ms: int,
    ) -> list[Order]:
        """Asks those who can approve it to look at what waits for a review: managers who know of
        the incident, else engineers, but not its author."""
        asks_now = event.type == "proposed" or any(
            decision.withheld == "waits for review" for decision in decisions
        )
        if not asks_now or moment.stale:
            return []
        proposal = event.incident.proposal
        author = self._people.known(proposal.by) if proposal else None
        names = [*moment.told, *(d.recipient.name for d in decisions if d.withheld is None)]
        known = [
            self._people.recipients[name]
            for name in dict.fromkeys(names)
            if name in self._people.recipients
        ]
        reviewers = [r for r in known if r.audience == "manager"] or [
            r for r in known if r.audience == "engineer"
        ]
        return [
            Order(
                Ask(
                    kind="review",
                    stage="public_message",
                    recipient=recipient,
                    rule="review",
                    event=event,
                    key="review",
                ),
                recorded_ms,
            )
            for recipient in reviewers
            if author is None or recipient.name != author.name
        ]

    async def _say_nobody_is_on_call(
        self, connection: AsyncConnection, event: IncidentEvent
    ) -> None:
        steps = [
            Delivery(
                message_id=outbox.message_id(event.id, schedule, "schedule"),
                event_id=event.id,
                incident_id=event.incident_id,
                status="withheld",
                time_ms=self._now_ms(),
                recipient=schedule,
                audience="engineer",
                channel="schedule",
                rule=rule,
                detail="nobody is on call",
            )
            for schedule, rule in self._router.nobody_on_call(event, self._on_call)
        ]
        await add_deliveries(connection, steps)


def router_of(configuration: Configuration) -> Router:
    """The router of a configuration. Raises `ValueError` for a route to nobody known."""
    section = configuration.notifier
    return Router(
        section.routes,
        {recipient.name: recipient for recipient in section.recipients},
        configuration.catalogue,
        frozenset(schedule.name for schedule in section.schedules),
    )


def _ask(event: IncidentEvent, decision: Decision, promised_ms: int | None) -> Ask:
    return Ask(
        stage=decision.stage,
        recipient=decision.recipient,
        rule=decision.rule,
        event=event,
        first=decision.first,
        next_update_ms=promised_ms,
    )
