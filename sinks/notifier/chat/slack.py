"""Slack's way to us: slash commands, buttons and what is said in an incident's channel or thread.

Every request is signed by Slack; what is not signed, or signed more than five minutes ago, is
turned away. See https://docs.slack.dev/authentication/verifying-requests-from-slack.
"""

from collections.abc import Awaitable, Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs

from slack_sdk.signature import SignatureVerifier
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from schemas.incidents import Command
from sinks.notifier.channels.standing import BUTTONS
from sinks.notifier.chat.body import an_object, body_of, name_in, object_in
from sinks.notifier.chat.desk import ChatDesk
from sinks.notifier.chat.parse import MAX_TEXT
from sinks.notifier.clean import Prose, clean

CHAT = "slack"
MAX_STAMP = 15
"""Digits of a time in Unix seconds that can be reckoned with."""

NameOf = Callable[[str], Awaitable[str]]


class _Clock:
    """Slack's verifier asks the time of an object."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms

    def now(self) -> float:
        return self._now_ms() / 1000


class SlackDoor:
    """The three addresses of a Slack app.

    Parameters
    ----------
    name_of
        What a Slack user id is called.
    """

    def __init__(
        self, signing_secret: str, desk: ChatDesk, name_of: NameOf, now_ms: Callable[[], int]
    ) -> None:
        self._verifier = SignatureVerifier(signing_secret, _Clock(now_ms))  # type: ignore[arg-type]
        self._desk = desk
        self._name_of = name_of
        self._now_ms = now_ms

    def routes(self) -> list[BaseRoute]:
        """Under `/slack/`."""
        return [
            Route("/slack/commands", self._command, methods=["POST"]),
            Route("/slack/actions", self._action, methods=["POST"]),
            Route("/slack/events", self._event, methods=["POST"]),
        ]

    async def _command(self, request: Request) -> Response:
        body = await self._verified(request)
        if body is None:
            return _refused()
        form = _form(body)
        channel = form.get("channel_id", "")
        answer = await self._desk.obey(
            unescape(form.get("text", "")),
            id=f"slack/{form.get('trigger_id', '')}",
            actor=name_in(form.get("user_name") or form.get("user_id"), "Slack"),
            incident_id=await self._desk.incident_in(CHAT, channel, None),
        )
        return JSONResponse({"response_type": "ephemeral", "text": answer})

    async def _action(self, request: Request) -> Response:
        body = await self._verified(request)
        if body is None:
            return _refused()
        payload = object_in(_form(body).get("payload", "").encode())
        actions = payload.get("actions")
        action = an_object(actions[0]) if isinstance(actions, list) and actions else {}
        pressed, incident_id = str(action.get("action_id")), str(action.get("value", ""))
        user = an_object(payload.get("user"))
        said_by = user.get("username") or user.get("name") or user.get("id")
        if pressed in BUTTONS and incident_id:
            await self._desk.take(
                Command(
                    id=f"slack/{payload.get('trigger_id', '')}",
                    type=BUTTONS[pressed],
                    incident_id=incident_id,
                    actor=name_in(said_by, "Slack"),
                    issued_ms=self._now_ms(),
                )
            )
        return PlainTextResponse("")

    async def _event(self, request: Request) -> Response:
        body = await self._verified(request)
        if body is None:
            return _refused()
        said = object_in(body)
        if said.get("type") == "url_verification":
            return PlainTextResponse(str(said.get("challenge", "")))
        await self._copy(an_object(said.get("event")))
        return PlainTextResponse("")

    async def _copy(self, event: dict[str, Any]) -> None:
        """Puts what a person said about an incident on its timeline."""
        is_said = event.get("type") == "message" and not event.get("subtype")
        if not is_said or event.get("bot_id") or not event.get("user"):
            return
        channel, ts = str(event.get("channel", "")), str(event.get("ts", ""))
        root = event.get("thread_ts")
        incident_id = await self._desk.incident_in(CHAT, channel, str(root) if root else None)
        text = clean(Prose(unescape(str(event.get("text", "")))))[:MAX_TEXT]
        if incident_id is None or not text.strip():
            return
        await self._desk.take(
            Command(
                id=f"slack/{channel}/{ts}",
                type="note",
                incident_id=incident_id,
                actor=name_in(await self._name_of(str(event["user"])), "Slack"),
                issued_ms=self._now_ms(),
                text=text,
            )
        )

    async def _verified(self, request: Request) -> bytes | None:
        """The body, if Slack has signed it. Its verifier fails at what Slack never sends."""
        body = await body_of(request)
        timestamp = request.headers.get("x-slack-request-timestamp", "")
        signature = request.headers.get("x-slack-signature", "")
        if body is None or not timestamp.isdecimal() or len(timestamp) > MAX_STAMP:
            return None
        if not signature.isascii() or not _is_text(body):
            return None
        return body if self._verifier.is_valid(body, timestamp, signature) else None


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refused() -> Response:
    return PlainTextResponse("not signed by Slack\n", 401)


def _form(body: bytes) -> dict[str, str]:
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}
