"""Messages as signed HTTP requests, after the Standard Webhooks rules.

The body is JSON:

    {"type": "incident.opened", "timestamp": "2026-11-24T14:02:25.000Z",
     "data": {"message_id", "event_id", "incident_id", "severity", "recipient", "audience",
              "subject", "text", "links": [{"label", "url"}], "incident": {…} or null}}

`incident` is the incident as on tocsin's incident topic, null for customers. The headers
`webhook-id` and `Idempotency-Key` hold the message's id, the same at every attempt.
"""

from collections.abc import Callable

import aiohttp
import msgspec
from standardwebhooks import Webhook as Signer

from schemas.incidents import FailureClass, Severity
from schemas.times import iso, utc
from sinks.notifier.channels.channel import (
    Link,
    Message,
    Receipt,
    Refused,
    Retry,
    retry_after_seconds,
)

_TRANSIENT = frozenset((408, 421, 423, 425))


class WebhookData(msgspec.Struct, frozen=True):
    """What the webhook says of one message."""

    message_id: str
    event_id: str
    incident_id: str
    severity: Severity
    recipient: str
    audience: str
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
    """Posts to one URL.

    `secret` signs: base64, with or without `whsec_`; several parted by spaces sign all, so that
    a secret can be changed without a gap. Redirects are not followed.
    """

    messages = 10.0
    per_seconds = 1.0
    concurrency = 4

    def __init__(
        self, url: str, secret: str | None, now_ms: Callable[[], int], timeout_seconds: float = 10
    ) -> None:
        self._url = url
        self._signers = [Signer(part) for part in (secret or "").split()]
        self._now_ms = now_ms
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, message: Message) -> Receipt:
        """Posts the message. 2xx is taken, 401, 403, 408, 429 and 5xx may be later."""
        body = webhook_body(message)
        try:
            async with self._open_session().post(
                self._url, data=body, headers=self._headers(message.id, body), allow_redirects=False
            ) as response:
                after = response.headers.get("Retry-After")
                judge(response.status, retry_after_seconds(after, self._now_ms()))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Retry("unreachable", f"{type(error).__name__} from the webhook") from error
        return Receipt()

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        now = utc(self._now_ms())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "tocsin",
            "Idempotency-Key": message_id,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if self._signers:
            headers["webhook-signature"] = " ".join(
                signer.sign(message_id, now, body.decode()) for signer in self._signers
            )
        return headers


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
                subject=message.subject,
                text=message.text,
                links=message.links,
                incident=message.details,
            ),
        )
    )


def judge(status: int, after: float | None) -> None:
    """Raises Retry or Refused by the HTTP status; returns where the message was taken."""
    if 200 <= status < 300:
        return
    detail = f"HTTP {status} from the webhook"
    failure: FailureClass = "unreachable"
    if status in (401, 403):
        failure = "auth"
    elif status == 429:
        failure = "rate_limited"
    elif status < 500 and status not in _TRANSIENT:
        raise Refused(detail)
    raise Retry(failure, detail, after)
