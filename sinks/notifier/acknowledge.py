"""The pages behind an acknowledgement link, in the language and time zone of who got it.

Opening the link only shows a page, since mail scanners open links too; the button on it acts.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import structlog
from jinja2 import Environment
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from schemas.configuration import Recipient
from schemas.incidents import Command, Incident
from sinks.database import Database
from sinks.html import content_security_policy, inline, templates
from sinks.notifier import outbox
from sinks.notifier.clean import clean
from sinks.notifier.facts import told_signals
from sinks.notifier.language import (
    DEFAULT,
    FOLDER,
    Language,
    accepted,
    language,
    phrases_in,
)
from sinks.notifier.links import LinkExpired, LinkInvalid, Ticket, Tickets
from sinks.notifier.store import add_deliveries, read_incident, read_taken
from sinks.notifier.telling import headline
from sinks.sink import Publish

MAX_NAME = 80
MAX_FORM_BYTES = 4096

_FOLDER = Path(__file__).parent / "templates" / "pages"
_STYLE = (_FOLDER / "style.css").read_text(encoding="utf-8")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": content_security_policy(style=inline(_STYLE), forms="'self'"),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}

_SAID = phrases_in(FOLDER / DEFAULT / "phrases.toml").pairs("acknowledge")
"""The names of all that these pages say."""

OnAcknowledged = Callable[[AsyncConnection, str, str], Awaitable[None]]
"""Told of an acknowledgement in its transaction: the incident's id and who has it."""

log = structlog.get_logger("tocsin.notifier")


class Acknowledgements:
    """Shows the page of a link and turns its button into a command.

    `recipients` says which language and zone each has; `folders` where phrases are looked for.
    """

    def __init__(
        self,
        database: Database,
        tickets: Callable[[], Tickets],
        *,
        recipients: Mapping[str, Recipient],
        folders: Sequence[Path] = (FOLDER,),
        publish: Publish,
        commands_topic: str,
        case_url: str,
        now_ms: Callable[[], int],
        on_delivery: Callable[[], None],
        on_acknowledged: OnAcknowledged,
    ) -> None:
        self._database = database
        self._tickets = tickets
        self._publish = publish
        self._commands_topic = commands_topic
        self._case_url = case_url.rstrip("/")
        self._now_ms = now_ms
        self._on_delivery = on_delivery
        self._on_acknowledged = on_acknowledged
        self._recipients = recipients
        self._folders = tuple(folders)
        self._environments: dict[Language, Environment] = {}

    def routes(self) -> list[BaseRoute]:
        """One address: GET shows, POST acts."""
        return [
            Route("/acknowledge/{token}", self._show, methods=["GET"]),
            Route("/acknowledge/{token}", self._act, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        ticket, incident, problem = await self._look(request)
        if problem is not None or ticket is None or incident is None:
            return problem or self._page("invalid", 404, self._accepted(request))
        said = self._language(ticket)
        return self._page("confirm", 200, said, incident=incident, recipient=ticket.recipient)

    async def _act(self, request: Request) -> Response:
        ticket, incident, problem = await self._look(request)
        if problem is not None or ticket is None or incident is None:
            return problem or self._page("invalid", 404, self._accepted(request))
        said = self._language(ticket)
        name = await _name_in(request) or ticket.recipient
        command = Command(
            id=command_id(ticket, incident, await self._given_back(incident.id)),
            type="acknowledge",
            incident_id=incident.id,
            actor=name,
            issued_ms=self._now_ms(),
        )
        try:
            await self._publish(self._commands_topic, incident.id, msgspec.json.encode(command))
        except Exception:  # whatever the broker's client raises, the person must know
            log.exception("acknowledgement not published", incident_id=incident.id)
            return self._page("unavailable", 503, said, incident=incident)
        await self._record(ticket, name)
        return self._page("done", 200, said, incident=incident, name=name)

    async def _look(
        self, request: Request
    ) -> tuple[Ticket | None, Incident | None, Response | None]:
        """The link's ticket and incident, or the page that says why there is nothing to do."""
        try:
            ticket = self._tickets().read(request.path_params["token"])
        except LinkExpired as expired:
            said, name = self._language(expired.ticket), expired.ticket.incident_id
            return None, None, self._page("expired", 410, said, incident_id=name)
        except LinkInvalid:
            return None, None, self._page("invalid", 404, self._accepted(request))
        said = self._language(ticket)
        async with self._database.reading() as connection:
            incident = await read_incident(connection, ticket.incident_id)
        if incident is None:
            return ticket, None, self._page("invalid", 404, said)
        if incident.state in ("resolved", "closed"):
            return ticket, incident, self._page("over", 200, said, incident=incident)
        if incident.acknowledged_by:
            return ticket, incident, self._page("taken", 200, said, incident=incident)
        return ticket, incident, None

    async def _given_back(self, incident_id: str) -> str:
        """The event by which nobody had the incident any more, the latest; empty if none."""
        async with self._database.reading() as connection:
            events = await read_taken(connection, incident_id)
        return next((e.event_id for e in reversed(events) if e.type == "unacknowledged"), "")

    async def _record(self, ticket: Ticket, name: str) -> None:
        async with self._database.writing() as connection:
            entries = await outbox.find(connection, ticket.event_id, ticket.recipient)
            told = [
                entry.delivery("acknowledged", self._now_ms(), detail=f"by {name}")
                for entry in entries
            ]
            await add_deliveries(connection, told)
            await self._on_acknowledged(connection, ticket.incident_id, name)
        self._on_delivery()

    def _language(self, ticket: Ticket) -> Language:
        """That of who got the link."""
        recipient = self._recipients.get(ticket.recipient)
        if recipient is None:
            return language(DEFAULT, "UTC")
        return language(recipient.language, recipient.time_zone, self._folders)

    def _accepted(self, request: Request) -> Language:
        """What the browser asks for, where the link does not say who got it."""
        return language(accepted(request.headers.get("accept-language", "")), "UTC")

    def _page(
        self,
        page: str,
        status: int,
        said: Language,
        *,
        incident: Incident | None = None,
        **values: object,
    ) -> Response:
        if incident is not None:
            values["incident"] = incident
            values["severity_word"] = said.phrase("severity", incident.severity)
            values["headline"] = (
                incident.title
                if said.name == DEFAULT
                else headline(incident, said, told_signals(incident))
            )
        html = (
            self._environment(said)
            .get_template(f"{page}.html.j2")
            .render(
                style=_STYLE,
                code=said.name,
                say={name: said.phrase("acknowledge", name) for name in _SAID},
                case_url=self._case_url,
                **values,
            )
        )
        return HTMLResponse(html, status, headers=_HEADERS)

    def _environment(self, said: Language) -> Environment:
        """The templates, with times and lists as the language and zone have them."""
        if said not in self._environments:
            made = self._environments[said] = templates(_FOLDER)
            made.filters.update(
                moment=said.moment,
                words=lambda names: said.words(tuple(clean(name) for name in names)),
                clean=clean,
            )
        return self._environments[said]


def command_id(ticket: Ticket, incident: Incident, given_back: str) -> str:
    """Follows from who acknowledges what, so that a second press is a repeat.

    After a reopening, or after the event `given_back` by which nobody had it any more, it is a
    new one.
    """
    made = f"acknowledge/{incident.id}/{incident.reopened}/{ticket.recipient}"
    return f"{made}/{given_back}" if given_back else made


async def _name_in(request: Request) -> str:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return ""
    fields = parse_qs(body.decode("utf-8", "replace"))
    return clean(fields.get("name", [""])[0])[:MAX_NAME]
