"""Receivers on real sockets that behave as told: Slack's limits, mail servers, webhooks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Literal

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

Trouble = Literal["down", "404", "500", "429", "late"]
"""Closes the connection; answers so; or takes what comes, and is gone before it has said so."""
Answer = Callable[[web.Request, bytes], web.StreamResponse | None]


class Receiver:
    """An HTTP receiver: keeps what it got, answers from `script`, then with 200.

    An entry of the script is a status, a status with headers, or "hang". "late" takes the request
    in but answers only when the client is gone.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.script: list[int | tuple[int, dict[str, str]] | str] = []
        self.url = ""
        self.release = asyncio.Event()

    @property
    def ids(self) -> list[str]:
        return [headers["Idempotency-Key"] for headers, _ in self.requests]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((dict(request.headers), body))
        step = self.script.pop(0) if self.script else 200
        if isinstance(step, str):
            await self.release.wait()
            return web.Response()
        status, headers = step if isinstance(step, tuple) else (step, {})
        return web.Response(status=status, headers=headers)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A running HTTP receiver."""
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.handle)
    app.router.add_post("/", made.handle)
    async with serving(app) as base:
        made.url = f"{base}/hook"
        yield made
        made.release.set()


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serves an application on a free port; gives its base URL."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


class Mailbox:
    """An SMTP server that keeps mail; answers RCPT and DATA from its scripts first.

    DATA that is answered with "late" was taken, and the connection is gone before the answer.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.rcpt: list[str] = []
        self.data: list[str] = []
        self.is_rude = False
        """Whether it leaves QUIT unanswered."""
        self.trouble: Trouble | None = None
        self.asked = 0
        self.port = 0

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, host: str, responses: list[str]
    ) -> list[str]:
        self.asked += 1
        if self.trouble == "down":
            server.transport.abort()
        session.host_name = host
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt:
            return self.rcpt.pop(0)
        if self.trouble == "429":
            return "450 4.7.1 too many messages"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.trouble == "500":
            return "451 4.3.0 try again later"
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients += envelope.rcpt_tos
        answer = self.data.pop(0) if self.data else "250 OK"
        if "late" in (answer, self.trouble):
            server.transport.abort()
        return answer

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.is_rude:
            await asyncio.sleep(60)
        return "221 Bye"


@asynccontextmanager
async def mailbox() -> AsyncIterator[Mailbox]:
    """A running mail server."""
    made = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(made, loop=loop), "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await server.wait_closed()
