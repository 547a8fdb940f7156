"""Whether it is Teams' Bot Connector that calls: the token that it signs.

See https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication.
"""

from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from sinks.notifier.channels.channel import Refused, Retry
from sinks.notifier.channels.http import Http

ISSUER = "https://api.botframework.com"
LEEWAY_SECONDS = 300
"""How far clocks may differ."""
KEPT_MS = 24 * 3_600_000
"""How long keys are used without asking for them again."""
PATIENCE_MS = 300_000
"""How often keys are asked for at most, whatever the tokens say."""
MAX_KEYS = 262_144

log = structlog.get_logger("tocsin.notifier")


class NotSignedError(Exception):
    """The Bot Connector did not sign this; the text says what is wrong, for the log."""


class KeysAwayError(Exception):
    """The keys cannot be had now, so that nobody can be believed."""


class BotTokens:
    """Verifies tokens for one bot, with the keys of an address that is asked once a day.

    Parameters
    ----------
    audience
        The bot's app id.
    """

    def __init__(self, keys_url: str, audience: str, http: Http, now_ms: Callable[[], int]) -> None:
        self._keys_url = keys_url
        self._http = http
        self._now_ms = now_ms
        self._keys: KeySet | None = None
        self._endorsed: dict[str, frozenset[str]] = {}
        self._asked_ms = 0
        self._claims = JWTClaimsRegistry(
            now=lambda: now_ms() // 1000,
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
        )

    async def verify(self, header: str, activity: dict[str, Any]) -> None:
        """Returns if `header` is the token of this activity. Raises NotSignedError,
        KeysAwayError."""
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer" or not token:
            raise NotSignedError("no token")
        key_id = _key_id(token)
        keys = await self._keys_with(key_id)
        try:
            claims = jwt.decode(token, keys, algorithms=["RS256"]).claims
            self._claims.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            raise NotSignedError(type(error).__name__) from error
        chat = str(activity.get("channelId", ""))
        if chat not in self._endorsed.get(key_id, frozenset()):
            raise NotSignedError(f"the key is not endorsed for {chat[:40]!r}")
        if _bare(claims.get("serviceurl")) != _bare(activity.get("serviceUrl")):
            raise NotSignedError("the token is for another service address")

    async def _keys_with(self, key_id: str) -> KeySet:
        """The keys, asked for anew where they are old or lack this one."""
        age_ms = self._now_ms() - self._asked_ms
        is_stale = age_ms > KEPT_MS or (key_id not in self._endorsed and age_ms > PATIENCE_MS)
        if self._keys is None or is_stale:
            await self._fetch()
        if self._keys is None:
            raise KeysAwayError(f"no keys from {self._keys_url}")
        return self._keys

    async def _fetch(self) -> None:
        """What cannot be had or read is left; the keys that there are serve on."""
        try:
            answer = await self._http.ask("GET", self._keys_url, longest=MAX_KEYS)
            found = [key for key in answer.json()["keys"] if key.get("kty") == "RSA"]
            keys = KeySet.import_key_set({"keys": [_bare_key(key) for key in found]})
            endorsed = {str(k["kid"]): frozenset(k.get("endorsements", ())) for k in found}
        except (Retry, Refused, JoseError, KeyError, TypeError, ValueError) as error:
            log.warning("keys of the Bot Connector not had", error=str(error)[:200])
            return
        self._keys, self._endorsed, self._asked_ms = keys, endorsed, self._now_ms()


def _bare_key(key: dict[str, Any]) -> Any:
    return {name: key[name] for name in ("kty", "kid", "n", "e")}


def _key_id(token: str) -> str:
    """The id of the key that a token names; nothing of it is believed yet."""
    head = token.partition(".")[0]
    try:
        said = msgspec.json.decode(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError) as error:
        raise NotSignedError("no token that can be read") from error
    return str(said.get("kid", "")) if isinstance(said, dict) else ""


def _bare(url: object) -> str:
    return str(url or "").rstrip("/").lower()
