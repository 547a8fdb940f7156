"""Takes commands from chat: publishes them, and stops pages at once where somebody has it."""

from collections.abc import Awaitable, Callable

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.incidents import Command
from sinks.database import Database
from sinks.notifier import outbox
from sinks.notifier.chat.parse import NotUnderstoodError, parse
from sinks.notifier.store import add_deliveries, read_incident
from sinks.notifier.tables import message, thread
from sinks.sink import Publish

log = structlog.get_logger("tocsin.notifier")

OnAcknowledged = Callable[[AsyncConnection, str, str], Awaitable[None]]


class ChatDesk:
    """What all doors of chat have in common."""

    def __init__(
        self,
        database: Database,
        *,
        publish: Publish,
        commands_topic: str,
        now_ms: Callable[[], int],
        on_acknowledged: OnAcknowledged,
    ) -> None:
        self._database = database
        self._publish = publish
        self._commands_topic = commands_topic
        self.now_ms = now_ms
        self._on_acknowledged = on_acknowledged

    async def obey(self, text: str, *, id: str, actor: str, incident_id: str | None = None) -> str:
        """Does what a line says; the answer for whoever typed it."""
        try:
            command = parse(
                text, id=id, actor=actor, issued_ms=self.now_ms(), incident_id=incident_id
            )
        except NotUnderstoodError as error:
            return str(error)
        return await self.take(command)

    async def take(self, command: Command) -> str:
        """Publishes a command; the answer for whoever gave it. Its id begins with the channel."""
        async with self._database.reading() as connection:
            known = await read_incident(connection, command.incident_id)
        if known is None:
            return f"There is no incident {command.incident_id} here."
        if command.type == "acknowledge" and known.acknowledged_by:
            return f"{known.acknowledged_by} has {known.id} already."
        try:
            await self._publish(
                self._commands_topic, command.incident_id, msgspec.json.encode(command)
            )
        except Exception:  # whatever the broker's client raises, the person must know
            log.exception("command from chat not published", incident_id=command.incident_id)
            return "That did not work: the commands topic cannot be reached. Try again shortly."
        if command.type == "acknowledge":
            async with self._database.writing() as connection:
                await self._on_acknowledged(connection, command.incident_id, command.actor)
                await self._record(connection, command)
        return f"{command.type.replace('_', ' ')}: {known.id}, by {command.actor}."

    async def _record(self, connection: AsyncConnection, command: Command) -> None:
        """Notes that the last message about the incident in chat was acknowledged."""
        query = (
            sa.select(message)
            .where(
                message.c.incident_id == command.incident_id,
                message.c.state == "sent",
                message.c.channel == command.id.partition("/")[0],
            )
            .order_by(message.c.seq.desc())
            .limit(1)
        )
        detail = f"by {command.actor}"
        steps = [
            outbox.entry_of(row).delivery("acknowledged", self.now_ms(), detail=detail)
            for row in await connection.execute(query)
        ]
        await add_deliveries(connection, steps)

    async def incident_in(self, chat: str, channel: str, root: str | None) -> str | None:
        """The incident whose own channel this is, or whose thread; `chat` is slack or teams."""
        starts = thread.c.token.startswith(f"{channel}:", autoescape=True)
        tokens = [sa.and_(starts, thread.c.token.endswith(":own"))]
        if root:
            tokens.append(thread.c.token == f"{channel}:{root}")
        query = sa.select(thread.c.incident_id).where(thread.c.channel == chat, sa.or_(*tokens))
        async with self._database.reading() as connection:
            found = await connection.scalar(query.limit(1))
        return None if found is None else str(found)
