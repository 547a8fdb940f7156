"""A Faust agent in the simulation."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from deploy.simulation.process import current
from streams.run import Run

Body = Callable[[Run], Awaitable[None]]


class Agent:
    """Works through runs one after the other, and acknowledges each after its body."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._runs: deque[Run] = deque()
        self._given = asyncio.Event()

    def give(self, run: Run) -> None:
        self._runs.append(run)
        self._given.set()

    def clear(self) -> None:
        self._runs.clear()

    async def run(self, acked: Callable[[Run], None]) -> None:
        while True:
            while self._runs:
                run = self._runs.popleft()
                await current().step()
                await self._body(run)
                acked(run)
            self._given.clear()
            await self._given.wait()
