"""The JSON API. Reading is open or needs a token, as the pages do; changing always needs one."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.configuration import Service
from schemas.incidents import Delivery, Incident
from schemas.outlook import Category
from schemas.reading import UNREADABLE
from sinks.case_store.access import Access
from sinks.case_store.answers import (
    PROBLEMS,
    NotACommandError,
    body,
    json_of,
    problem,
    refusal,
    token_needed,
)
from sinks.case_store.commands import Desk, checked, refuse_closed
from sinks.case_store.inbox import Inbox
from sinks.case_store.reader import AuditEntry, Case, File, Filter, Reader, TimelineEvent

Endpoint = Callable[[Request], Awaitable[Response]]


class CaseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A case in the list. `reason`, `solution` and `workaround` are people's words; times are Unix
    ms, event time but for `expected_resolution_ms`, which is as a person said it."""

    number: int
    url: str
    incident_id: str
    title: str
    severity: str
    state: str
    services: tuple[str, ...]
    opened_ms: int
    updated_ms: int
    resolved_ms: int | None
    acknowledged_by: str | None
    category: Category
    expected_resolution_ms: int | None
    workaround: str | None
    reason: str | None
    solution: str | None


class CaseList(msgspec.Struct, frozen=True, kw_only=True):
    """One page of cases; `next` is the address of the next one."""

    cases: tuple[CaseSummary, ...]
    total: int
    page: int
    pages: int
    next: str | None


class CaseFile(msgspec.Struct, frozen=True, kw_only=True):
    """A case whole: the incident as on its topic, who was told, and what people did."""

    number: int
    url: str
    incident: Incident
    deliveries: tuple[Delivery, ...]
    audit: tuple[AuditEntry, ...]


class CaseTimeline(msgspec.Struct, frozen=True, kw_only=True):
    """The log of a case and its deliveries, each in order."""

    number: int
    incident_id: str
    events: tuple[TimelineEvent, ...]
    deliveries: tuple[Delivery, ...]


class CommandRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is posted. `id` (or the header `Idempotency-Key`) makes a repeat harmless.

    The other fields are those of `Command`, and mean what they mean there.
    """

    type: str
    actor: str
    text: str = ""
    severity: str | None = None
    id: str | None = None
    category: Category | None = None
    expected_ms: int | None = None
    solution: str = ""
    into: str | None = None
    services: tuple[str, ...] = ()
    matchers: tuple[str, ...] = ()
    from_ms: int | None = None
    to_ms: int | None = None

    def further(self) -> dict[str, Any]:
        """The fields that only some types of command have."""
        of_every = ("type", "actor", "text", "severity", "id")
        names = (name for name in self.__struct_fields__ if name not in of_every)
        return {name: getattr(self, name) for name in names}


class CommandAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The command is in the log; what came of it shows in the timeline under `id`."""

    id: str
    incident_id: str
    number: int
    repeated: bool


