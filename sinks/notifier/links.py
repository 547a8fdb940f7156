"""Where a message leads: to acknowledge, to the case, to the status page, to the runbook."""

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

from itsdangerous import (
    BadSignature,
    SignatureExpired,
    TimestampSigner,
    URLSafeSerializer,
    URLSafeTimedSerializer,
)

from schemas.configuration import Configuration
from schemas.incidents import IncidentEvent
from sinks.notifier.channels.channel import Link
from sinks.notifier.language import language
from sinks.notifier.messages import Ask


class Ticket(NamedTuple):
    """What an acknowledgement link says: who was told what of which incident."""

    incident_id: str
    recipient: str
    event_id: str


class LinkExpired(Exception):  # noqa: N818 - an outcome with a name
    """The link was ours and is too old; `ticket` is what it said."""

    def __init__(self, ticket: Ticket) -> None:
        super().__init__("the link is too old")
        self.ticket = ticket


class LinkInvalid(Exception):  # noqa: N818
    """The link is not one that we made, or it was cut or changed on its way."""


class Tickets:
    """Signs and reads acknowledgement links.

    `key` may hold several keys parted by spaces: all are accepted and the last one signs, so that
    a key can be changed while links are about. `now_ms` is the wall clock.
    """

    def __init__(self, key: str, max_age_seconds: float, now_ms: Callable[[], int]) -> None:
        class Signer(TimestampSigner):
            def get_timestamp(self) -> int:
                return now_ms() // 1000

        self._serializer = URLSafeTimedSerializer(
            key.split(), salt="tocsin.acknowledge.v1", signer=Signer
        )
        self._subscriptions = URLSafeSerializer(key.split(), salt="tocsin.subscription.v1")
        self._max_age_seconds = max_age_seconds

    def sign_off(self, recipient: str) -> str:
        """The token of a link to stop messages; it is for good, as mail is read late."""
        return str(self._subscriptions.dumps(recipient))

    def read_off(self, token: str) -> str:
        """Whose messages a token is to stop. Raises LinkInvalid."""
        try:
            said = self._subscriptions.loads(token)
        except BadSignature as error:
            raise LinkInvalid(str(error)) from error
        if not isinstance(said, str):
            raise LinkInvalid("the link holds something else")
        return said

    def sign(self, ticket: Ticket) -> str:
        """The token that goes into the link."""
        return str(self._serializer.dumps(list(ticket)))

    def read(self, token: str) -> Ticket:
        """What the token says. Raises LinkExpired or LinkInvalid."""
        try:
            said = self._serializer.loads(token, max_age=int(self._max_age_seconds))
        except SignatureExpired as error:
            said = self._serializer.load_payload(error.payload or b"")
            raise LinkExpired(_ticket(said)) from error
        except BadSignature as error:
            raise LinkInvalid(str(error)) from error
        return _ticket(said)


def _ticket(said: object) -> Ticket:
    if isinstance(said, list) and len(said) == 3 and all(isinstance(part, str) for part in said):
        return Ticket(*said)
    raise LinkInvalid("the link holds something else")


class Linker:
    """Makes a message's links, as its audience may have them."""

    def __init__(self, configuration: Configuration, tickets: Tickets) -> None:
        self._configuration = configuration
        self._tickets = tickets
        self._runbooks = {
            service.name: service.runbook
            for service in configuration.catalogue.services
            if service.runbook and service.runbook.startswith(("https://", "http://"))
        }
        self._shown = {
            service
            for component in configuration.status_page.components
            for service in component.services
        }

    def links(self, ask: Ask) -> tuple[Link, ...]:
        """Engineers: acknowledge, case, runbook; managers: case; support: case and status page;
        customers: status page."""
        event, audience = ask.event, ask.recipient.audience
        phrase = language(ask.recipient.language, "UTC").phrase
        made: list[Link] = []
        if audience == "engineer":
            made += self._acknowledge(event, ask.recipient.name, phrase("links", "acknowledge"))
        if audience != "customer":
            case = self._configuration.case_store.public_url.rstrip("/")
            made.append(
                Link(phrase("links", "case"), f"{case}/incidents/{quote(event.incident_id)}")
            )
        if audience == "engineer" and ask.stage != "resolved":
            made += self._runbook(event, phrase("links", "runbook"))
        if audience in ("support", "customer"):
            made.append(Link(phrase("links", "status_page"), self._status_page(event)))
        return tuple(made)

    def unsubscribe(self, ask: Ask) -> str:
        """Where the reader can stop messages; empty for engineers, whose pages must reach them."""
        if ask.recipient.audience == "engineer" or ask.kind != "news":
            return ""
        base = self._configuration.notifier.public_url.rstrip("/")
        return f"{base}/unsubscribe/{self._tickets.sign_off(ask.recipient.name)}"

    def _acknowledge(self, event: IncidentEvent, recipient: str, label: str) -> list[Link]:
        is_over = event.incident.state in ("resolved", "closed")
        if is_over or event.incident.acknowledged_by:
            return []
        token = self._tickets.sign(Ticket(event.incident_id, recipient, event.id))
        base = self._configuration.notifier.public_url.rstrip("/")
        return [Link(label, f"{base}/acknowledge/{token}")]

    def _runbook(self, event: IncidentEvent, label: str) -> list[Link]:
        order = (*event.incident.suspected_causes, *event.incident.services)
        found = next((service for service in order if service in self._runbooks), None)
        return [] if found is None else [Link(label.format(service=found), self._runbooks[found])]

    def _status_page(self, event: IncidentEvent) -> str:
        base = self._configuration.status_page.public_url.rstrip("/")
        is_shown = event.incident.visibility == "public" and not self._shown.isdisjoint(
            event.incident.services
        )
        return f"{base}/incidents/{quote(event.incident_id)}" if is_shown else f"{base}/"
