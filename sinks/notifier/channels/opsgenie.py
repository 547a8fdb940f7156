"""Incidents in Opsgenie, by its Alert API: one alert an incident, by `alias`.

See https://docs.opsgenie.com/docs/alert-api.
"""

from collections.abc import Callable
from urllib.parse import quote

import msgspec

from sinks.notifier.channels.alerts import Standing, rings_anew, standing_after
from sinks.notifier.channels.channel import Message, Receipt
from sinks.notifier.channels.http import Http, judge
from sinks.notifier.messages import Stage
from sinks.outgoing import Outgoing

MAX_MESSAGE = 130
MAX_DESCRIPTION = 15_000
MAX_NOTE = 25_000

_DONE: dict[str, Standing] = {"acknowledge": "acknowledged", "close": "over"}
_ENDS: frozenset[Stage] = frozenset(("resolved", "final"))
_OPENS: frozenset[Stage] = frozenset(("opened", "reopened", "severity_changed"))


class Opsgenie:
    """Creates, acknowledges, notes and closes. Opsgenie recognises a repeat by the alias.

    Of an alert that was acknowledged it only counts a repeat; that the acknowledgement is taken
    back begins its notifications anew.
    """

    messages = 5.0
    per_seconds = 1.0
    concurrency = 2

    def __init__(
        self,
        api_key: str,
        base_url: str,
        now_ms: Callable[[], int],
        timeout_seconds: float = 10,
        outgoing: Outgoing | None = None,
    ) -> None:
        self._base = f"{base_url.rstrip('/')}/v2/alerts"
        self._headers = {"Authorization": f"GenieKey {api_key}"}
        self._http = Http("Opsgenie", now_ms, timeout_seconds, outgoing)

    async def send(self, message: Message) -> Receipt:
        """Sends the request. 2xx is taken, 401, 403, 429 and 5xx may be later, 422 never.

        An alert that is not there, since the page that makes it was taken back, needs no more.
        """
        path, body = request_of(message)
        if rings_anew(message) and not path:
            await self._ask(*_given_back(message))
        answer = await self._ask(path, body)
        if answer is None:
            return Receipt(detail="Opsgenie has no such alert")
        action = path.partition("?")[0].rpartition("/")[2]
        standing = standing_after(message, _DONE.get(action))
        return Receipt(thread=standing, accepted=_request_in(answer))

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()

    async def _ask(self, path: str, body: bytes) -> bytes | None:
        """What Opsgenie answers; None if there is no such alert. Raises Retry, Refused."""
        answer = await self._http.ask("POST", f"{self._base}{path}", body, self._headers)
        if path and answer.status == 404:
            return None
        judge(answer.status, answer.after_seconds, self._http.who)
        return answer.body


def request_of(message: Message) -> tuple[str, bytes]:
    """Path and body of what a message asks of Opsgenie."""
    at, note = _at(message), _note(message)
    if message.kind != "page":
        if message.stage in _ENDS:
            return f"{at}/close?identifierType=alias", _json(note=note, source="tocsin")
        if message.stage == "acknowledged":
            return f"{at}/acknowledge?identifierType=alias", _json(note=note, source="tocsin")
        if message.kind == "news" and message.stage == "unacknowledged":
            return _given_back(message)
        if message.stage not in _OPENS and message.kind == "news":
            return f"{at}/notes?identifierType=alias", _json(note=note, source="tocsin")
    links = "\n".join(f"{link.label}: {link.url}" for link in message.links)
    return "", _json(
        message=message.subject[:MAX_MESSAGE],
        alias=_alias(message),
        description=f"{message.text}\n\n{links}".strip()[:MAX_DESCRIPTION],
        priority=message.severity,
        source="tocsin",
        details={"incident": message.incident_id, "message_id": message.id},
    )


def _given_back(message: Message) -> tuple[str, bytes]:
    path = f"{_at(message)}/unacknowledge?identifierType=alias"
    return path, _json(note=_note(message), source="tocsin")


def _alias(message: Message) -> str:
    return message.incident_id or message.id


def _at(message: Message) -> str:
    return f"/{quote(_alias(message), safe='')}"


def _note(message: Message) -> str:
    return f"{message.subject}\n\n{message.text}"[:MAX_NOTE]


def _json(**values: object) -> bytes:
    return msgspec.json.encode(values)


def _request_in(answer: bytes) -> str | None:
    try:
        return str(msgspec.json.decode(answer)["requestId"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
