"""Look-alikes of services that people are told through, which enforce the limits of the real ones.

PagerDuty's Events API v2, Opsgenie's Alert API, a Teams workflow and a provider of text messages.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.sinks.notifier.receivers import serving

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LookAlike:
    """Keeps what was taken, in order; answers from `script` first."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.script: list[web.Response] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """What it answers: the script, then what `take` says of the request."""
        body = await request.read()
        if self.script:
            return self.script.pop(0)
        return self.take(request, body)

    def take(self, request: web.Request, body: bytes) -> web.Response:
        raise NotImplementedError


class PagerDutyLookAlike(LookAlike):
    """`/v2/enqueue`: one alert by `dedup_key`, whose state is in `alerts`.

    A trigger pages only where there is no alert, or it was resolved; else it is logged.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, str] = {}
        self.paged: list[str] = []

    def take(self, request: web.Request, body: bytes) -> web.Response:
        event = json.loads(body)
        if event["routing_key"] != "R0KEY" or len(body) > 512_000:
            return web.json_response({"status": "invalid event"}, status=400)
        key, action = event["dedup_key"], event["event_action"]
        if not 0 < len(key) <= 255:
            return web.json_response({"status": "invalid event"}, status=400)
        if action == "trigger":
            payload = event["payload"]
            ok = 0 < len(payload["summary"]) <= 1024 and payload["source"]
            if not ok or payload["severity"] not in ("critical", "error", "warning", "info"):
                return web.json_response({"status": "invalid event"}, status=400)
            if self.alerts.get(key, "resolved") == "resolved":
                self.alerts[key] = "triggered"
                self.paged.append(key)
        elif self.alerts.get(key, "resolved") != "resolved":
            self.alerts[key] = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
        self.taken.append(event)
        answer = {"status": "success", "message": "Event processed", "dedup_key": key}
        return web.json_response(answer, status=202)


class OpsgenieLookAlike(LookAlike):
    """`/v2/alerts`: one alert by alias, with its notes.

    It pages for a new alert, and for one whose acknowledgement was taken back; what is created
    again while there is one is counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, dict[str, Any]] = {}
        self.paged: list[str] = []

    def take(self, request: web.Request, body: bytes) -> web.Response:
        if request.headers.get("Authorization") != "GenieKey G0KEY":
            return web.json_response({"message": "Key is not valid"}, status=403)
        asked = json.loads(body)
        if request.path == "/v2/alerts":
            if not 0 < len(asked["message"]) <= 130 or len(asked["description"]) > 15_000:
                return web.json_response({"message": "too long"}, status=422)
            if asked["priority"] not in ("P1", "P2", "P3", "P4", "P5"):
                return web.json_response({"message": "no such priority"}, status=422)
            known = self.alerts.get(asked["alias"])
            if known is None or known["status"] == "closed":
                self.alerts[asked["alias"]] = {"status": "open", "notes": []}
                self.paged.append(asked["alias"])
        else:
            _, _, _, alias, action = request.path.split("/")
            if request.query.get("identifierType") != "alias" or alias not in self.alerts:
                return web.json_response({"message": "no such alert"}, status=404)
            alert = self.alerts[alias]
            if action == "notes":
                alert["notes"].append(asked["note"])
            elif action == "unacknowledge" and alert["status"] == "acknowledged":
                alert["status"] = "open"
                self.paged.append(alias)
            alert["status"] = {"close": "closed", "acknowledge": "acknowledged"}.get(
                action, alert["status"]
            )
        self.taken.append({"path": request.path, **asked})
        return web.json_response(
            {"result": "Request will be processed", "requestId": "r-1"}, status=202
        )


class TeamsLookAlike(LookAlike):
    """A workflow's address: takes one Adaptive Card 1.4 of at most 28 KB."""

    def take(self, request: web.Request, body: bytes) -> web.Response:
        if len(body) > 28 * 1024:
            return web.Response(status=413)
        post = json.loads(body)
        (attachment,) = post["attachments"]
        card = attachment["content"]
        ok = (
            post["type"] == "message"
            and attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
            and card["type"] == "AdaptiveCard"
            and card["version"] == "1.4"
            and len(card["actions"]) <= 6
            and all(self.is_known(part) for part in card["body"])
        )
        if not ok:
            return web.Response(status=400)
        self.taken.append(card)
        return web.Response(status=202)

    @staticmethod
    def is_known(part: dict[str, Any]) -> bool:
        if part["type"] == "TextBlock":
            return bool(part["text"])
        return part["type"] == "FactSet" and all(f["title"] and f["value"] for f in part["facts"])


class ProviderLookAlike(LookAlike):
    """Takes each message once, by its `Idempotency-Key`."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.delivered: dict[str, dict[str, Any]] = {}

    def take(self, request: web.Request, body: bytes) -> web.Response:
        if request.headers.get("Authorization") != "Bearer t0ken":
            return web.Response(status=401)
        asked = json.loads(body)
        if asked["kind"] == "sms" and len(asked["text"]) > 459:
            return web.Response(status=422)
        self.headers.append(dict(request.headers))
        self.bodies.append(body)
        self.delivered.setdefault(request.headers["Idempotency-Key"], asked)
        self.taken.append(asked)
        return web.json_response({"id": f"SM{len(self.delivered)}"}, status=201)


@asynccontextmanager
async def running(made: LookAlike) -> AsyncIterator[None]:
    """Serves a look-alike under any path."""
    app = web.Application()
    app.router.add_post("/{path:.*}", made.answer)
    async with serving(app) as base:
        made.url = base
        yield
