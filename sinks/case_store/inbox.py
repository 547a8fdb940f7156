"""What comes in of no single case: reports, changes made, what was missed, others' alerts.

`POST /api/v1/reports`, `/api/v1/changes`, `/api/v1/missed` and `/api/v1/alerts`, the last as
Prometheus' Alertmanager sends its webhook (version 4). Each needs the token that changes things.
"""

import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.configuration import Service
from schemas.incidents import Command, CommandType
from schemas.naming import service_for
from schemas.reading import UNREADABLE
from sinks.case_store.answers import PROBLEMS, body, json_of, problem
from sinks.case_store.commands import CommandRefusedError, Desk, heard

SERVICE_LABELS = ("service", "service_name", "app", "job")
TEXT_ANNOTATIONS = ("summary", "description", "message")

Refusal = Callable[[Request], Response | None]


class Reported(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trouble that somebody sees. Without a `service` it is looked for in the text."""

    actor: str
    text: str
    service: str | None = None
    id: str | None = None


class Changed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A deploy, or a change of configuration or infrastructure, made at `at_ms` or now."""

    actor: str
    text: str
    services: tuple[str, ...]
    at_ms: int | None = None
    id: str | None = None


class Missed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trouble of a service from `from_ms` to `to_ms`, of which there was no incident."""

    actor: str
    service: str
    from_ms: int
    to_ms: int
    text: str = ""
    id: str | None = None


class Alert(msgspec.Struct, frozen=True, rename="camel"):
    """One alert as Alertmanager has it; what is not needed here is left out."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: str = ""
    fingerprint: str = ""


class Alerts(msgspec.Struct, frozen=True):
    """Alertmanager's webhook, version 4."""

    alerts: list[Alert]


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of what was posted.

    `repeated` ones were taken before, under the same id; alerts that have ended are `ignored`.
    `refused` says of each alert that is about no known service why nothing can come of it.
    """

    ids: tuple[str, ...]
    repeated: int = 0
    ignored: int = 0
    refused: tuple[str, ...] = ()


T = TypeVar("T", Reported, Changed, Missed, Alerts)


class Inbox:
    """Routes under `/api/v1`; `refusal` says whether the sender may change things.

    What is about none of the catalogue's `services` is refused at once, as the incident stage
    would refuse it later and out of the sender's sight.
    """

    def __init__(
        self,
        desk: Desk,
        refusal: Refusal,
        services: Sequence[Service],
        now_ms: Callable[[], int],
    ) -> None:
        self._desk = desk
        self._refusal = refusal
        self._services = services
        self._now_ms = now_ms

    def routes(self) -> list[BaseRoute]:
        """The routes, for the host to serve."""
        return [
            Route("/api/v1/reports", self._reports, methods=["POST"]),
            Route("/api/v1/changes", self._changes, methods=["POST"]),
            Route("/api/v1/missed", self._missed, methods=["POST"]),
            Route("/api/v1/alerts", self._alerts, methods=["POST"]),
        ]

    async def _reports(self, request: Request) -> Response:
        return await self._take(request, Reported, self._reported)

    async def _changes(self, request: Request) -> Response:
        return await self._take(request, Changed, self._changed)

    async def _missed(self, request: Request) -> Response:
        return await self._take(request, Missed, self._was_missed)

    async def _alerts(self, request: Request) -> Response:
        return await self._take(request, Alerts, self._alerted, self._refused)

    async def _take(
        self,
        request: Request,
        kind: type[T],
        made: Callable[[T, str], list[Command]],
        refused: Callable[[T], tuple[str, ...]] = lambda _: (),
    ) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        key = request.headers.get("idempotency-key") or str(uuid.uuid4())
        try:
            asked = msgspec.json.decode(await body(request), type=kind)
            left_out = refused(asked)
            commands = made(asked, key)
            if left_out and not commands:
                raise CommandRefusedError("; ".join(left_out))
            fresh = [await self._desk.submit(command, "api") for command in commands]
        except UNREADABLE as error:
            return problem(400, "Not what was expected", f"{error}")
        except tuple(PROBLEMS) as error:
            status, title = PROBLEMS[type(error)]
            return problem(status, title, str(error))
        alerts = len(asked.alerts) if isinstance(asked, Alerts) else len(commands)
        taken = Taken(
            ids=tuple(command.id for command in commands),
            repeated=fresh.count(False),
            ignored=alerts - len(commands) - len(left_out),
            refused=left_out,
        )
        return json_of(taken, status=202)

    def _reported(self, asked: Reported, key: str) -> list[Command]:
        made = self._command("report", asked.id or key, asked.actor, asked.text, asked.service)
        if (why := self._why_about_none(asked.service, asked.text)) is not None:
            raise CommandRefusedError(why)
        return [made]

    def _why_about_none(self, service: str | None, text: str) -> str | None:
        """Why the incident stage would find no service that it is about; None if it would."""
        try:
            service_for(service, text, self._services)
        except ValueError as error:
            return str(error)
        return None

    def _changed(self, asked: Changed, key: str) -> list[Command]:
        made = self._command("change", asked.id or key, asked.actor, asked.text)
        if not asked.services:
            raise CommandRefusedError("services must name at least one service")
        at_ms = asked.at_ms if asked.at_ms is not None else self._now_ms()
        return [msgspec.structs.replace(made, services=asked.services, from_ms=at_ms)]

    def _was_missed(self, asked: Missed, key: str) -> list[Command]:
        if not asked.from_ms <= asked.to_ms <= self._now_ms():
            raise CommandRefusedError("from_ms must be before to_ms, and both in the past")
        text = asked.text or "trouble without an incident"
        made = self._command("missed", asked.id or key, asked.actor, text, asked.service)
        return [msgspec.structs.replace(made, from_ms=asked.from_ms, to_ms=asked.to_ms)]

    def _alerted(self, asked: Alerts, key: str) -> list[Command]:
        """The alerts that fire, each under an id of its own; those that have ended say nothing."""
        del key
        return [
            self._command(
                "report",
                f"alert-{alert.fingerprint or alert.labels.get('alertname', '')}-{alert.starts_at}",
                "alertmanager",
                _text_of(alert),
                self._service_of(alert),
            )
            for alert in asked.alerts
            if alert.status == "firing" and self._why_not(alert) is None
        ]

    def _refused(self, asked: Alerts) -> tuple[str, ...]:
        """Of each alert that fires and is about no known service why it is not taken."""
        return tuple(
            f"{alert.labels.get('alertname', 'an alert')}: {why}; the labels looked at are "
            f"{', '.join(SERVICE_LABELS)}"
            for alert in asked.alerts
            if alert.status == "firing" and (why := self._why_not(alert)) is not None
        )

    def _why_not(self, alert: Alert) -> str | None:
        return self._why_about_none(self._service_of(alert), _text_of(alert))

    def _service_of(self, alert: Alert) -> str | None:
        """The first label that names a service of the catalogue; None where the text does; else
        the first label that names any."""
        named = [alert.labels[name] for name in SERVICE_LABELS if alert.labels.get(name)]
        known = [name for name in named if self._why_about_none(name, "") is None]
        if known or not named:
            return known[0] if known else None
        return None if self._why_about_none(None, _text_of(alert)) is None else named[0]

    def _command(
        self, kind: CommandType, id: str, actor: str, text: str, service: str | None = None
    ) -> Command:
        return heard(kind, id=id, actor=actor, text=text, service=service, issued_ms=self._now_ms())


def _text_of(alert: Alert) -> str:
    name = alert.labels.get("alertname", "an alert")
    said = _first(alert.annotations, TEXT_ANNOTATIONS)
    return f"{name}: {said}" if said else name


def _first(values: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((values[name] for name in names if values.get(name)), None)
