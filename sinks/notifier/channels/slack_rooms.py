"""Slack channels of incidents' own: made once, with the right people in them."""

import re
from collections.abc import Mapping

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from schemas.configuration import IncidentChannels
from sinks.notifier.channels.channel import Message, Retry
from sinks.notifier.channels.rooms import people
from sinks.notifier.channels.slack_errors import error_code, passes

MAX_NAME = 80
PAGE = 500

log = structlog.get_logger("tocsin.notifier")


class Rooms:
    """Opens the channel of an incident; the same one at every attempt, since its name follows
    from the incident.

    Parameters
    ----------
    owners
        The owner of each service, for those who are invited by owner.
    """

    def __init__(
        self, client: AsyncWebClient, settings: IncidentChannels, owners: Mapping[str, str]
    ) -> None:
        self._client = client
        self._settings = settings
        self._owners = owners
        self._known: dict[str, str] = {}
        self._invited: dict[str, set[str]] = {}

    async def open(self, message: Message) -> str:
        """The id of the incident's channel. Raises SlackApiError, and Retry if the name is taken
        by a channel that cannot be found."""
        name = channel_name(self._settings.prefix, message.incident_id or "digests")
        if name not in self._known:
            self._known[name] = await self._made(name)
        channel = self._known[name]
        await self.invite(channel, message)
        return channel

    async def invite(self, channel: str, message: Message) -> None:
        """Invites who belongs there by now and was not yet, each by themselves, so that one who
        left the company keeps nobody else out. Raises SlackApiError for what passes by itself: at
        the next attempt the others are there already."""
        invited = self._invited.setdefault(channel, set())
        for person in people(self._settings, self._owners, message):
            if person not in invited:
                await self._invite(channel, person)
                invited.add(person)

    async def _made(self, name: str) -> str:
        try:
            response = await self._client.conversations_create(
                name=name, is_private=self._settings.private
            )
        except SlackApiError as error:
            if error.response.get("error") != "name_taken":
                raise
            return await self._found(name)
        return str(response["channel"]["id"])

    async def _found(self, name: str) -> str:
        kind = "private_channel" if self._settings.private else "public_channel"
        channel = await find_channel(self._client, name, kind)
        if channel is None:
            raise Retry("unreachable", f"the Slack channel {name} is taken and not to be seen")
        if not self._settings.private:
            await self._client.conversations_join(channel=channel)
        return channel

    async def _invite(self, channel: str, person: str) -> None:
        try:
            user = person
            if "@" in person:
                found = await self._client.users_lookupByEmail(email=person)
                user = str(found["user"]["id"])
            await self._client.conversations_invite(channel=channel, users=user)
        except SlackApiError as error:
            if passes(error):
                raise
            code = error_code(error.response)
            if code not in ("already_in_channel", "cant_invite_self"):
                log.warning("not invited", person=person, error=code)


async def find_channel(client: AsyncWebClient, name: str, kinds: str) -> str | None:
    """The id of a channel by its name, None if we see none. Raises SlackApiError."""
    cursor = ""
    while True:
        page = await client.conversations_list(
            types=kinds, limit=PAGE, cursor=cursor, exclude_archived=True
        )
        for channel in page["channels"]:
            if channel["name"] == name:
                return str(channel["id"])
        cursor = (page.get("response_metadata") or {}).get("next_cursor", "")
        if not cursor:
            return None


def channel_name(prefix: str, incident_id: str) -> str:
    """A name that Slack takes: small letters, digits, hyphens, at most 80."""
    return f"{prefix}{re.sub(r'[^a-z0-9_-]+', '-', incident_id.lower())}"[:MAX_NAME]
