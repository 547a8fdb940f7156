"""What a channel is: it sends one message and says what came of it."""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Protocol, runtime_checkable

import msgspec

from schemas.incidents import FailureClass, Severity
from schemas.oncall import Way
from sinks.notifier.clean import clean
from sinks.notifier.language import labels
from sinks.notifier.messages import Kind, Stage
from sinks.redaction import redact_text

NO_DETAILS = msgspec.Raw(b"null")
LONGEST_PEACE_SECONDS = 86_400.0
"""The longest that a receiver is left alone for, whatever it asks."""


class Link(msgspec.Struct, frozen=True):
    """A place to go from the message."""

    label: str
    url: str


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message to one recipient, in plain text that each channel escapes and lays out.

    `id` is the same at every attempt, so that a receiver can tell a repeat. In `text` a blank
    line parts paragraphs, "- " begins an item of a list, and a known label with a colon begins a
    fact ("Since: …"); no value from outside can hold a line break. `details` is the incident as
    JSON, `null` for customers. `thread` is what `Receipt.thread` of those before it said last.
    `ways` are the further ways to this recipient, for when this one fails; `unsubscribe` is where
    they can stop these messages, empty where they cannot. `may_have_arrived` says that an attempt
    before this one may have, of which the answer never came.
    """

    id: str
    event_id: str
    incident_id: str
    stage: Stage
    severity: Severity
    recipient: str
    audience: str
    address: str
    subject: str
    text: str
    links: tuple[Link, ...] = ()
    time_ms: int
    details: msgspec.Raw = NO_DETAILS
    thread: str | None = None
    kind: Kind = "news"
    language: str = "en"
    ways: tuple[Way, ...] = ()
    drill: bool = False
    unsubscribe: str = ""
    may_have_arrived: bool = False


class Receipt(msgspec.Struct, frozen=True):
    """The receiver took the message; `thread` is kept for what later ones of the incident follow.

    `accepted` is the receiver's own id of it, by which it can be asked after.
    """

    thread: str | None = None
    detail: str = ""
    accepted: str | None = None


class Retry(Exception):  # noqa: N818 - an outcome with a name, not a mistake of ours
    """The message was not taken, and may be later.

    `after_seconds` is how long the receiver asked to be left alone, None where it did not say.
    Credentials that were not accepted are of this kind too: they can be mended, and an outage
    is no time to lose messages. `detail` is one line without secrets, should the receiver repeat
    one.
    """

    def __init__(
        self, failure: FailureClass, detail: str, after_seconds: float | None = None
    ) -> None:
        self.detail = clean(redact_text(detail))
        super().__init__(self.detail)
        self.failure = failure
        self.after_seconds = after_seconds


class Refused(Exception):  # noqa: N818
    """The receiver will never take this message: a wrong address, a malformed request.

    `detail` is one line without secrets.
    """

    def __init__(self, detail: str, failure: FailureClass = "refused") -> None:
        self.detail = clean(redact_text(detail))
        super().__init__(self.detail)
        self.failure = failure


class Channel(Protocol):
    """A way out.

    `messages` in `per_seconds` is the pace that its receiver can bear; `concurrency` how many
    messages may be under way at once.
    """

    messages: float
    per_seconds: float
    concurrency: int

    async def send(self, message: Message) -> Receipt:
        """Sends the message once. Raises Retry or Refused; must not keep what it is given."""

    async def close(self) -> None:
        """Lets go of connections."""


@runtime_checkable
class KeepsCard(Protocol):
    """A channel in which something shows how the incident stands, above the messages about it."""

    async def bring_up_to_date(self, message: Message, receipt: Receipt) -> None:
        """Edits it once a message has arrived, and is noted: nothing that goes wrong here, or takes
        its time, sends the message again."""


class Line(msgspec.Struct, frozen=True):
    """A line of a message: plain, a fact with its label, or an item of a list."""

    text: str
    label: str | None = None
    item: bool = False


def paragraphs(text: str) -> Iterator[list[Line]]:
    """The message's text as paragraphs of lines, for channels that lay it out."""
    for paragraph in text.strip().split("\n\n"):
        lines = [_line(line) for line in paragraph.splitlines() if line.strip()]
        if lines:
            yield lines


def _line(line: str) -> Line:
    if line.startswith("- "):
        return Line(line[2:], item=True)
    label, colon, rest = line.partition(": ")
    if colon and label.strip() in labels():
        return Line(rest, label=label)
    return Line(line)


def retry_after_seconds(header: str | None, now_ms: int) -> float | None:
    """Reads a Retry-After header, seconds or a date (RFC 9110), of at most a day; nonsense counts
    as not given."""
    if not header:
        return None
    try:
        if header.strip().isdecimal():
            return min(LONGEST_PEACE_SECONDS, float(header))
        seconds = parsedate_to_datetime(header).timestamp() - now_ms / 1000
    except (ValueError, OverflowError):
        return None
    return min(LONGEST_PEACE_SECONDS, max(0.0, seconds))
