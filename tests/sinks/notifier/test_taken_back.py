"""A message that is taken back while it is being sent goes no other way if that fails."""

from pathlib import Path

import msgspec

from schemas.oncall import Way
from sinks.database import Database
from sinks.notifier import dispatch, holding, outbox
from sinks.notifier.channels import Message, Receipt, Refused
from sinks.notifier.sender import Sender
from sinks.notifier.store import read_trail
from sinks.notifier.tables import SCHEMA
from tests.sinks.notifier.test_webhook import message

NOW_MS = 1_764_000_000_000


class TakenBack:
    """A channel on which somebody acknowledges while it is sending, and which then fails."""

    messages, per_seconds, concurrency = 10.0, 1.0, 1

    def __init__(self, database: Database) -> None:
        self._database = database

    async def send(self, message: Message) -> Receipt:
        async with self._database.writing() as connection:
            await holding.cancel(connection, message.incident_id, (message.kind,), "acknowledged")
        raise Refused("no such number")

    async def close(self) -> None:
        """Nothing to close."""


async def test_a_page_that_was_acknowledged_meanwhile_is_withheld_and_not_asked_for_again(
    tmp_path: Path,
) -> None:
    database = Database(SCHEMA, f"sqlite:///{tmp_path}/notifier.sqlite3")
    await database.migrate()
    first = TakenBack(database)
    ways = (Way(channel="webhook:second"),)
    page = msgspec.structs.replace(message(), kind="page", ways=ways)
    entry = outbox.Entry(
        content=page,
        channel="webhook:first",
        rule="pages",
        asked_ms=NOW_MS,
        recorded_ms=NOW_MS,
        detection_delay_ms=None,
    )
    sender = Sender(
        database,
        {"webhook:first": first},
        now_ms=lambda: NOW_MS,
        give_up_after_ms=60_000,
        on_delivery=lambda: None,
    )
    async with database.writing() as connection:
        await outbox.add(connection, [outbox.Placed(entry)])
    ((claimed,), _) = await sender.take_due("webhook:first", 1)
    await sender.attempt("webhook:first", first, claimed)
    async with database.reading() as connection:
        trail = await read_trail(connection, page.incident_id)
        left = await dispatch.backlog(connection, "webhook:second")
    await database.close()
    assert [each.status for each in trail] == ["failed"]
    assert left == (0, None)
