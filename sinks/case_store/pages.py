"""The pages: list of cases, one case, sign-in. They work without JavaScript."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from schemas.configuration import Catalogue
from schemas.incidents import Command
from sinks.case_store import views
from sinks.case_store.access import Access, Session, safe_path
from sinks.case_store.answers import TooLargeError, body
from sinks.case_store.api import Endpoint, wanted
from sinks.case_store.commands import (
    LONGEST_NAME,
    LONGEST_TEXT,
    CommandNotSentError,
    CommandRefusedError,
    Desk,
    checked,
    refuse_closed,
)
from sinks.case_store.metrics import SIGN_INS
from sinks.case_store.reader import Filter, Reader
from sinks.case_store.records import storable
from sinks.html import content_security_policy, templates

HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": content_security_policy(
        style="'self'", images="'self'", forms="'self'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
FORMS = (
    "acknowledge",
    "unacknowledge",
    "note",
    "set_severity",
    "public_message",
    "workaround",
    "expect",
    "conclude",
    "no_change",
    "approve",
    "retract",
    "resolve",
    "not_an_incident",
)
MINUTE_MS = 60_000
LONGEST_MINUTES = 366 * 24 * 60


class Pages:
    """Routes for people."""

    def __init__(
        self,
        reader: Reader,
        desk: Desk,
        access: Access,
        catalogue: Catalogue,
        now_ms: Callable[[], int],
    ) -> None:
        self._catalogue = {service.name: service for service in catalogue.services}
        self._reader = reader
        self._desk = desk
        self._access = access
        self._now_ms = now_ms
        self._templates = templates(HERE / "templates")
        self._templates.filters.update(
            time=views.time,
            duration=views.duration,
            words=views.words,
            quantity=views.quantity,
            detail=views.detail_words,
            own_text=views.own_text,
            lasted=views.lasted,
            step=views.step_words,
            way=views.way_words,
        )

    def routes(self) -> list[BaseRoute]:
        """The routes, for the host to serve."""
        return [
            Route("/", self._home),
            Route("/cases", self._for_readers(self._list)),
            Route("/cases/{number:int}", self._for_readers(self._case)),
            Route("/cases/{number:int}/commands", self._command, methods=["POST"]),
            Route("/incidents/{incident_id:path}", self._for_readers(self._incident)),
            Route("/sign-in", self._sign_in_page, methods=["GET"]),
            Route("/sign-in", self._sign_in, methods=["POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Mount("/case-store/static", StaticFiles(directory=HERE / "static")),
        ]

    def _for_readers(self, endpoint: Endpoint) -> Endpoint:
        async def signed_in_first(request: Request) -> Response:
            if self._access.open or self._access.session(request) is not None:
                return await endpoint(request)
            return RedirectResponse(_sign_in_address(request), 302, HEADERS)

        return signed_in_first

    async def _home(self, request: Request) -> Response:
        return RedirectResponse("/cases", 302)

    async def _list(self, request: Request) -> Response:
        filter = wanted(request)
        listing = await self._reader.listing(filter)
        return self._render(
            request,
            "cases.html",
            listing=listing,
            filter=filter,
            services=await self._reader.services(),
            address=lambda page: _address(filter, page),
        )

    async def _incident(self, request: Request) -> Response:
        case = await self._reader.find(request.path_params["incident_id"])
        if case is None:
            return self._missing(request)
        return RedirectResponse(f"/cases/{case.number}", 302)

    async def _case(self, request: Request) -> Response:
        return await self._show(request, request.path_params["number"])

    async def _show(
        self,
        request: Request,
        number: int,
        *,
        status: int = 200,
        problem: str = "",
        typed: dict[str, str] | None = None,
    ) -> Response:
        file = await self._reader.file(str(number))
        if file is None:
            return self._missing(request)
        return self._render(
            request,
            "case.html",
            status,
            file=file,
            case=file.case,
            incident=file.case.incident,
            page=views.page(file, self._now_ms()),
            catalogue=self._catalogue,
            natures=views.NATURES,
            problem=problem,
            typed=typed or {},
            command_ids={form: str(uuid.uuid4()) for form in FORMS},
        )

    async def _command(self, request: Request) -> Response:
        number = request.path_params["number"]
        form = await _form(request)
        session = self._who_may_change(request, form)
        if isinstance(session, Response):
            return session
        case = await self._reader.find(str(number))
        if case is None:
            return self._missing(request)
        try:
            refuse_closed(case.incident, form.get("type", ""))
            command = checked(
                id=form.get("command_id", ""),
                type=form.get("type", ""),
                incident_id=case.incident.id,
                actor=session.actor,
                issued_ms=self._now_ms(),
                text=form.get("text", ""),
                severity=form.get("severity"),
            )
            await self._desk.submit(_with_fields(command, form), "page")
        except CommandRefusedError as error:
            typed = {**form, "command_id": str(uuid.uuid4())}
            return await self._show(request, number, status=422, problem=str(error), typed=typed)
        except CommandNotSentError as error:
            return await self._show(request, number, status=503, problem=str(error), typed=form)
        return RedirectResponse(f"/cases/{number}", 303)

    def _who_may_change(self, request: Request, form: dict[str, str]) -> Session | Response:
        """Who sent a form, or the answer to who may not."""
        session = self._access.session(request)
        if session is None:
            return self._refuse(request, 401, "Sign in first; nothing was changed.")
        if session.right != "change":
            return self._refuse(request, 403, "You signed in to read only; nothing was changed.")
        ours = self._access.origin_is_ours(request)
        if not ours or not self._access.csrf_is_valid(session, form.get("csrf", "")):
            return self._refuse(
                request, 403, "This form is too old or not ours; nothing was changed. Open it anew."
            )
        return session

    async def _sign_in_page(self, request: Request) -> Response:
        back = safe_path(request.query_params.get("next", ""))
        if not self._gains_by_sign_in(self._access.session(request)) and self._access.has_tokens:
            return RedirectResponse(back, 302)
        return self._render(request, "sign_in.html", back=back, problem="", actor="")

    async def _sign_in(self, request: Request) -> Response:
        form = await _form(request)
        back, actor = safe_path(form.get("next", "")), form.get("actor", "").strip()
        if not self._access.has_tokens or not self._access.origin_is_ours(request):
            return self._refuse(request, 403, "Nobody can sign in this way.")
        named = 0 < len(actor) <= LONGEST_NAME and actor.isprintable() and actor != "tocsin"
        right = self._access.right_of(form.get("token", ""))
        if not named or right is None:
            SIGN_INS.labels("refused").inc()
            problem = "That is not the token." if named else "Write who you are."
            return self._render(
                request, "sign_in.html", 401, back=back, problem=problem, actor=actor
            )
        SIGN_INS.labels("signed in").inc()
        response = RedirectResponse(back, 303)
        session = self._access.sign_in(response, actor, right)
        await self._desk.signed(actor, "signed in", session.id)
        return response

    async def _sign_out(self, request: Request) -> Response:
        session = self._access.session(request)
        form = await _form(request)
        if session is None or not self._access.csrf_is_valid(session, form.get("csrf", "")):
            return self._refuse(request, 403, "This form is too old; you are still signed in.")
        response = RedirectResponse("/cases", 303)
        self._access.sign_out(response)
        await self._desk.signed(session.actor, "signed out", session.id)
        return response

    def _gains_by_sign_in(self, session: Session | None) -> bool:
        """Whether someone could do more after signing in than now."""
        if session is None:
            return self._access.has_tokens
        return self._access.writable and session.right != "change"

    def _missing(self, request: Request) -> Response:
        return self._refuse(request, 404, "There is no such case, or its events are not read yet.")

    def _refuse(self, request: Request, status: int, message: str) -> Response:
        return self._render(request, "refused.html", status, message=message)

    def _render(
        self, request: Request, template: str, status: int = 200, **content: Any
    ) -> Response:
        session = self._access.session(request)
        html = self._templates.get_template(template).render(
            session=session,
            csrf=self._access.csrf(session) if session else "",
            may_change=session is not None and session.right == "change",
            access=self._access,
            sign_in=_sign_in_address(request) if self._gains_by_sign_in(session) else "",
            now_ms=self._now_ms(),
            **content,
        )
        return Response(html, status, HEADERS, "text/html; charset=utf-8")


def _with_fields(command: Command, form: dict[str, str]) -> Command:
    """With what only some forms have. Raises `CommandRefusedError`."""
    if command.type == "conclude":
        solution = storable(form.get("solution", "")).strip()[:LONGEST_TEXT]
        return msgspec.structs.replace(command, solution=solution)
    if command.type != "expect":
        return command
    said = form.get("minutes", "").strip()
    minutes = int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0
    if not 0 < minutes <= LONGEST_MINUTES:
        raise CommandRefusedError(
            f"{said or 'nothing'!r} is no number of minutes; say in how many it will be over"
        )
    expected_ms = command.issued_ms + minutes * MINUTE_MS
    return msgspec.structs.replace(command, expected_ms=expected_ms)


def _sign_in_address(request: Request) -> str:
    """Where one signs in, to come back to this page."""
    here = request.url.path if request.method in ("GET", "HEAD") else "/cases"
    if request.url.query:
        here += f"?{request.url.query}"
    return f"/sign-in?next={quote(here)}"


def _address(filter: Filter, page: int) -> str:
    asked = {"state": filter.state, "severity": filter.severity, "service": filter.service}
    query = {key: value for key, value in asked.items() if value}
    return "/cases?" + urlencode({**query, "page": str(page)})


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; one that is too large or in another encoding has none."""
    try:
        content = (await body(request)).decode("utf-8", "replace")
        fields = parse_qs(content, keep_blank_values=True, max_num_fields=50)
    except (TooLargeError, ValueError):
        return {}
    return {name: values[-1] for name, values in fields.items()}
