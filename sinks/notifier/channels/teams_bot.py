"""Messages to Microsoft Teams by a bot: one thread an incident, in a channel or one of its own.

The first message of a thread is a card of how the incident stands, edited in place as it goes on;
what is new goes below it. Graph lets no application post into channels, save by migration, and
workflows neither edit nor thread: the Bot Connector does both.

See https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference
and, for the pace, https://learn.microsoft.com/microsoftteams/platform/bots/how-to/rate-limit.
"""

from typing import Any
from urllib.parse import quote

import structlog

from schemas.configuration import TeamsBot as Settings
from sinks.notifier.channels.channel import Message, Receipt, Refused, Retry
from sinks.notifier.channels.rooms import OWN_CHANNEL
from sinks.notifier.channels.standing import standing
from sinks.notifier.channels.teams_cards import Person, attachment, fitting
from sinks.notifier.channels.teams_rooms import TeamsRooms
from sinks.notifier.channels.teams_service import Service
from sinks.notifier.channels.thread import Thread

MAX_SUMMARY = 200

log = structlog.get_logger("tocsin.notifier")


class TeamsBot:
    """Posts, replies and edits, at most a message a second.

    The Bot Connector bears 60 requests in 30 seconds for a thread, and a message with the card
    above it is two. It knows no message ids of ours: a crash between sending and noting it can
    show a message twice.

    Parameters
    ----------
    rooms
        Makes the channels of incidents' own.
    """

    messages = 1.0
    per_seconds = 1.0
    concurrency = 1

    def __init__(
        self, settings: Settings, graph: Service, connector: Service, rooms: TeamsRooms
    ) -> None:
        self._settings = settings
        self._graph = graph
        self._connector = connector
        self._rooms = rooms

    async def send(self, message: Message) -> Receipt:
        """Posts the message, in the thread if there still is one.

        Raises Retry for limits, trouble and credentials, Refused for what Teams will never take.
        """
        thread = Thread.read(message.thread)
        if thread is None:
            return await self._begin(message)
        activity = self._activity(message, message.text)
        answer = await self._connector.ask("POST", _activities(thread), activity)
        if answer.status == 404:  # the thread is gone, or its channel
            self._rooms.forget(thread.channel)
            return await self._begin(message)
        self._connector.judge(answer)
        return Receipt(thread=message.thread, accepted=str(answer.json().get("id", "")) or None)

    async def bring_up_to_date(self, message: Message, receipt: Receipt) -> None:
        """Edits the card above the message and the channel's description, and invites who belongs
        there by now. What does not work is left: the next message brings all up to date."""
        thread = Thread.read(message.thread)
        if thread is None or receipt.thread != message.thread:
            return  # it began a thread
        card = self._activity(message, standing(message) or message.text)
        try:
            path = f"{_activities(thread)}/{quote(thread.root, safe='')}"
            await self._connector.do("PUT", path, card)
            if thread.is_own:
                await self._rooms.describe(thread.channel, message)
                await self._rooms.invite(thread.channel, message)
        except (Retry, Refused) as error:
            log.warning("card not edited", incident_id=message.incident_id, error=error.detail)

    async def say(self, conversation: str, reply_to: str, text: str) -> None:
        """Answers what somebody said. Raises Retry, Refused."""
        said = {"type": "message", "textFormat": "plain", "text": text, "replyToId": reply_to}
        path = f"/v3/conversations/{quote(conversation, safe='')}/activities"
        await self._connector.do("POST", f"{path}/{quote(reply_to, safe='')}", said)

    async def close(self) -> None:
        """Closes the connections."""
        await self._graph.close()
        await self._connector.close()

    async def _begin(self, message: Message) -> Receipt:
        is_own = message.address == OWN_CHANNEL
        channel, invited = message.address, tuple[Person, ...]()
        if is_own:
            channel, invited = await self._rooms.open(message)
        posted = await self._connector.ask(
            "POST",
            "/v3/conversations",
            self._activity(message, message.text, mentioned=invited, begins=channel),
        )
        if posted.status == 404 and is_own:
            self._rooms.forget(channel)
            raise Retry("unreachable", "the incident's Teams channel is gone; it is made anew")
        self._connector.judge(posted)
        root = str(posted.json().get("activityId", ""))
        if not root:
            raise Retry("unreachable", "Teams did not say what it calls the message")
        return Receipt(thread=str(Thread(channel, root, is_own)), accepted=root)

    def _activity(
        self,
        message: Message,
        text: str,
        *,
        mentioned: tuple[Person, ...] = (),
        begins: str | None = None,
    ) -> bytes:
        """The message as an activity; with what begins a thread in the channel `begins`."""

        def around(card: dict[str, Any]) -> dict[str, Any]:
            activity = {
                "type": "message",
                "summary": message.subject[:MAX_SUMMARY],
                "attachments": [attachment(card)],
            }
            if begins is None:
                return activity
            return {
                "isGroup": True,
                "bot": {"id": f"28:{self._settings.app_id}"},
                "tenantId": self._settings.tenant,
                "channelData": {"channel": {"id": begins}},
                "activity": activity,
            }

        return fitting(message, text, around, buttons=True, mentioned=mentioned)


def _activities(thread: Thread) -> str:
    conversation = f"{thread.channel};messageid={thread.root}"
    return f"/v3/conversations/{quote(conversation, safe='')}/activities"


def conversation_of(activity: dict[str, Any]) -> tuple[str, str | None]:
    """The channel and the thread's root in which an activity was."""
    conversation = activity.get("conversation")
    id = str(conversation.get("id", "")) if isinstance(conversation, dict) else ""
    channel, _, root = id.partition(";messageid=")
    return channel, root or None
