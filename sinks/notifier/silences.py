"""Tells whose silence it is that it ends soon or has ended.

What is then still out of order is told by itself, as its incidents are silenced no more. This is
for the one who answers for the silence, and never wakes anybody.
"""

import shlex
from collections.abc import Callable, Iterator

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.configuration import Configuration, Recipient
from schemas.incidents import Delivery
from schemas.oncall import Way
from schemas.silences import SilenceEvent
from sinks.notifier import outbox
from sinks.notifier.clean import clean
from sinks.notifier.desk import Desk, about_silence
from sinks.notifier.messages import SilenceNotice
from sinks.notifier.people import People
from sinks.notifier.stakeholders import any_of, named
from sinks.notifier.store import add_deliveries, unsubscribed

AUTHOR = "author of the silence"
"""The rule by which its author is told; others are, by a route of a service."""
WAKING = ("sms", "voice", "pagerduty", "opsgenie")
"""Channels that can wake somebody, by what comes before a colon."""
EXTENSION = "1h"
"""By how much more the message shows how to extend a silence."""


class SilenceNotices:
    """What it does is in the transaction that it is given."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        desk: Desk,
        people: People,
        now_ms: Callable[[], int],
    ) -> None:
        section = configuration.notifier
        self._routes = section.routes
        self._stale_after_ms = int(section.stale_after_seconds * 1000)
        self._desk = desk
        self._people = people
        self._now_ms = now_ms

    async def take(
        self, connection: AsyncConnection, event: SilenceEvent, recorded_ms: int
    ) -> None:
        """Tells of it, once. `recorded_ms` is when the event was written to Kafka."""
        if await outbox.is_known(connection, about_silence(event)):
            return
        recorded_ms = recorded_ms if recorded_ms > 0 else self._now_ms()
        muted = await unsubscribed(connection)
        told = list(self._addressees(event))
        for recipient, rule in told:
            withheld = self._reason(event, recipient, rule, recorded_ms)
            if recipient.name in muted:
                withheld = "unsubscribed"
            quiet = without_waking(recipient)
            if quiet is None:
                withheld = "every way to them could wake them"
            notice = _notice(event, quiet or recipient, rule)
            await self._desk.silence(connection, notice, recorded_ms, withheld)
        if not told:
            await add_deliveries(connection, [_nobody(event, self._now_ms())])

    def _addressees(self, event: SilenceEvent) -> Iterator[tuple[Recipient, str]]:
        """The author; where they are no recipient, or one who would be woken, the engineers of the
        services that it is about, each with the rule.

        Of a planned window that held nothing back nobody but its author wants to hear.
        """
        author = self._people.known(event.silence.author)
        if author is not None and author.audience != "customer":
            yield author, AUTHOR
            if without_waking(author) is not None:
                return
        if event.incidents or not event.planned:
            seen = {author.name} if author else set[str]()
            for service in event.services:
                for recipient, rule in self._team(service):
                    if recipient.name not in seen:
                        seen.add(recipient.name)
                        yield recipient, rule

    def _team(self, service: str) -> list[tuple[Recipient, str]]:
        """The engineers of the first route that brings news of the service to some whom that need
        not wake."""
        now_ms, recipients = self._now_ms(), self._people.recipients
        for route in self._routes:
            if "opened" not in route.events or not any_of((service,), route.services):
                continue
            people = named(route, recipients, lambda name: self._people.on_call(name, now_ms))
            found = [recipients[name] for name in dict.fromkeys(people)]
            engineers = [each for each in found if each.audience == "engineer"]
            if quiet := [each for each in engineers if without_waking(each) is not None]:
                return [(each, route.name) for each in quiet]
        return []

    def _reason(
        self, event: SilenceEvent, recipient: Recipient, rule: str, recorded_ms: int
    ) -> str | None:
        """Why they are not told; None if they are."""
        now_ms = self._now_ms()
        if event.ended_by and rule == AUTHOR and self._people.known(event.ended_by) == recipient:
            return "they ended it themselves"
        if event.type == "ending" and now_ms >= event.silence.ends_ms:
            return "it has ended meanwhile"
        # What a person did is as old as its record, as in `intake`.
        said_ms = recorded_ms if event.ended_by else min(recorded_ms, event.time_ms)
        is_stale = now_ms - said_ms > self._stale_after_ms
        return "the event is too old to be news" if is_stale else None


def without_waking(recipient: Recipient) -> Recipient | None:
    """The recipient by those of their ways that wake nobody; None if they have none."""
    ways = (Way(channel=recipient.channel, address=recipient.address), *recipient.fall_back)
    quiet = [way for way in ways if way.channel.partition(":")[0] not in WAKING]
    if not quiet:
        return None
    return msgspec.structs.replace(
        recipient,
        channel=quiet[0].channel,
        address=quiet[0].address,
        fall_back=tuple(quiet[1:]),
    )


def extend_command(event: SilenceEvent) -> str:
    """What to type so that it goes on: a planned window has no other end, but matchers.

    Empty where a message would not hold all of it as it is: half of a command is none.
    """
    if event.planned:
        how = [part for text in event.silence.matchers for part in ("--match", text)]
    else:
        how = ["--extend", event.silence.id]
    command = shlex.join(["tocsin", "silence", *how, "--for", EXTENSION])
    return command if clean(command) == command else ""


def _notice(event: SilenceEvent, recipient: Recipient, rule: str) -> SilenceNotice:
    name = event.silence.id
    return SilenceNotice(
        recipient=recipient,
        rule=rule,
        event=event,
        is_author=rule == AUTHOR,
        name=name.partition("/")[0] if event.planned else name,
        extend=extend_command(event),
    )


def _nobody(event: SilenceEvent, now_ms: int) -> Delivery:
    """That nobody is told, and why."""
    about, author = about_silence(event), event.silence.author
    detail = f"no recipient is {author}, and no route brings engineers news of its services"
    if event.planned and not event.incidents:
        detail = f"no recipient is {author}, and it held nothing back"
    return Delivery(
        message_id=outbox.message_id(about, author, "silence"),
        event_id=about,
        incident_id="",
        status="withheld",
        time_ms=now_ms,
        recipient=author,
        audience="engineer",
        channel="silence",
        rule=AUTHOR,
        detail=detail,
    )
