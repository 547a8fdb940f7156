"""Incidents in PagerDuty, by its Events API v2: one alert an incident, by `dedup_key`.

See https://developer.pagerduty.com/docs/events-api-v2/trigger-events/.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from schemas.incidents import Severity
from schemas.times import iso
from sinks.notifier.channels.alerts import Standing, rings_anew, standing_after
from sinks.notifier.channels.channel import Message, Receipt
from sinks.notifier.channels.http import Http
from sinks.notifier.messages import Stage
from sinks.outgoing import Outgoing

MAX_SUMMARY = 1024
MAX_TEXT = 8000

Action = Literal["trigger", "acknowledge", "resolve"]

_SEVERITIES: dict[Severity, str] = {
    "P1": "critical",
    "P2": "error",
    "P3": "warning",
    "P4": "info",
}
_DONE: dict[Action, Standing] = {"acknowledge": "acknowledged", "resolve": "over"}
_ENDS: frozenset[Stage] = frozenset(("resolved", "final"))


class Payload(msgspec.Struct, frozen=True):
    """What PagerDuty shows of an alert."""

    summary: str
    source: str
    severity: str
    timestamp: str
    custom_details: dict[str, str]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event for `/v2/enqueue`."""

    routing_key: str
    event_action: Action
    dedup_key: str
    client: str = "tocsin"
    payload: Payload | None = None
    links: tuple[dict[str, str], ...] = ()


class PagerDuty:
    """Triggers, acknowledges and resolves. A repeat is recognised there by its `dedup_key`.

    A message after the end (follow-up, final) resolves again, which changes nothing: it must not
    open the alert anew. One that was acknowledged is resolved before it is triggered again, since
    PagerDuty only logs a trigger of it.
    """

    messages = 2.0
    per_seconds = 1.0
    concurrency = 2

    def __init__(
        self,
        routing_key: str,
        base_url: str,
        now_ms: Callable[[], int],
        timeout_seconds: float = 10,
        outgoing: Outgoing | None = None,
    ) -> None:
        self._routing_key = routing_key
        self._url = f"{base_url.rstrip('/')}/v2/enqueue"
        self._http = Http("PagerDuty", now_ms, timeout_seconds, outgoing)

    async def send(self, message: Message) -> Receipt:
        """Sends the event. 202 is taken, 429 and 5xx may be later, 400 never."""
        if rings_anew(message):
            await self._enqueue(Event(self._routing_key, "resolve", dedup_key(message)))
        event = event_of(message, self._routing_key)
        answer = await self._enqueue(event)
        standing = standing_after(message, _DONE.get(event.event_action))
        return Receipt(thread=standing, accepted=_key_in(answer) or dedup_key(message))

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()

    async def _enqueue(self, event: Event) -> bytes:
        return await self._http.post(self._url, msgspec.json.encode(event), {})


def event_of(message: Message, routing_key: str) -> Event:
    """The event that a message is."""
    action = action_of(message)
    if action != "trigger":
        return Event(routing_key, action, dedup_key(message))
    payload = Payload(
        summary=message.subject[:MAX_SUMMARY],
        source=message.incident_id or message.event_id,
        severity=_SEVERITIES[message.severity],
        timestamp=iso(message.time_ms),
        custom_details={"text": message.text[:MAX_TEXT], "message_id": message.id},
    )
    links = tuple({"href": link.url, "text": link.label} for link in message.links)
    return Event(routing_key, action, dedup_key(message), payload=payload, links=links)


def action_of(message: Message) -> Action:
    """What the alert becomes by the message."""
    if message.kind == "page":
        return "trigger"
    if message.stage in _ENDS or (message.stage == "follow_up" and _is_over(message)):
        return "resolve"
    return "acknowledge" if message.stage == "acknowledged" else "trigger"


def _is_over(message: Message) -> bool:
    state = msgspec.json.decode(message.details or b"null")
    return isinstance(state, dict) and state.get("state") in ("resolved", "closed")


def dedup_key(message: Message) -> str:
    """The same for all messages about an incident; a digest or a hand-over is one of its own."""
    return message.incident_id or message.id


def _key_in(answer: bytes) -> str | None:
    try:
        return str(msgspec.json.decode(answer)["dedup_key"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
