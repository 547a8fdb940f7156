"""Teams channels of incidents' own, by Graph: made once, with the right people, description kept.

In a standard channel everybody of the team is; who is invited joins the team and is mentioned, so
that Teams shows them the channel. A private channel takes members one by one.

See https://learn.microsoft.com/graph/api/channel-post and
https://learn.microsoft.com/microsoftteams/limits-specifications-teams.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import structlog

from schemas.configuration import TeamsBot
from sinks.notifier.channels.channel import Message, Refused
from sinks.notifier.channels.http import Answer
from sinks.notifier.channels.rooms import people
from sinks.notifier.channels.teams_cards import Person
from sinks.notifier.channels.teams_service import Service, code_in
from sinks.notifier.clean import clean

MAX_NAME = 50
MAX_DESCRIPTION = 1024
NAMES = 3
"""Names that are tried: that of a channel that was deleted stays taken for 30 days."""

_FORBIDDEN = re.compile(r"[~#%&*{}+/\\:<>?|'\",\s]+|\.{2,}|[^\x20-\x7e]+")

log = structlog.get_logger("tocsin.notifier")


class Room(NamedTuple):
    """A channel's id, and who was invited to it just now."""

    channel: str
    invited: tuple[Person, ...]


class TeamsRooms:
    """Opens the channel of an incident; the same one at every attempt, since its name follows
    from the incident."""

    def __init__(self, graph: Service, settings: TeamsBot, owners: Mapping[str, str]) -> None:
        self._graph = graph
        self._team = f"/teams/{settings.team}"
        self._users = f"{settings.graph_url.rstrip('/')}/users"
        self._settings = settings.incident_channels
        self._owners = owners
        self._known: dict[str, str] = {}
        self._people: dict[str, Person | None] = {}
        self._invited: dict[str, set[str]] = {}

    async def open(self, message: Message) -> Room:
        """The incident's channel. Raises Retry, and Refused if Teams will not make it: a team
        has room for 1,000, with those deleted in the last 30 days."""
        name = channel_name(self._settings.prefix, message.incident_id or "digests")
        invited = await self._wanted(message)
        if name not in self._known:
            self._known[name] = await self._made(name, message, invited)
        channel = self._known[name]
        await self._invite_all(channel, invited)
        return Room(channel, invited)

    async def invite(self, channel: str, message: Message) -> None:
        """Invites who belongs there by now and was not yet. Raises Retry."""
        await self._invite_all(channel, await self._wanted(message))

    def forget(self, channel: str) -> None:
        """Looks for a channel anew that is gone."""
        self._known = {name: id for name, id in self._known.items() if id != channel}

    async def describe(self, channel: str, message: Message) -> None:
        """Keeps the channel's description, how it stands in one line. Raises Retry, Refused."""
        path = f"{self._team}/channels/{quote(channel, safe='')}"
        await self._graph.do("PATCH", path, {"description": description(message)})

    async def _wanted(self, message: Message) -> tuple[Person, ...]:
        """Who belongs there, of those that there are."""
        names = people(self._settings, self._owners, message)
        found = [await self._person(who) for who in names]
        return tuple(person for person in found if person is not None)

    async def _made(self, name: str, message: Message, invited: tuple[Person, ...]) -> str:
        for number in range(1, NAMES + 1):
            tried = name if number == 1 else f"{name[: MAX_NAME - 2]}-{number}"
            answer = await self._create(tried, message, invited)
            if answer.taken:
                return str(answer.json()["id"])
            if not _is_taken(answer):
                self._graph.judge(answer)
            found = await self._found(tried)
            if found is not None:
                return found
        raise Refused(f"the Teams channel {name} was deleted, and its name is still taken")

    async def _create(self, name: str, message: Message, invited: tuple[Person, ...]) -> Answer:
        asked: dict[str, Any] = {
            "displayName": name,
            "description": description(message),
            "membershipType": "private" if self._settings.private else "standard",
        }
        if self._settings.private:
            if not invited:
                raise Refused("a private Teams channel needs an owner: invite somebody to it")
            asked["members"] = [self._member(invited[0], "owner")]
        return await self._graph.ask("POST", f"{self._team}/channels", asked)

    async def _found(self, name: str) -> str | None:
        query = quote(f"displayName eq '{name}'")
        path = f"{self._team}/channels?$filter={query}&$select=id,displayName"
        page = await self._graph.do("GET", path)
        found = [c for c in page.get("value", []) if c["displayName"].lower() == name.lower()]
        return str(found[0]["id"]) if found else None

    async def _person(self, who: str) -> Person | None:
        """Somebody of the directory; None, with a line in the log, if there is nobody."""
        if who not in self._people:
            path = f"/users/{quote(who, safe='@')}?$select=id,displayName"
            answer = await self._graph.ask("GET", path)
            if answer.status == 404:
                log.warning("not invited", person=who, error=code_in(answer) or 404)
                self._people[who] = None
                return None
            self._graph.judge(answer)
            said = answer.json()
            self._people[who] = Person(str(said["id"]), clean(str(said["displayName"])))
        return self._people[who]

    async def _invite_all(self, channel: str, wanted: tuple[Person, ...]) -> None:
        """Each by themselves, so that one who cannot come keeps nobody else out."""
        invited = self._invited.setdefault(channel, set())
        for person in wanted:
            if person.id not in invited:
                await self._invite(channel, person)
                invited.add(person.id)

    async def _invite(self, channel: str, person: Person) -> None:
        """Raises Retry for what passes by itself: who is there already is no trouble then."""
        places = [f"{self._team}/members"]
        if self._settings.private:  # its members are of the team first
            places.append(f"{self._team}/channels/{quote(channel, safe='')}/members")
        for place in places:
            answer = await self._graph.ask("POST", place, self._member(person))
            if answer.status == 412 or answer.status >= 500:  # limits are raised already
                self._graph.judge(answer)
            if not answer.taken and not _is_taken(answer):
                log.warning("not invited", person=person.name, error=code_in(answer))

    def _member(self, person: Person, *roles: str) -> dict[str, Any]:
        return {
            "@odata.type": "#microsoft.graph.aadUserConversationMember",
            "roles": list(roles),
            "user@odata.bind": f"{self._users}('{person.id}')",
        }


def channel_name(prefix: str, incident_id: str) -> str:
    """A name that Teams takes: at most 50 characters, none of those that it forbids, no dot or
    underscore at an end."""
    name = _FORBIDDEN.sub("-", f"{prefix}{incident_id.lower()}").lstrip("_. ")
    return name[:MAX_NAME].rstrip("._ ") or "incident"


def description(message: Message) -> str:
    """How it stands in one line."""
    text = message.subject
    return text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 1] + "…"


def _is_taken(answer: Answer) -> bool:
    """Whether Graph refused since there is such a channel or member already."""
    said = answer.body.decode("utf-8", "replace").lower()
    return answer.status in (400, 409) and "already" in said
