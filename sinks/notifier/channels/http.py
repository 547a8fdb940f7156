"""One way to talk HTTP to receivers: no redirects, a time limit, and what each answer means.

Addresses come from the configuration alone; nothing that telemetry or a person says leads to one.
"""

from collections.abc import Callable, Mapping

import aiohttp

from schemas.incidents import FailureClass
from sinks.notifier.channels.channel import Refused, Retry, retry_after_seconds

MAX_ANSWER = 4096
"""Bytes of an answer that are looked at."""

_TRANSIENT = frozenset((408, 421, 423, 425))


class Http:
    """Posts to a receiver over kept connections.

    Parameters
    ----------
    who
        What the receiver is called in details of failures.
    now_ms
        The wall clock, Unix ms.
    """

    def __init__(self, who: str, now_ms: Callable[[], int], timeout_seconds: float = 10) -> None:
        self._who = who
        self._now_ms = now_ms
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """The beginning of the answer, once the receiver took the request. Raises Retry, Refused.

        2xx is taken; 401, 403, 408, 429 and 5xx may be later; the rest, redirects too, never.
        """
        sent = {"Content-Type": "application/json", "User-Agent": "tocsin", **headers}
        try:
            async with self._open().post(
                url, data=body, headers=sent, allow_redirects=False
            ) as answer:
                after = retry_after_seconds(answer.headers.get("Retry-After"), self._now_ms())
                judge(answer.status, after, self._who)
                return await answer.content.read(MAX_ANSWER)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Retry("unreachable", f"{type(error).__name__} from {self._who}") from error

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session


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
