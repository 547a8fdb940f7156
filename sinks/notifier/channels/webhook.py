"""Messages as signed HTTP requests, after the Standard Webhooks rules.

The body is JSON:

    {"type": "incident.opened", "timestamp": "2026-11-24T14:02:25.000Z",
     "data": {"message_id", "event_id", "incident_id", "severity", "recipient", "audience",
              "kind", "language", "drill", "subject", "text", "links": [{"label", "url"}],
              "incident": {…} or null}}

`incident` is the incident as on tocsin's incident topic, null for customers. The headers
`webhook-id` and `Idempotency-Key` hold the message's id, the same at every attempt.
"""

from collections.abc import Callable

import msgspec

from schemas.incidents import Severity
from schemas.times import iso
from sinks.notifier.channels.channel import Link, Message, Receipt
from sinks.notifier.channels.http import Http
from sinks.outgoing import Outgoing
from sinks.signing import Signed


class WebhookData(msgspec.Struct, frozen=True):
    """What the webhook says of one message."""

    message_id: str
    event_id: str
    incident_id: str
    severity: Severity
    recipient: str
    audience: str
    kind: str
    language: str
    drill: bool
    subject: str
    text: str
    links: tuple[Link, ...]
    incident: msgspec.Raw


class WebhookBody(msgspec.Struct, frozen=True):
    """The webhook's JSON; `timestamp` is the incident event's time, RFC 3339."""

    type: str
    timestamp: str
    data: WebhookData


class Webhook:
    """Posts to one URL, signed if there is a secret. Redirects are not followed."""

    messages = 10.0
    per_seconds = 1.0
    concurrency = 4

    def __init__(
        self,
        url: str,
        secret: str | None,
        now_ms: Callable[[], int],
        timeout_seconds: float = 10,
        outgoing: Outgoing | None = None,
    ) -> None:
        self._url = url
        self._signed = Signed(secret, now_ms)
        self._http = Http("the webhook", now_ms, timeout_seconds, outgoing)

    async def send(self, message: Message) -> Receipt:
        """Posts the message. 2xx is taken, 401, 403, 408, 429 and 5xx may be later."""
        body = webhook_body(message)
        await self._http.post(self._url, body, self._signed.headers(message.id, body))
        return Receipt()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()


def webhook_body(message: Message) -> bytes:
    """The JSON that is signed and sent; byte-equal at every attempt."""
    return msgspec.json.encode(
        WebhookBody(
            type=f"incident.{message.stage}",
            timestamp=iso(message.time_ms),
            data=WebhookData(
                message_id=message.id,
                event_id=message.event_id,
                incident_id=message.incident_id,
                severity=message.severity,
                recipient=message.recipient,
                audience=message.audience,
                kind=message.kind,
                language=message.language,
                drill=message.drill,
                subject=message.subject,
                text=message.text,
                links=message.links,
                incident=message.details,
            ),
        )
    )
