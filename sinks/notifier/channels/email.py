"""Messages as e-mail over SMTP, one thread an incident."""

import contextlib
import hashlib
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from pathlib import Path

import aiosmtplib

from schemas.configuration import EmailChannel
from schemas.times import utc
from sinks.html import templates
from sinks.notifier.channels.channel import Message, Receipt, Refused, Retry, paragraphs
from sinks.notifier.language import language
from sinks.outgoing import ForbiddenAddressError, Outgoing

_PAGE = templates(Path(__file__).parents[1] / "templates" / "pages").get_template("mail.html.j2")

QUIT_SECONDS = 1.0
MAX_ANSWER = 200
"""Of what the mail server said as it took a message: most name it in their queue."""


class Email:
    """Sends plain text with an HTML twin.

    Message-ID is made of the message's id, so a mailbox drops a repeat. References begin with an
    id made of the incident and its reader, so mail programs show one thread, even if a message
    was lost or went another way. Auto-Submitted keeps holiday answers away. Who may stop messages
    finds the way in the headers, by one click (RFC 8058), and below the text.
    """

    messages = 10.0
    per_seconds = 1.0
    concurrency = 4

    def __init__(
        self,
        settings: EmailChannel,
        password: str | None,
        now_ms: Callable[[], int],
        timeout_seconds: float = 15,
        outgoing: Outgoing | None = None,
    ) -> None:
        self._outgoing = outgoing or Outgoing()
        self._settings = settings
        self._password = password
        self._now_ms = now_ms
        self._timeout_seconds = timeout_seconds

    async def send(self, message: Message) -> Receipt:
        """Hands the message to the SMTP server. 4xx may be later, 5xx never, bad login later."""
        mail = self._mail(message)
        server = self._server()
        try:
            place, seconds = self._settings, self._timeout_seconds
            line = await self._outgoing.connect(place.host, place.port, seconds)
            await server.connect(sock=line)
            _, answer = await server.send_message(mail)
            await _part(server)
        except aiosmtplib.SMTPException as error:
            raise outcome(error) from error
        except ForbiddenAddressError as error:
            raise Refused(str(error)) from error
        except (OSError, TimeoutError) as error:
            raise Retry("unreachable", f"{type(error).__name__} from the mail server") from error
        finally:
            server.close()
        return Receipt(
            thread=message.thread or str(mail["Message-ID"]),
            accepted=answer.strip()[:MAX_ANSWER] or None,
        )

    async def close(self) -> None:
        """Every message has a connection of its own; nothing stays open."""

    def _server(self) -> aiosmtplib.SMTP:
        settings = self._settings
        return aiosmtplib.SMTP(
            hostname=settings.host,
            username=settings.username,
            password=self._password,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            timeout=self._timeout_seconds,
        )

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        domain = parseaddr(self._settings.sender)[1].rpartition("@")[2] or "tocsin.invalid"
        mail["Message-ID"] = f"<{message.id}@{domain}>"
        root = f"<{thread_id(message)}@{domain}>"
        mail["References"] = " ".join(dict.fromkeys((root, message.thread or root)))
        if message.thread:
            mail["In-Reply-To"] = message.thread
        mail["Date"] = format_datetime(utc(self._now_ms()))
        mail["From"] = self._settings.sender
        mail["To"] = message.address
        mail["Subject"] = message.subject
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Auto-Response-Suppress"] = "All"
        if message.unsubscribe:
            mail["List-Unsubscribe"] = f"<{message.unsubscribe}>"
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        mail.set_content(plain(message))
        mail.add_alternative(html(message), subtype="html")
        mail["Content-Language"] = message.language.replace("_", "-")
        _fix_boundary(mail, message.id)
        return mail


async def _part(server: aiosmtplib.SMTP) -> None:
    """Says goodbye. The server has the message, so it goes without an answer if none comes soon."""
    with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
        await server.quit(timeout=QUIT_SECONDS)


def outcome(error: aiosmtplib.SMTPException) -> Retry | Refused:
    """What an SMTP error means for the message."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return Retry("auth", f"SMTP {error.code}: the mail server did not accept the login")
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [refused.code for refused in error.recipients]
        return _by_code(max(codes, default=550), "the recipient was refused")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _by_code(error.code, "the mail server refused the message")
    return Retry("unreachable", f"{type(error).__name__} from the mail server")


def _by_code(code: int, what: str) -> Retry | Refused:
    if 400 <= code < 500:
        return Retry("unreachable", f"SMTP {code}: {what} for now")
    return Refused(f"SMTP {code}: {what}")


def thread_id(message: Message) -> str:
    """The same for all messages about an incident to one reader."""
    about = f"{message.incident_id or message.id}\n{message.recipient}"
    return f"thread-{hashlib.sha256(about.encode()).hexdigest()[:32]}"


def plain(message: Message) -> str:
    """The text with its links below."""
    links = [f"{link.label}: {link.url}" for link in message.links]
    if message.unsubscribe:
        links += ["", f"{stop_label(message)}: {message.unsubscribe}"]
    return "\n".join([message.text.strip(), "", *links]).strip() + "\n"


def stop_label(message: Message) -> str:
    """What the link that stops messages is called."""
    return language(message.language, "UTC").phrase("links", "unsubscribe")


def html(message: Message) -> str:
    """A simple page of the same words; everything is escaped."""
    return _PAGE.render(
        message=message,
        paragraphs=list(paragraphs(message.text)),
        code=message.language.replace("_", "-"),
        stop=stop_label(message),
    )


def _fix_boundary(mail: EmailMessage, message_id: str) -> None:
    """Makes the MIME boundary follow from the id, so that a repeat is byte-equal."""
    mail.set_boundary(f"=_{hashlib.sha256(message_id.encode()).hexdigest()[:32]}")
