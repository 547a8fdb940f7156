"""What people ask of an incident: checked, audited, then published to the commands topic."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal, get_args
from weakref import WeakValueDictionary

import msgspec
import structlog
from sqlalchemy import select

from schemas.incidents import Command, CommandType, Incident, Severity
from sinks.case_store import tables
from sinks.case_store.metrics import COMMANDS
from sinks.case_store.records import storable
from sinks.database import Database, insert
from sinks.sink import Publish

Way = Literal["page", "api", "topic"]
LONGEST_TEXT = 4000
NEEDS_TEXT = ("note", "public_message", "workaround", "conclude")
LONGEST_NAME = 200

log = structlog.get_logger()


class CommandRefusedError(Exception):
    """The command cannot be taken as it is; the message says what to change."""


class KeyReusedError(CommandRefusedError):
    """The same id was used before for something else."""


class CommandNotSentError(Exception):
    """Kafka did not take the command. It is audited; sending it again with its id is safe."""


def checked(
    *,
    id: str,
    type: str,
    incident_id: str,
    actor: str,
    issued_ms: int,
    text: str = "",
    severity: str | None = None,
) -> Command:
    """A command that the incident stage can act on.

    Raises `CommandRefusedError` with every mistake.
    """
    actor, text = storable(actor).strip(), storable(text).strip()
    mistakes = [*_name_mistakes("actor", actor), *_name_mistakes("id", id)]
    if type not in get_args(CommandType):
        mistakes.append(f"type must be one of {', '.join(get_args(CommandType))}")
    if actor == "tocsin":
        mistakes.append("actor must be a person; tocsin speaks for itself")
    if type in NEEDS_TEXT and not text:
        mistakes.append(f"text must not be empty for {type}")
    if len(text) > LONGEST_TEXT:
        mistakes.append(f"text must be at most {LONGEST_TEXT} characters, it has {len(text)}")
    if type == "set_severity" and severity not in get_args(Severity):
        mistakes.append(f"severity must be one of {', '.join(get_args(Severity))}")
    if mistakes:
        raise CommandRefusedError("; ".join(mistakes))
    fields: dict[str, Any] = {
        "id": id,
        "type": type,
        "incident_id": incident_id,
        "actor": actor,
        "issued_ms": issued_ms,
        "text": text,
        "severity": severity if type == "set_severity" else None,
    }
    return msgspec.convert(fields, Command)


def heard(
    type: CommandType, *, id: str, actor: str, text: str, issued_ms: int, service: str | None = None
) -> Command:
    """A command about no single incident: a report or a change.

    Raises `CommandRefusedError` with every mistake.
    """
    actor, text = storable(actor).strip(), storable(text).strip()[:LONGEST_TEXT]
    mistakes = [*_name_mistakes("actor", actor), *_name_mistakes("id", id)]
    if service is not None:
        mistakes += _name_mistakes("service", service)
    if not text:
        mistakes.append("text must not be empty: say what is wrong, or what was changed")
    if mistakes:
        raise CommandRefusedError("; ".join(mistakes))
    return Command(
        id=id,
        type=type,
        incident_id="",
        actor=actor,
        issued_ms=issued_ms,
        text=text,
        service=service,
    )


def refuse_closed(incident: Incident, type: str) -> None:
    """Raises `CommandRefusedError` if the incident takes no such command any more.

    That it was no incident may also be said later, when there is time to look back.
    """
    if incident.state == "closed" and type != "not_an_incident":
        raise CommandRefusedError(f"{incident.id} is closed; the log takes nothing more for it")


def _name_mistakes(field: str, value: str) -> list[str]:
    if not value:
        return [f"{field} must not be empty"]
    if len(value) > LONGEST_NAME or not value.isprintable():
        return [f"{field} must be at most {LONGEST_NAME} printable characters"]
    return []


class Desk:
    """Takes commands in: each id acts once, and the audit says who asked and what became of it."""

    def __init__(
        self, database: Database, publish: Publish, topic: str, now_ms: Callable[[], int]
    ) -> None:
        self._database = database
        self._publish = publish
        self._topic = topic
        self._now_ms = now_ms
        self._under_way: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def submit(self, command: Command, way: Way) -> bool:
        """Publishes the command; `False` if it had been published before under its id.

        Raises `KeyReusedError` or `CommandNotSentError`.
        """
        lock = self._under_way.setdefault(command.id, asyncio.Lock())
        async with lock:  # the two clicks of a double click come at once
            try:
                sent = await self._submit(command, way)
            except (CommandRefusedError, CommandNotSentError) as error:
                COMMANDS.labels(command.type, way, type(error).__name__).inc()
                raise
        COMMANDS.labels(command.type, way, "sent" if sent else "repeat").inc()
        return sent

    async def _submit(self, command: Command, way: Way) -> bool:
        if await self._asked(command, way):
            return False
        try:
            await self._publish(self._topic, command.incident_id, msgspec.json.encode(command))
        except Exception as error:
            log.exception("command not sent", command_id=command.id)
            await self._note(command, way, "failed", f"failed:{command.id}:{self._now_ms()}")
            raise CommandNotSentError(
                "Kafka did not take the command; it is safe to send it again"
            ) from error
        await self._note(command, way, "sent", f"sent:{command.id}")
        return True

    async def _asked(self, command: Command, way: Way) -> bool:
        """Audits that it was asked; whether it is already sent. Raises `KeyReusedError`."""
        table = tables.audit
        async with self._database.writing() as connection:
            found = await connection.execute(
                select(table.c.step, table.c.detail, table.c.incident_id).where(
                    table.c.command_id == command.id, table.c.step.in_(("asked", "sent"))
                )
            )
            before = found.all()
            if not before:
                row = self._row(command, way, "asked", f"asked:{command.id}")
                await connection.execute(table.insert(), row)
        if any(
            (row.incident_id, row.detail) != (command.incident_id, _detail(command))
            for row in before
        ):
            raise KeyReusedError("this id was used for another command; make a new one")
        return any(row.step == "sent" for row in before)

    async def _note(self, command: Command, way: Way, step: str, entry_id: str) -> None:
        async with self._database.writing() as connection:
            row = self._row(command, way, step, entry_id)
            statement = insert(connection, tables.audit).on_conflict_do_nothing()
            await connection.execute(statement, row)

    async def signed(self, actor: str, step: Literal["signed in", "signed out"], id: str) -> None:
        """Audits a sign-in or sign-out of the session `id`."""
        row = {
            "entry_id": f"{step}:{id}",
            "time_ms": self._now_ms(),
            "actor": actor,
            "way": "page",
            "step": step,
            "action": step,
            "detail": "{}",
        }
        async with self._database.writing() as connection:
            statement = insert(connection, tables.audit).on_conflict_do_nothing()
            await connection.execute(statement, row)

    def _row(self, command: Command, way: Way, step: str, entry_id: str) -> dict[str, Any]:
        return {
            "entry_id": entry_id,
            "time_ms": self._now_ms(),
            "actor": command.actor,
            "way": way,
            "step": step,
            "action": command.type,
            "incident_id": command.incident_id,
            "command_id": command.id,
            "detail": _detail(command),
        }


def _detail(command: Command) -> str:
    """What was asked, for the audit, and for telling a repeat from an id that was used anew."""
    told = {**msgspec.to_builtins(command), "action": command.type}
    for name in ("id", "type", "incident_id", "issued_ms"):
        del told[name]
    return msgspec.json.encode(told, order="sorted").decode()
