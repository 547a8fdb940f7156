"""Messages to Slack by bot token: one thread an incident, or a channel of the incident's own.

The first message of a thread is a card of how the incident stands, edited in place as it goes on;
what is new goes below it. Text goes as rich text, Slack's structured form, in which nothing is
markup: what telemetry holds can neither mention a channel nor make a link.
"""

from collections.abc import Callable
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from sinks.notifier.channels.channel import Message, Receipt, Retry
from sinks.notifier.channels.rooms import OWN_CHANNEL
from sinks.notifier.channels.slack_blocks import blocks, card, fallback, topic
from sinks.notifier.channels.slack_errors import error_code, outcome
from sinks.notifier.channels.slack_history import posted_before
from sinks.notifier.channels.slack_rooms import Rooms
from sinks.notifier.channels.thread import Thread
from sinks.outgoing import Outgoing

log = structlog.get_logger("tocsin.notifier")


class Slack:
    """Posts with `chat.postMessage`, at most one message a second.

    The metadata hold the message's id, the same at every attempt: what may have arrived before is
    looked for by it, and not posted again.

    Parameters
    ----------
    rooms
        Makes the channels of incidents' own; None where nobody writes to one.
    buttons
        Whether engineers get buttons, which Slack sends back to us.
    outgoing
        Where requests may go.
    """

    messages = 1.0
    per_seconds = 1.0
    concurrency = 1

    def __init__(
        self,
        client: AsyncWebClient,
        now_ms: Callable[[], int],
        *,
        rooms: Rooms | None = None,
        buttons: bool = False,
        outgoing: Outgoing | None = None,
    ) -> None:
        self._client = client
        self._outgoing = outgoing or Outgoing()
        self._now_ms = now_ms
        self._rooms = rooms
        self._buttons = buttons

    async def send(self, message: Message) -> Receipt:
        """Posts the message, in the thread if there still is one.

        Raises Retry for limits, trouble and tokens, Refused for what Slack will never take.
        """
        self._open()
        try:
            return await self._send(message, Thread.read(message.thread))
        except SlackApiError as error:
            raise outcome(error, self._now_ms()) from error
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Retry("unreachable", f"{type(error).__name__} from Slack") from error

    async def bring_up_to_date(self, message: Message, receipt: Receipt) -> None:
        """Edits the card above the message and the topic, and invites who belongs there by now.
        What does not work is left: the next message brings all up to date."""
        thread = Thread.read(message.thread)
        if thread is None or not thread.channel or receipt.thread != message.thread:
            return  # it began a thread, or the thread is of a version that noted no channel
        self._open()
        try:
            await self._client.chat_update(
                channel=thread.channel,
                ts=thread.root,
                text=fallback(message),
                blocks=card(message, buttons=self._buttons),
            )
            if thread.is_own:
                await self._set_topic(thread.channel, message)
                if self._rooms is not None:
                    await self._rooms.invite(thread.channel, message)
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("card not edited", incident_id=message.incident_id, error=str(error)[:200])

    async def name_of(self, user: str) -> str:
        """What a Slack user id is called; the id itself if Slack does not say."""
        self._open()
        try:
            found = await self._client.users_info(user=user)
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError):
            return user
        known: dict[str, Any] = found.get("user") or {}
        return str(known.get("name") or user)

    async def close(self) -> None:
        """Closes the connections."""
        if self._client.session is not None:
            await self._client.session.close()

    def _open(self) -> None:
        """Lends the client a session that goes nowhere else."""
        if self._client.session is None:
            self._client.session = self._outgoing.session(self._client.timeout)

    async def _send(self, message: Message, thread: Thread | None) -> Receipt:
        if thread is None:
            return await self._begin(message)
        channel = thread.channel or message.address
        try:
            posted = await self._post_once(message, channel, reply_to(thread))
        except SlackApiError as error:
            if error_code(error.response) != "thread_not_found":
                raise
            return await self._begin(message)
        return Receipt(thread=message.thread, accepted=posted.root)

    async def _begin(self, message: Message) -> Receipt:
        is_own = message.address == OWN_CHANNEL and self._rooms is not None
        if self._rooms is not None and is_own:
            channel = await self._rooms.open(message)
            await self._set_topic(channel, message)
        else:
            channel = message.address
        posted = await self._post_once(message, channel, None)
        thread = Thread(posted.channel, posted.root, is_own)
        return Receipt(thread=str(thread), accepted=posted.root)

    async def _post_once(self, message: Message, channel: str, thread_ts: str | None) -> Thread:
        if message.may_have_arrived:
            before = await posted_before(self._client, message, channel, thread_ts)
            if before is not None:
                return before
        return await self._post(message, channel, thread_ts)

    async def _post(self, message: Message, channel: str, thread_ts: str | None) -> Thread:
        response = await self._client.chat_postMessage(
            channel=channel,
            text=fallback(message),
            blocks=blocks(message, buttons=self._buttons),
            thread_ts=thread_ts,
            unfurl_links=False,
            unfurl_media=False,
            client_msg_id=message.id,
            metadata={
                "event_type": "tocsin_message",
                "event_payload": {"message_id": message.id, "event_id": message.event_id},
            },
        )
        return Thread(str(response.get("channel", channel)), str(response["ts"]))

    async def _set_topic(self, channel: str, message: Message) -> None:
        try:
            await self._client.conversations_setTopic(channel=channel, topic=topic(message))
        except SlackClientError as error:
            log.warning("topic not set", incident_id=message.incident_id, error=str(error)[:200])


def reply_to(thread: Thread) -> str | None:
    """The `thread_ts` of what follows; in a channel of its own messages stand below each other."""
    return None if thread.is_own else thread.root


def slack_client(token: str, base_url: str, timeout_seconds: int = 10) -> AsyncWebClient:
    """Slack's own client, which tries nothing again by itself: the outbox does."""
    client = AsyncWebClient(
        token=token, base_url=base_url, timeout=timeout_seconds, retry_handlers=[]
    )
    client.proxy = None  # it would take the environment's, which nobody has looked at
    return client
