"""Keeps processes running: starts each again a while after it has ended, until the run is over."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from deploy.simulation.process import Process

Main = Callable[[Process], tuple[Coroutine[Any, Any, None], asyncio.Event]]
"""Makes one life of a process: what it does, and what asks it to end."""


class Host:
    """One process and its successors.

    Parameters
    ----------
    name
        What disturbances call it.
    main
        Makes one life.
    chance
        Decides how long it is away.
    now_ms
        The wall clock.
    """

    def __init__(
        self, name: str, main: Main, chance: random.Random, now_ms: Callable[[], int]
    ) -> None:
        self.name = name
        self.lives = 0
        self.gave_up: list[BaseException] = []
        self.process: Process | None = None
        self._main = main
        self._now_ms = now_ms
        self._chance = chance
        self._stop: asyncio.Event | None = None
        self._is_over = False

    async def run(self) -> None:
        """One life after the other."""
        while not self._is_over:
            self.lives += 1
            process = self.process = Process(f"{self.name}, life {self.lives}", self._now_ms)
            body, self._stop = self._main(process)
            process.start(body)
            await process.ended.wait()
            self.process = None
            await process.buried()
            if process.failure is not None:
                self.gave_up.append(process.failure)
            if not self._is_over:
                await asyncio.sleep(self._chance.choice((0.1, 1.0, 4.0)))

    def kill(self, step: int) -> None:
        """It dies at its step after so many more."""
        if self.process is not None:
            self.process.last_step = self.process.steps + step

    def stop(self) -> None:
        """As by SIGTERM."""
        if self._stop is not None:
            self._stop.set()

    def end(self) -> None:
        """As `stop`, and it is not started again."""
        self._is_over = True
        self.stop()
