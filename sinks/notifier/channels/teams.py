"""Messages to Microsoft Teams: an Adaptive Card to the URL of a workflow.

A card that a workflow posted cannot be changed and has no thread, so each message stands for
itself; `teams_bot` can do both. The URL is a secret; the whole request may have 28 KB.

See https://learn.microsoft.com/power-automate/create-adaptive-cards.
"""

from collections.abc import Callable

from sinks.notifier.channels.channel import Message, Receipt
from sinks.notifier.channels.http import Http
from sinks.notifier.channels.teams_cards import attachment, fitting
from sinks.outgoing import Outgoing


class Teams:
    """Posts cards to one workflow. Redirects are not followed."""

    messages = 4.0
    per_seconds = 1.0
    concurrency = 2

    def __init__(
        self,
        url: str,
        now_ms: Callable[[], int],
        timeout_seconds: float = 15,
        outgoing: Outgoing | None = None,
    ) -> None:
        self._url = url
        self._http = Http("Teams", now_ms, timeout_seconds, outgoing)

    async def send(self, message: Message) -> Receipt:
        """Posts the card. 2xx is taken, 401, 403, 408, 429 and 5xx may be later."""
        await self._http.post(self._url, request_of(message), {"Idempotency-Key": message.id})
        return Receipt()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()


def request_of(message: Message) -> bytes:
    """The card within its limit: what is too much is left out from the end, and it says so."""
    return fitting(
        message,
        message.text,
        lambda card: {"type": "message", "attachments": [attachment(card)]},
    )
