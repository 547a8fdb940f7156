"""People: they press the links in messages, and say things at the case store."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

from deploy.simulation.process import Process
from deploy.simulation.receivers import Receiver, Shown
from deploy.simulation.sinks import SECRETS, Life

_PATIENCE = 6
_LOOKS_SECONDS = 1.0
_SAID = (
    {"type": "note", "text": "We look into it."},
    {"type": "public_message", "text": "We are working on it."},
    {"type": "set_severity", "severity": "P2"},
    {"type": "unacknowledge"},
    {"type": "resolve", "text": "It is mended."},
)

Running = Callable[[str], tuple[Process, Life] | None]
"""The process and life of a sink that is up; None while it is not."""


@dataclass(frozen=True, slots=True)
class Pressed:
    """Somebody has pressed the link of a message, and was told that they have the incident now."""

    at_ms: int
    incident_id: str


@dataclass(slots=True)
class People:
    """What they do, and what they were told that it came to.

    Parameters
    ----------
    running
        Where requests go.
    now_ms
        The wall clock.
    """

    chance: random.Random
    running: Running
    now_ms: Callable[[], int]
    pressed: list[Pressed] = field(default_factory=list)
    _is_at_rest: bool = False

    def rest(self) -> None:
        """Nobody does anything more."""
        self._is_at_rest = True

    async def watch(self, receiver: Receiver) -> None:
        """Looks at what a receiver shows, and acts on some of it, for ever."""
        known: set[str] = set()
        while True:
            await asyncio.sleep(_LOOKS_SECONDS)
            for id, shown in list(receiver.shown.items()):
                if id not in known:
                    known.add(id)
                    await self._see(shown)

    async def _see(self, shown: Shown) -> None:
        act = self.chance.choice(("acknowledge", "acknowledge", "say", "nothing", "nothing"))
        link = next((x.url for x in shown.message.links if "/acknowledge/" in x.url), None)
        if act == "acknowledge" and link is not None:
            await asyncio.sleep(self.chance.choice((0.5, 3.0, 9.0)))
            await self._press(urlsplit(link).path, shown.message.incident_id)
        elif act == "say" and shown.message.incident_id:
            await asyncio.sleep(self.chance.choice((0.5, 6.0)))
            await self._say(shown.message.incident_id, shown.message.id)

    async def _press(self, path: str, incident_id: str) -> None:
        for _ in range(_PATIENCE):
            status = await self._post("notifier", path, b"name=grace", "")
            if status == 200:
                self.pressed.append(Pressed(self.now_ms(), incident_id))
                return
            await asyncio.sleep(2)

    async def _say(self, incident_id: str, key: str) -> None:
        asked = {"actor": "grace", **self.chance.choice(_SAID)}
        path = f"/api/v1/incidents/{incident_id}/commands"
        for _ in range(_PATIENCE):
            status = await self._post("case-store", path, msgspec.json.encode(asked), key)
            if status is not None and status < 500 and status != 404:
                return
            await asyncio.sleep(2)

    async def _post(self, sink: str, path: str, body: bytes, key: str) -> int | None:
        """The status of the answer; None if there was none."""
        found = None if self._is_at_rest else self.running(sink)
        if found is None:
            return None
        process, life = found
        task = process.spawn(_request(life, path, body, key))
        await asyncio.wait([task])
        return None if task.cancelled() or task.exception() else task.result()


async def _request(life: Life, path: str, body: bytes, key: str) -> int:
    """Asks the sink's own routes, without a socket."""
    status = 500
    waiting = [{"type": "http.request", "body": body, "more_body": False}]
    headers = {
        "host": "localhost",
        "authorization": f"Bearer {SECRETS['TOKEN']}",
        "idempotency-key": key,
        "content-type": "application/x-www-form-urlencoded" if not key else "application/json",
    }

    async def receive() -> dict[str, object]:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = int(str(message["status"]))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items() if value],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    await life.pages(scope, receive, send)  # type: ignore[arg-type]
    return status
