"""Takes what is asked for: finds its words, holds it back or lets it go, and keeps it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.configuration import Configuration, Recipient
from schemas.incidents import Delivery
from schemas.oncall import Way
from schemas.silences import SilenceEvent
from sinks.notifier import announcing, bundling, holding, metrics, outbox, timers
from sinks.notifier.channels.channel import NO_DETAILS, Message
from sinks.notifier.links import Linker
from sinks.notifier.messages import Ask, Digest, HandOver, SilenceNotice
from sinks.notifier.outbox import Entry, Placed
from sinks.notifier.pen import Pen
from sinks.notifier.store import add_deliveries
from sinks.notifier.timers import Timer
from sinks.notifier.words import Words

DIGEST = "digest"
"""The kind of timer that brings a recipient's digest; its subject is the recipient."""
LIMIT_RULE = "limit"
GONE = "the recipient is no longer configured"


class Order(NamedTuple):
    """An ask with what decides about it. `withheld` is why nothing is sent, `recorded_ms` when
    the event was written to Kafka; `unheard` says that all of the incident is held back so far."""

    ask: Ask
    recorded_ms: int
    withheld: str | None = None
    unheard: bool = False


class Desk:
    """Everything that is to be sent passes here, in the store's transaction."""

    def __init__(
        self, configuration: Configuration, linker: Linker, now_ms: Callable[[], int]
    ) -> None:
        self._limit = configuration.notifier.limit
        self._pen = Pen(configuration.catalogue, configuration.notifier.templates)
        self._linker = linker
        self._now_ms = now_ms
        self._ledger = holding.Ledger()

    async def take(self, connection: AsyncConnection, orders: Sequence[Order]) -> list[Placed]:
        """Keeps what is asked for, with a delivery record of each step."""
        now_ms = self._now_ms()
        placed, steps = [], []
        for order in orders:
            each, taken_back = await self._place(connection, order, now_ms)
            placed.append(each)
            steps += [*taken_back, _step(each, now_ms)]
            if each.state == "waiting":
                self._ledger.count(connection, each.entry.content.recipient)
            else:
                metrics.notifications.labels(each.entry.channel, each.state).inc()
        await outbox.add(connection, placed)
        await add_deliveries(connection, steps)
        return placed

    async def digest(
        self, connection: AsyncConnection, recipient: Recipient, now_ms: int
    ) -> Entry | None:
        """Makes a digest of what is held back and may go out; None if nothing is."""
        held = await holding.held_for(connection, recipient.name, now_ms)
        if not held:
            return None
        items, more = holding.listed(held)
        made = Digest(
            recipient=recipient,
            rule=LIMIT_RULE,
            items=items,
            count=len(held),
            incidents=len({entry.content.incident_id for entry, _, _ in held} - {""}),
            first_ms=min(entry.asked_ms for entry, _, _ in held),
            last_ms=max(entry.asked_ms for entry, _, _ in held),
            more=more,
        )
        about = f"digest/{recipient.name}/{held[0][2]}-{held[-1][2]}/{now_ms}"
        said = self._pen.digest(made)
        entry = self._bare(recipient, about, said, now_ms, rule=LIMIT_RULE)
        content = msgspec.structs.replace(
            entry.content, kind="digest", severity=items[0].severity, stage=items[0].stage
        )
        entry = msgspec.structs.replace(entry, content=content)
        await outbox.add(connection, [Placed(entry)])
        await add_deliveries(connection, [entry.delivery("asked", now_ms)])
        await holding.take_into(connection, content.id, [seq for _, _, seq in held])
        self._ledger.count(connection, recipient.name)
        metrics.digests.labels(entry.channel).inc()
        metrics.digested_messages.labels(entry.channel).inc(len(held))
        return entry

    async def drop_held(self, connection: AsyncConnection, name: str, now_ms: int) -> None:
        """Says of what is held back from a recipient who is no longer configured that it failed."""
        held = await holding.give_up(connection, name, GONE)
        steps = [entry.delivery("failed", now_ms, failure="refused", detail=GONE) for entry in held]
        await add_deliveries(connection, steps)

    async def hand_over(
        self, connection: AsyncConnection, hand_over: HandOver, now_ms: int
    ) -> None:
        """Tells somebody that a shift begins or ends."""
        side = "on" if hand_over.comes_on else "off"
        about = f"hand_over/{hand_over.schedule}/{hand_over.time_ms}/{side}"
        said = self._pen.hand_over(hand_over)
        entry = self._bare(hand_over.recipient, about, said, now_ms, rule=hand_over.schedule)
        content = msgspec.structs.replace(entry.content, kind="hand_over")
        entry = msgspec.structs.replace(entry, content=content)
        await outbox.add(connection, [Placed(entry)])
        await add_deliveries(connection, [entry.delivery("asked", now_ms)])
        self._ledger.count(connection, hand_over.recipient.name)

    async def silence(
        self,
        connection: AsyncConnection,
        notice: SilenceNotice,
        recorded_ms: int,
        withheld: str | None,
    ) -> None:
        """Tells somebody that a silence ends soon or has ended, or keeps why not; what waits to
        tell them of the same silence is old news then."""
        now_ms, recipient = self._now_ms(), notice.recipient
        said = Words("", "") if withheld else self._pen.silence(notice)
        entry = self._bare(recipient, about_silence(notice.event), said, now_ms, rule=notice.rule)
        content = msgspec.structs.replace(entry.content, kind="silence")
        entry = msgspec.structs.replace(entry, content=content, recorded_ms=recorded_ms)
        placed, steps = Placed(entry, "withheld", withheld or ""), list[Delivery]()
        if withheld is None:
            of_silence = f"silence/{notice.event.silence.id}/"
            idle = await outbox.overtake_about(connection, of_silence, recipient.name)
            detail = "overtaken by a later message"
            steps += [each.delivery("withheld", now_ms, detail=detail) for each in idle]
            placed = await self._held_or_waiting(connection, entry, recipient, now_ms)
        await outbox.add(connection, [placed])
        await add_deliveries(connection, [*steps, _step(placed, now_ms)])
        if placed.state == "waiting":
            self._ledger.count(connection, recipient.name)
        else:
            metrics.notifications.labels(entry.channel, placed.state).inc()

    async def _held_or_waiting(
        self, connection: AsyncConnection, entry: Entry, recipient: Recipient, now_ms: int
    ) -> Placed:
        """What becomes of a message about no incident in particular, by limit and quiet hours."""
        limit = bundling.limit_of(recipient, self._limit)
        load = await self._ledger.load(connection, recipient.name, limit, now_ms)
        kind, severity = entry.content.kind, entry.content.severity
        hold = bundling.hold(kind, severity, recipient, limit=limit, load=load, now_ms=now_ms)
        if hold is None:
            return Placed(entry)
        await self._will_digest(connection, recipient, hold.until_ms)
        return Placed(entry, "held", hold.reason, hold.until_ms)

    async def _place(
        self, connection: AsyncConnection, order: Order, now_ms: int
    ) -> tuple[Placed, list[Delivery]]:
        """What is done with one ask, and the records of what it makes idle."""
        ask = order.ask
        entry = self._entry(order, now_ms)
        if order.withheld is not None:
            return Placed(entry, "withheld", order.withheld), []
        hold = await self._hold(connection, order, now_ms)
        if hold is not None:
            await self._will_digest(connection, ask.recipient, hold.until_ms)
            return Placed(entry, "held", hold.reason, hold.until_ms), []
        idle: list[Entry] = []
        if order.unheard:  # this one says it all; what is held back would come as old news
            incident, name = ask.event.incident_id, ask.recipient.name
            idle += await holding.cancel(connection, incident, ("news", "page"), "overtaken", name)
        elif not ask.first and ask.kind == "news":
            idle += await outbox.overtake(connection, ask.event.incident_id, ask.recipient.name)
        metrics.notifications.labels(entry.channel, "withheld").inc(len(idle))
        detail = "overtaken by a later message"
        return Placed(entry), [each.delivery("withheld", now_ms, detail=detail) for each in idle]

    async def _hold(
        self, connection: AsyncConnection, order: Order, now_ms: int
    ) -> bundling.Hold | None:
        ask = order.ask
        if order.unheard and ask.stage != "opened":
            # How it went on is told with its beginning, not before it.
            held = await holding.held_until_ms(
                connection, ask.event.incident_id, ask.recipient.name
            )
            if held is not None:
                reason: bundling.Reason = "limit" if held[1] == "limit" else "quiet_hours"
                return bundling.Hold(held[0], reason)
        limit = bundling.limit_of(ask.recipient, self._limit)
        load = await self._ledger.load(connection, ask.recipient.name, limit, now_ms)
        severity = ask.event.incident.severity
        return bundling.hold(
            ask.kind, severity, ask.recipient, limit=limit, load=load, now_ms=now_ms
        )

    async def _will_digest(
        self, connection: AsyncConnection, recipient: Recipient, until_ms: int
    ) -> None:
        name = recipient.name
        if self._ledger.is_planned(connection, name, until_ms):
            return
        known = await timers.get(connection, DIGEST, name)
        if known is None or known.due_ms is None or until_ms < known.due_ms:
            await timers.put(connection, Timer(DIGEST, name, "", until_ms, b""))
            step = announcing.digest_planned(name, recipient.channel, until_ms, self._now_ms())
            await add_deliveries(connection, [step])

    def _entry(self, order: Order, now_ms: int) -> Entry:
        ask = order.ask
        event, recipient = ask.event, ask.recipient
        incident = event.incident
        said = None if order.withheld is not None else self._pen.write(ask)
        is_told = said is not None and recipient.audience != "customer"
        is_news = ask.first and ask.stage == "opened"
        way, *further = ways_of(ask)
        return Entry(
            content=Message(
                id=outbox.message_id(event.id, recipient.name, way.channel, ask.key),
                event_id=event.id,
                incident_id=incident.id,
                stage=ask.stage,
                kind=ask.kind,
                severity=incident.severity,
                recipient=recipient.name,
                audience=recipient.audience,
                address=way.address,
                ways=tuple(further),
                language=recipient.language,
                drill=ask.drill or incident.drill,
                subject=said.subject if said else "",
                text=said.text if said else "",
                links=self._linker.links(ask) if said else (),
                unsubscribe=self._linker.unsubscribe(ask),
                time_ms=event.time_ms,
                details=msgspec.Raw(msgspec.json.encode(incident)) if is_told else NO_DETAILS,
            ),
            channel=way.channel,
            rule=ask.rule,
            asked_ms=now_ms,
            recorded_ms=order.recorded_ms,
            detection_delay_ms=(
                max(0, event.time_ms - incident.first_anomaly_ms) if is_news else None
            ),
        )

    def _bare(
        self, recipient: Recipient, about: str, said: Words, now_ms: int, *, rule: str
    ) -> Entry:
        """A message about no incident in particular."""
        return Entry(
            content=Message(
                id=outbox.message_id(about, recipient.name, recipient.channel),
                event_id=about,
                incident_id="",
                stage="updated",
                severity="P4",
                recipient=recipient.name,
                audience=recipient.audience,
                address=recipient.address,
                ways=recipient.fall_back,
                language=recipient.language,
                subject=said.subject,
                text=said.text,
                time_ms=now_ms,
            ),
            channel=recipient.channel,
            rule=rule,
            asked_ms=now_ms,
            recorded_ms=now_ms,
            detection_delay_ms=None,
        )


def ways_of(ask: Ask) -> tuple[Way, ...]:
    """The ways by which a message goes, one after the other if one fails."""
    recipient = ask.recipient
    if ask.kind == "page" and recipient.page_by:
        return recipient.page_by
    return (Way(channel=recipient.channel, address=recipient.address), *recipient.fall_back)


def about_silence(event: SilenceEvent) -> str:
    """What messages of the event are about; it begins alike for all of a silence."""
    return f"silence/{event.id}"


def _step(placed: Placed, now_ms: int) -> Delivery:
    entry = placed.entry
    if placed.state == "waiting":
        return entry.delivery("asked", now_ms)
    if placed.state == "withheld":
        return entry.delivery("withheld", now_ms, detail=placed.detail)
    step = entry.delivery("held", now_ms, detail=placed.detail)
    return msgspec.structs.replace(step, due_ms=placed.hold_until_ms)
