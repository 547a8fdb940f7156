"""Access tokens by client credentials (RFC 6749, section 4.4), fetched ahead of their end."""

import ssl
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec

from sinks.outgoing import Outgoing
from sinks.redaction import hide, redact_text

REFRESH_AT = 0.8
"""The share of a token's life after which another one is fetched."""
TIMEOUT_SECONDS = 10.0
SHORT_LIFE_SECONDS = 300
"""How long a token is taken to live whose server does not say."""
MAX_ANSWER = 65_536
LONGEST_PEACE_SECONDS = 86_400.0
"""The longest that a server is left alone for, whatever it asks."""


class TokenError(Exception):
    """There is no token; says what the server answered, never the secret.

    `is_refused` tells whether the server did not accept the credentials, which waiting does not
    mend; `after_seconds` how long it wants to be left alone, if it said so.
    """

    def __init__(
        self, text: str, *, is_refused: bool = False, after_seconds: float | None = None
    ) -> None:
        super().__init__(redact_text(text))
        self.is_refused = is_refused
        self.after_seconds = after_seconds


class ClientCredentials:
    """Tokens of one server for one scope. Any event loop may ask.

    While a token is still good, a server that is away is no trouble: the old one serves on.

    Parameters
    ----------
    url
        The token endpoint.
    authority
        A PEM file with the authority of the endpoint; the system's authorities if None.
    clock
        Seconds that never go back.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        secret: str,
        scope: str | None = None,
        *,
        authority: str | None = None,
        outgoing: Outgoing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._fields = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret,
            **({"scope": scope} if scope else {}),
        }
        self._ssl = ssl.create_default_context(cafile=authority) if authority else True
        self._outgoing = outgoing or Outgoing()
        self._clock = clock
        self._token: str | None = None
        self._refresh_at = 0.0
        self._ends_at = 0.0

    async def token(self) -> str:
        """A token that is good now. Raises TokenError."""
        now = self._clock()
        if self._token is not None and now < self._refresh_at:
            return self._token
        try:
            made, seconds = await self._fetch()
        except TokenError:
            if self._token is not None and now < self._ends_at:
                return self._token
            raise
        self._token = made
        self._refresh_at, self._ends_at = now + seconds * REFRESH_AT, now + seconds
        return made

    @property
    def seconds_left(self) -> float:
        """How long the last token is still good."""
        return max(0.0, self._ends_at - self._clock())

    def forget(self) -> None:
        """Fetches another one next time, as after a token was turned away."""
        self._token = None

    async def _fetch(self) -> tuple[str, float]:
        """A new token and its life, seconds. Each over a connection of its own: it is rare."""
        try:
            async with (
                self._outgoing.session(TIMEOUT_SECONDS) as session,
                session.post(
                    self._url, data=self._fields, ssl=self._ssl, allow_redirects=False
                ) as answer,
            ):
                said = _object(await answer.content.read(MAX_ANSWER))
                if answer.status != 200:
                    raise _refusal(answer, said)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TokenError(
                f"the token endpoint {self._url} does not answer ({type(error).__name__})"
            ) from error
        token, seconds = said.get("access_token"), said.get("expires_in", SHORT_LIFE_SECONDS)
        if not isinstance(token, str) or not token:
            raise TokenError(f"the token endpoint {self._url} gave no access_token")
        hide(token, passing=True)
        try:
            return token, max(1.0, float(seconds))
        except (TypeError, ValueError):
            return token, float(SHORT_LIFE_SECONDS)


def _refusal(answer: aiohttp.ClientResponse, said: dict[str, Any]) -> TokenError:
    after = answer.headers.get("Retry-After", "")
    code = str(said.get("error", "")).replace("\n", " ")[:60]
    return TokenError(
        f"the token endpoint {answer.url} answered {answer.status} {code}".rstrip()
        + ": do client id, secret and scope fit?" * (answer.status in (400, 401, 403)),
        is_refused=answer.status in (400, 401, 403),
        after_seconds=min(LONGEST_PEACE_SECONDS, float(after)) if after.isdecimal() else None,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return said if isinstance(said, dict) else {}