class Api:
    """Routes under `/api/v1`."""

    def __init__(
        self,
        reader: Reader,
        desk: Desk,
        access: Access,
        *,
        public_url: str,
        services: Sequence[Service],
        now_ms: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._desk = desk
        self._access = access
        self._base = public_url.rstrip("/")
        self._now_ms = now_ms
        self._inbox = Inbox(desk, lambda request: refusal(access, request), services, now_ms)

    def routes(self) -> list[BaseRoute]:
        """The routes, for the host to serve."""
        return [
            Route("/api/v1/cases", self._for_readers(self._list)),
            Route("/api/v1/cases/{name:path}/timeline", self._for_readers(self._timeline)),
            Route("/api/v1/cases/{name:path}", self._for_readers(self._one)),
            Route("/api/v1/incidents/{incident_id:path}/commands", self._command, methods=["POST"]),
            *self._inbox.routes(),
        ]

    def _for_readers(self, endpoint: Endpoint) -> Endpoint:
        async def checked_first(request: Request) -> Response:
            if self._access.open or self._access.right_of_bearer(request) is not None:
                return await endpoint(request)
            return token_needed()

        return checked_first

    async def _list(self, request: Request) -> Response:
        listing = await self._reader.listing(wanted(request))
        return json_of(
            CaseList(
                cases=tuple(self._summary(case) for case in listing.cases),
                total=listing.total,
                page=listing.page,
                pages=listing.pages,
                next=self._next(request, listing.page, listing.pages),
            )
        )

    async def _one(self, request: Request) -> Response:
        file = await self._file(request)
        if file is None:
            return _no_case(request.path_params["name"])
        number = file.case.number
        return json_of(
            CaseFile(
                number=number,
                url=self._url(number),
                incident=file.case.incident,
                deliveries=file.deliveries,
                audit=file.audit,
            )
        )

    async def _timeline(self, request: Request) -> Response:
        file = await self._file(request)
        if file is None:
            return _no_case(request.path_params["name"])
        return json_of(
            CaseTimeline(
                number=file.case.number,
                incident_id=file.case.incident.id,
                events=file.events,
                deliveries=file.deliveries,
            )
        )

    async def _command(self, request: Request) -> Response:
        refused = refusal(self._access, request)
        if refused is not None:
            return refused
        case = await self._reader.find(request.path_params["incident_id"])
        if case is None:
            return _no_case(request.path_params["incident_id"])
        try:
            asked = _asked(await body(request))
            refuse_closed(case.incident, asked.type)
            command = checked(
                id=asked.id or request.headers.get("idempotency-key") or str(uuid.uuid4()),
                type=asked.type,
                incident_id=case.incident.id,
                actor=asked.actor,
                issued_ms=self._now_ms(),
                text=asked.text,
                severity=asked.severity,
            )
            command = msgspec.structs.replace(command, **asked.further())
            sent = await self._desk.submit(command, "api")
        except tuple(PROBLEMS) as error:
            status, title = PROBLEMS[type(error)]
            return problem(status, title, str(error))
        return json_of(
            CommandAccepted(
                id=command.id,
                incident_id=case.incident.id,
                number=case.number,
                repeated=not sent,
            ),
            status=202,
        )

    async def _file(self, request: Request) -> File | None:
        return await self._reader.file(request.path_params["name"])

    def _url(self, number: int) -> str:
        return f"{self._base}/cases/{number}"

    def _next(self, request: Request, page: int, pages: int) -> str | None:
        if page >= pages:
            return None
        query = {**request.query_params, "page": str(page + 1)}
        return f"{self._base}/api/v1/cases?{urlencode(query)}"

    def _summary(self, case: Case) -> CaseSummary:
        incident = case.incident
        return CaseSummary(
            number=case.number,
            url=self._url(case.number),
            incident_id=incident.id,
            title=incident.title,
            severity=incident.severity,
            state=incident.state,
            services=incident.services,
            opened_ms=incident.opened_ms,
            updated_ms=incident.updated_ms,
            resolved_ms=incident.resolved_ms,
            acknowledged_by=incident.acknowledged_by,
            category=incident.category,
            expected_resolution_ms=incident.expected_resolution_ms,
            workaround=incident.workaround,
            reason=incident.reason,
            solution=incident.solution,
        )


def _asked(content: bytes) -> CommandRequest:
    try:
        return msgspec.json.decode(content, type=CommandRequest)
    except UNREADABLE as error:
        raise NotACommandError(f"the body is no JSON of a command: {error}") from error


def wanted(request: Request) -> Filter:
    """The filter of the query string; what is not a number is page 1."""
    query = request.query_params
    page = query.get("page", "1")
    return Filter(
        state=query.get("state", ""),
        severity=query.get("severity", ""),
        service=query.get("service", ""),
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 10 else 1,
    )


def _no_case(name: str) -> Response:
    return problem(404, "No such case", f"there is no case of number or incident {name!r}")
