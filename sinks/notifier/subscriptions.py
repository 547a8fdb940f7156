"""The page behind a link that stops messages, and the one-click way of mail programs (RFC 8058).

Opening the link only shows the page, since mail scanners open links too; its button acts.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from schemas.configuration import Recipient
from sinks.database import Database
from sinks.html import content_security_policy, inline, templates
from sinks.notifier.language import language
from sinks.notifier.links import LinkInvalid, Tickets
from sinks.notifier.store import subscribe_again, unsubscribe

MAX_FORM_BYTES = 4096
ONE_CLICK = "One-Click"

_FOLDER = Path(__file__).parent / "templates" / "pages"
_STYLE = (_FOLDER / "style.css").read_text(encoding="utf-8")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": content_security_policy(style=inline(_STYLE), forms="'self'"),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}


class Subscriptions:
    """Shows the page of a link and does what its buttons say."""

    def __init__(
        self,
        database: Database,
        tickets: Callable[[], Tickets],
        recipients: Mapping[str, Recipient],
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._tickets = tickets
        self._recipients = recipients
        self._now_ms = now_ms
        self._environment = templates(_FOLDER)

    def routes(self) -> list[BaseRoute]:
        """One address: GET shows, POST acts."""
        return [
            Route("/unsubscribe/{token}", self._show, methods=["GET"]),
            Route("/unsubscribe/{token}", self._act, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        recipient = self._recipient(request)
        return _unknown() if recipient is None else self._page(recipient, "ask")

    async def _act(self, request: Request) -> Response:
        recipient = self._recipient(request)
        if recipient is None:
            return _unknown()
        again = await _field(request, "again")
        async with self._database.writing() as connection:
            if again:
                await subscribe_again(connection, recipient.name)
            else:
                await unsubscribe(connection, recipient.name, self._now_ms())
        return self._page(recipient, "again" if again else "done")

    def _recipient(self, request: Request) -> Recipient | None:
        try:
            name = self._tickets().read_off(request.path_params["token"])
        except LinkInvalid:
            return None
        return self._recipients.get(name)

    def _page(self, recipient: Recipient, said: str) -> Response:
        reader = language(recipient.language, "UTC")
        html = self._environment.get_template("unsubscribe.html.j2").render(
            style=_STYLE,
            code=reader.name,
            said=said,
            phrases={
                name: reader.phrase("unsubscribe", name)
                for name in ("ask", "done", "again", "stop", "resume")
            },
        )
        return HTMLResponse(html, headers=_HEADERS)


def _unknown() -> Response:
    return PlainTextResponse("This link is not one of ours, or was cut on its way.\n", 404)


async def _field(request: Request, name: str) -> str:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get(name, [""])[0]
