"""Receivers of messages that answer late, wrongly or not at all, and honour the message's id."""

import asyncio
import random
from dataclasses import dataclass

from deploy.simulation.process import Process
from sinks.notifier.channels import Message, Receipt, Retry
from sinks.notifier.channels.http import judge
from sinks.notifier.channels.webhook import webhook_body

TIMEOUT_SECONDS = 10.0
"""As long as the webhook channel waits for an answer."""
_MOODS = ("well", "well", "well", "well", "well", "well", "busy", "broken", "mute", "forgetful")


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as its receiver showed it to somebody, once."""

    at_ms: int
    message: Message
    body: bytes


class Receiver:
    """One endpoint. A request with an id that it has seen is answered and not shown again.

    Parameters
    ----------
    chance
        Decides how each request fares.
    """

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self.shown: dict[str, Shown] = {}
        self.conflicts: list[str] = []
        self.is_deaf = False
        self._chance = chance

    async def take(self, message: Message, body: bytes, now_ms: int) -> tuple[int, float | None]:
        """HTTP status and Retry-After. May not answer before the caller's patience is over."""
        mood = self._chance.choice(("broken", "mute") if self.is_deaf else _MOODS)
        await asyncio.sleep(self._chance.choice((0.01, 0.05, 0.4)))
        if mood == "busy":
            return 429, self._chance.choice((None, 2.0))
        if mood == "broken":
            return self._chance.choice((500, 503)), None
        if mood == "mute":
            await asyncio.sleep(3600)
        self._show(message, body, now_ms)
        if mood == "forgetful":  # it took the message and never says so
            await asyncio.sleep(3600)
        return 200, None

    def _show(self, message: Message, body: bytes, now_ms: int) -> None:
        before = self.shown.setdefault(message.id, Shown(now_ms, message, body))
        if before.body != body:
            self.conflicts.append(message.id)


class Webhook:
    """As `sinks.notifier.channels.webhook.Webhook`, to a simulated receiver."""

    messages = 10.0
    per_seconds = 1.0
    concurrency = 4

    def __init__(self, receiver: Receiver, process: Process) -> None:
        self._receiver = receiver
        self._process = process

    async def send(self, message: Message) -> Receipt:
        """Posts the message. Raises Retry or Refused, as the real one does."""
        await self._process.step()
        body = webhook_body(message)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, after = await self._receiver.take(message, body, self._process.now_ms())
        except TimeoutError as error:
            raise Retry("unreachable", f"TimeoutError from {self._receiver.name}") from error
        await self._process.step()
        judge(status, after)
        return Receipt()

    async def close(self) -> None:
        """There is no connection."""
