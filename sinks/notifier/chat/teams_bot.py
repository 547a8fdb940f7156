"""Teams' way to us by a bot: mentions, buttons on cards and what is said in an incident's thread.

Every request carries a token that the Bot Connector has signed, and is from the one tenant of the
configuration. Answers go to the service address of the configuration, never to one in a request.
"""

from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from schemas.configuration import TeamsBot as Settings
from schemas.incidents import Command
from sinks.notifier.channels.channel import Refused, Retry
from sinks.notifier.channels.standing import BUTTONS
from sinks.notifier.channels.teams_bot import TeamsBot, conversation_of
from sinks.notifier.chat.body import an_object, body_of, name_in, object_in
from sinks.notifier.chat.bot_tokens import BotTokens, KeysAwayError, NotSignedError
from sinks.notifier.chat.desk import ChatDesk
from sinks.notifier.chat.parse import MAX_TEXT
from sinks.notifier.chat.teams import line_in
from sinks.notifier.clean import Prose, clean

CHAT = "teams"
MAX_ACTIVITY = 262_144

log = structlog.get_logger("tocsin.notifier")


class TeamsBotDoor:
    """The messaging endpoint of a bot."""

    def __init__(
        self, settings: Settings, bot: TeamsBot, tokens: BotTokens, desk: ChatDesk
    ) -> None:
        self._settings = settings
        self._bot = bot
        self._tokens = tokens
        self._desk = desk

    def routes(self) -> list[BaseRoute]:
        """Under `/teams/`."""
        return [Route("/teams/messages", self._message, methods=["POST"])]

    async def _message(self, request: Request) -> Response:
        body = await body_of(request, MAX_ACTIVITY)
        if body is None:
            return PlainTextResponse("too long\n", 413)
        activity = object_in(body)
        try:
            await self._tokens.verify(request.headers.get("authorization", ""), activity)
        except NotSignedError as error:
            log.warning("a request that Teams has not signed", error=str(error))
            return PlainTextResponse("not signed by Teams\n", 401)
        except KeysAwayError as error:
            log.warning("a request from Teams cannot be verified", error=str(error))
            return PlainTextResponse("try again\n", 503, headers={"Retry-After": "5"})
        if tenant_of(activity) != self._settings.tenant:
            return PlainTextResponse("of another tenant\n", 403)
        if activity.get("type") == "invoke":
            return await self._pressed(activity)
        if activity.get("type") == "message":
            await self._said(activity)
        return PlainTextResponse("")

    async def _pressed(self, activity: dict[str, Any]) -> Response:
        """A button of a card; what comes of it is shown to whoever pressed it."""
        value = an_object(activity.get("value"))
        action = an_object(value.get("action"))
        verb, incident_id = str(action.get("verb")), an_object(action.get("data")).get("incident")
        if activity.get("name") != "adaptiveCard/action" or verb not in BUTTONS or not incident_id:
            return _shown(400, "There is no such button.")
        command = Command(
            id=f"{CHAT}/{activity.get('id', '')}",
            type=BUTTONS[verb],
            incident_id=str(incident_id),
            actor=_actor(activity),
            issued_ms=self._desk.now_ms(),
        )
        return _shown(200, await self._desk.take(command))

    async def _said(self, activity: dict[str, Any]) -> None:
        """A mention is a command; what else is said about an incident goes on its timeline."""
        channel, root = conversation_of(activity)
        incident_id = await self._desk.incident_in(CHAT, channel, root)
        id, line = str(activity.get("id", "")), line_in(str(activity.get("text", "")))
        if self._is_mentioned(activity):
            answer = await self._desk.obey(
                line, id=f"{CHAT}/{id}", actor=_actor(activity), incident_id=incident_id
            )
            await self._answer(channel, root or id, id, answer)
        elif incident_id is not None and (text := clean(Prose(line))[:MAX_TEXT]).strip():
            await self._desk.take(
                Command(
                    id=f"{CHAT}/{channel}/{id}",
                    type="note",
                    incident_id=incident_id,
                    actor=_actor(activity),
                    issued_ms=self._desk.now_ms(),
                    text=text,
                )
            )

    async def _answer(self, channel: str, root: str, reply_to: str, text: str) -> None:
        """What cannot be answered was done all the same."""
        try:
            await self._bot.say(f"{channel};messageid={root}", reply_to, text)
        except (Retry, Refused) as error:
            log.warning("a command was not answered in Teams", error=error.detail)

    def _is_mentioned(self, activity: dict[str, Any]) -> bool:
        entities = activity.get("entities")
        mentioned = [
            an_object(an_object(entity).get("mentioned")).get("id")
            for entity in (entities if isinstance(entities, list) else [])
            if an_object(entity).get("type") == "mention"
        ]
        return f"28:{self._settings.app_id}" in mentioned


def tenant_of(activity: dict[str, Any]) -> str:
    """The directory from which an activity comes."""
    data = an_object(an_object(activity.get("channelData")).get("tenant")).get("id")
    return str(data or an_object(activity.get("conversation")).get("tenantId") or "")


def _actor(activity: dict[str, Any]) -> str:
    return name_in(an_object(activity.get("from")).get("name"), "Teams")


def _shown(status: int, text: str) -> Response:
    """The answer to a button, in the form that Teams shows."""
    kind = "application/vnd.microsoft.activity.message"
    return JSONResponse({"statusCode": status, "type": kind, "value": text})
