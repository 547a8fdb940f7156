"""The two services behind Teams, Graph and the Bot Connector, with the tokens that each wants."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from schemas.configuration import TeamsBot
from sinks.notifier.channels.channel import Refused, Retry
from sinks.notifier.channels.http import Answer, Http, judge
from sinks.oauth import ClientCredentials, TokenError
from sinks.outgoing import Outgoing

GRAPH_SCOPE = "https://graph.microsoft.com/.default"
CONNECTOR_SCOPE = "https://api.botframework.com/.default"
MAX_ANSWER = 262_144


class Service:
    """Asks one of them, with its token; a token that is turned away is fetched anew, once."""

    def __init__(self, base_url: str, http: Http, tokens: ClientCredentials) -> None:
        self._base_url = base_url.rstrip("/")
        self._http = http
        self._tokens = tokens

    async def ask(
        self, method: str, path: str, body: bytes | Mapping[str, Any] | None = None
    ) -> Answer:
        """What the service answers, whatever it is; limits are raised as Retry."""
        answer = await self._ask(method, path, body)
        if answer.status == 401:
            self._tokens.forget()
            answer = await self._ask(method, path, body)
        if answer.status == 429:
            judge(answer.status, answer.after_seconds, self._http.who)
        return answer

    async def do(
        self, method: str, path: str, body: bytes | Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The answer's JSON, once it was done. Raises Retry, Refused."""
        answer = await self.ask(method, path, body)
        self.judge(answer)
        return answer.json()

    def judge(self, answer: Answer) -> None:
        """Raises Retry or Refused for what was not done. 412 passes by itself, the Bot
        Connector's documentation says; what it calls the mistake is in the detail."""
        status = 503 if answer.status == 412 else answer.status
        try:
            judge(status, answer.after_seconds, self._http.who)
        except Refused as refused:
            raise Refused(f"{refused.detail} {code_in(answer)}".strip()) from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()

    async def _ask(self, method: str, path: str, body: bytes | Mapping[str, Any] | None) -> Answer:
        try:
            token = await self._tokens.token()
        except TokenError as error:
            failure: Any = "auth" if error.is_refused else "unreachable"
            raise Retry(failure, str(error), error.after_seconds) from error
        sent = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self._base_url}{path}"
        return await self._http.ask(method, url, sent, headers, longest=MAX_ANSWER)


def services(
    settings: TeamsBot, password: str, now_ms: Callable[[], int], outgoing: Outgoing | None = None
) -> tuple[Service, Service]:
    """Graph and the Bot Connector of a bot."""
    token_url = f"{settings.login_url.rstrip('/')}/{settings.tenant}/oauth2/v2.0/token"

    def one(who: str, base_url: str, scope: str) -> Service:
        tokens = ClientCredentials(token_url, settings.app_id, password, scope, outgoing=outgoing)
        return Service(base_url, Http(who, now_ms, 15, outgoing), tokens)

    return (
        one("Graph", settings.graph_url, GRAPH_SCOPE),
        one("Teams", settings.service_url, CONNECTOR_SCOPE),
    )


def code_in(answer: Answer) -> str:
    """What the service calls the mistake, such as `ConversationNotFound`; empty if nothing."""
    error = answer.json().get("error")
    return str(error.get("code", ""))[:60] if isinstance(error, dict) else ""
