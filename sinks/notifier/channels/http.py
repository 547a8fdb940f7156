"""One way to talk HTTP to receivers: no redirects, a time limit, and what each answer means.

Addresses come from the configuration alone; nothing that telemetry or a person says leads to one.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import aiohttp
import msgspec

from schemas.incidents import FailureClass
from sinks.notifier.channels.channel import Refused, Retry, retry_after_seconds
from sinks.outgoing import ForbiddenAddressError, Outgoing

MAX_ANSWER = 4096
"""Bytes of an answer that are looked at."""

_TRANSIENT = frozenset((408, 421, 423, 425))


class Answer(NamedTuple):
    """What a receiver answered, and how long it wants to be left alone if it said so."""

    status: int
    body: bytes
    after_seconds: float | None = None

    @property
    def taken(self) -> bool:
        """Whether it did what it was asked."""
        return 200 <= self.status < 300

    def json(self) -> dict[str, Any]:
        """The body as a JSON object, empty if it is none."""
        try:
            said = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {}
        return said if isinstance(said, dict) else {}


class Http:
    """Asks a receiver over kept connections.

    Parameters
    ----------
    who
        What the receiver is called in details of failures.
    now_ms
        The wall clock, Unix ms.
    outgoing
        Where requests may go.
    """

    def __init__(
        self,
        who: str,
        now_ms: Callable[[], int],
        timeout_seconds: float = 10,
        outgoing: Outgoing | None = None,
    ) -> None:
        self.who = who
        self._now_ms = now_ms
        self._timeout_seconds = timeout_seconds
        self._outgoing = outgoing or Outgoing()
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """The beginning of the answer, once the receiver took the request. Raises Retry, Refused.

        2xx is taken; 401, 403, 408, 429 and 5xx may be later; the rest, redirects too, never.
        """
        answer = await self.ask("POST", url, body, headers)
        judge(answer.status, answer.after_seconds, self.who)
        return answer.body

    async def ask(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        longest: int = MAX_ANSWER,
    ) -> Answer:
        """What the receiver answers, whatever it is, up to `longest` bytes.

        Raises Retry where there is no answer, Refused where none may be asked for.
        """
        sent = {"Content-Type": "application/json", "User-Agent": "tocsin", **(headers or {})}
        try:
            async with self._open().request(
                method, url, data=body, headers=sent, allow_redirects=False
            ) as answer:
                after = retry_after_seconds(answer.headers.get("Retry-After"), self._now_ms())
                return Answer(answer.status, await _read(answer.content, longest), after)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            forbidden = _forbidden(error)
            if forbidden is not None:
                raise Refused(str(forbidden)) from error
            raise Retry("unreachable", f"{type(error).__name__} from {self.who}") from error

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = self._outgoing.session(self._timeout_seconds)
        return self._session


async def _read(content: aiohttp.StreamReader, longest: int) -> bytes:
    """Up to `longest` bytes, however they are parted on the way."""
    read = b""
    while len(read) < longest and (chunk := await content.read(longest - len(read))):
        read += chunk
    return read


def _forbidden(error: BaseException) -> ForbiddenAddressError | None:
    """The refusal behind an error; aiohttp wraps it."""
    behind = getattr(error, "os_error", None) or error.__cause__
    return behind if isinstance(behind, ForbiddenAddressError) else None


def judge(status: int, after: float | None, who: str = "the webhook") -> None:
    """Raises Retry or Refused by the HTTP status; returns where the message was taken."""
    if 200 <= status < 300:
        return
    detail = f"HTTP {status} from {who}"
    failure: FailureClass = "unreachable"
    if status in (401, 403):
        failure = "auth"
    elif status == 429:
        failure = "rate_limited"
    elif status < 500 and status not in _TRANSIENT:
        raise Refused(detail)
    raise Retry(failure, detail, after)
