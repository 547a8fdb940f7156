"""What a recipient has had lately, what is held back from them, and what is taken back."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.oncall import MessageLimit
from sinks.notifier.bundling import Load
from sinks.notifier.messages import Held, Kind
from sinks.notifier.outbox import UNSENT, Entry, entry_of
from sinks.notifier.tables import message

DIGEST_MESSAGES = 5_000
"""Messages that one digest stands for; what is held back beyond them comes in the next."""
DIGEST_ITEMS = 20
"""Messages that a digest lists; of more it says how many."""


async def load_of(
    connection: AsyncConnection, recipient: str, limit: MessageLimit, now_ms: int
) -> Load:
    """What the recipient has had within the span of the limit, and what is on its way."""
    if limit.messages == 0:
        return Load(0, None)
    since_ms = now_ms - round(limit.per_seconds * 1000)
    mine = message.c.recipient == recipient
    waiting = sa.select(sa.func.count()).where(mine, message.c.state.in_(UNSENT))
    sent = sa.select(sa.func.count(), sa.func.min(message.c.sent_ms)).where(
        mine, message.c.state == "sent", message.c.sent_ms > since_ms
    )
    count, oldest_ms = (await connection.execute(sent)).one()
    return Load(int(count) + int(await connection.scalar(waiting) or 0), oldest_ms)


class Ledger:
    """What recipients have had, looked up once in a transaction and counted on from there: in it
    nobody else writes, and a storm asks thousands of times."""

    def __init__(self) -> None:
        self._connection: AsyncConnection | None = None
        self._loads: dict[str, Load] = {}
        self._digests: dict[str, int] = {}

    async def load(
        self, connection: AsyncConnection, recipient: str, limit: MessageLimit, now_ms: int
    ) -> Load:
        """As `load_of`, with what was counted in this transaction."""
        self._turn_to(connection)
        known = self._loads.get(recipient)
        if known is None:
            known = self._loads[recipient] = await load_of(connection, recipient, limit, now_ms)
        return known

    def count(self, connection: AsyncConnection, recipient: str) -> None:
        """The recipient gets one more message."""
        self._turn_to(connection)
        known = self._loads.get(recipient)
        if known is not None:
            self._loads[recipient] = known._replace(messages=known.messages + 1)

    def is_planned(self, connection: AsyncConnection, recipient: str, until_ms: int) -> bool:
        """Whether this transaction has already planned a digest for then or earlier; notes that
        it will be."""
        self._turn_to(connection)
        known = self._digests.get(recipient)
        if known is not None and known <= until_ms:
            return True
        self._digests[recipient] = until_ms
        return False

    def _turn_to(self, connection: AsyncConnection) -> None:
        if connection is not self._connection:
            self._connection = connection
            self._loads.clear()
            self._digests.clear()


async def held_for(
    connection: AsyncConnection, recipient: str, now_ms: int
) -> Sequence[tuple[Entry, str, int]]:
    """What is held back and may come in a digest now: with the reason and its place in order."""
    query = (
        sa.select(message)
        .where(
            message.c.recipient == recipient,
            message.c.state == "held",
            sa.or_(message.c.hold_until_ms <= now_ms, message.c.hold_reason == "limit"),
        )
        .order_by(message.c.seq)
        .limit(DIGEST_MESSAGES)
    )
    rows = await connection.execute(query)
    return [(entry_of(row), row.hold_reason, row.seq) for row in rows]


async def next_hold_ms(connection: AsyncConnection, recipient: str) -> int | None:
    """When the next of what is held back from a recipient may go out, None if nothing is."""
    query = sa.select(sa.func.min(message.c.hold_until_ms)).where(
        message.c.recipient == recipient, message.c.state == "held"
    )
    found = await connection.scalar(query)
    return None if found is None else int(found)


async def held_until_ms(
    connection: AsyncConnection, incident_id: str, recipient: str
) -> tuple[int, str] | None:
    """Until when, and why, something of an incident is held back from a recipient."""
    query = (
        sa.select(message.c.hold_until_ms, message.c.hold_reason)
        .where(
            message.c.incident_id == incident_id,
            message.c.recipient == recipient,
            message.c.state == "held",
        )
        .order_by(message.c.hold_until_ms)
        .limit(1)
    )
    row = (await connection.execute(query)).first()
    return None if row is None else (int(row.hold_until_ms), str(row.hold_reason))


async def take_into(connection: AsyncConnection, digest_id: str, seqs: Sequence[int]) -> None:
    """Puts what was held back into a digest."""
    for start in range(0, len(seqs), 500):
        some = message.update().where(message.c.seq.in_(seqs[start : start + 500]))
        await connection.execute(some.values(state="digested", digest_id=digest_id))


async def cancel(
    connection: AsyncConnection,
    incident_id: str,
    kinds: Collection[Kind],
    detail: str,
    recipient: str | None = None,
) -> list[Entry]:
    """Takes back what is not sent yet; what is being sent is not tried again if that fails.

    Returns all of it: what is being sent may still arrive, and then says so itself.
    """
    where = [message.c.incident_id == incident_id, message.c.kind.in_(kinds)]
    if recipient is not None:
        where.append(message.c.recipient == recipient)
    states = ("waiting", "held", "sending")
    unsent = sa.select(message).where(*where, message.c.state.in_(states))
    entries = [entry_of(row) for row in await connection.execute(unsent)]
    if entries:
        change = message.update().where(*where, message.c.state.in_(("waiting", "held")))
        await connection.execute(change.values(state="withheld", detail=detail))
        under_way = message.update().where(*where, message.c.state == "sending")
        await connection.execute(under_way.values(cancelled=detail))
    return entries


async def was_taken_back(connection: AsyncConnection, entry: Entry) -> bool:
    """Whether a message was taken back while it was being sent; it is then withheld from now on."""
    change = message.update().where(
        message.c.message_id == entry.content.id, message.c.cancelled != ""
    )
    return (await connection.execute(change.values(state="withheld"))).rowcount > 0


async def give_up(connection: AsyncConnection, recipient: str, detail: str) -> list[Entry]:
    """Nothing of what is held back from a recipient will be sent; returns what that is."""
    where = (message.c.recipient == recipient, message.c.state == "held")
    entries = [entry_of(row) for row in await connection.execute(sa.select(message).where(*where))]
    await connection.execute(message.update().where(*where).values(state="failed", detail=detail))
    return entries


def listed(held: Sequence[tuple[Entry, str, int]]) -> tuple[tuple[Held, ...], int]:
    """The latest message of each incident, and each that is about none, most severe first: at most
    a page of them, and how many more there are."""
    latest = {
        entry.content.incident_id or entry.content.id: (entry, reason) for entry, reason, _ in held
    }
    items = [
        Held(
            message_id=entry.content.id,
            incident_id=entry.content.incident_id,
            stage=entry.content.stage,
            severity=entry.content.severity,
            subject=entry.content.subject,
            asked_ms=entry.asked_ms,
            reason=reason,
        )
        for entry, reason in latest.values()
    ]
    items.sort(key=lambda item: (item.severity, -item.asked_ms, item.incident_id))
    return tuple(items[:DIGEST_ITEMS]), max(0, len(items) - DIGEST_ITEMS)
