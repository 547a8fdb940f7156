"""Brings each recipient what was held back from them, as soon as there is room for it."""

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.configuration import Recipient
from schemas.oncall import MessageLimit
from sinks.notifier import bundling, holding, timers
from sinks.notifier.announcing import digest_planned
from sinks.notifier.desk import DIGEST, Desk
from sinks.notifier.people import People
from sinks.notifier.store import add_deliveries
from sinks.notifier.timers import Timer


class Digests:
    """The digests of all recipients. What it does is in the transaction that it is given."""

    def __init__(
        self, limit: MessageLimit, desk: Desk, people: People, now_ms: Callable[[], int]
    ) -> None:
        self._limit = limit
        self._desk = desk
        self._people = people
        self._now_ms = now_ms

    async def fire(self, connection: AsyncConnection, timer: Timer) -> None:
        """A digest's time has come; it waits on if there is no room for it yet."""
        name, now_ms = timer.subject, self._now_ms()
        recipient = self._people.recipients.get(name)
        if recipient is None:  # no longer configured: what they were to hear ends here, said so
            await self._desk.drop_held(connection, name, now_ms)
            await timers.drop(connection, DIGEST, name)
            return
        limit = bundling.limit_of(recipient, self._limit)
        load = await holding.load_of(connection, name, limit, now_ms)
        if not bundling.has_room_for_digest(limit, load):
            later_ms = max(now_ms + 1000, bundling.digest_ms(limit, load, now_ms))
            await self._put_off(connection, timer, recipient, later_ms)
            return
        await self._desk.digest(connection, recipient, now_ms)
        next_ms = await holding.next_hold_ms(connection, name)
        if next_ms is None:
            await timers.drop(connection, DIGEST, name)
        else:
            await self._put_off(connection, timer, recipient, max(next_ms, now_ms + 1000))

    async def _put_off(
        self, connection: AsyncConnection, timer: Timer, recipient: Recipient, due_ms: int
    ) -> None:
        await timers.put(connection, timer._replace(due_ms=due_ms))
        step = digest_planned(recipient.name, recipient.channel, due_ms, self._now_ms())
        await add_deliveries(connection, [step])
