"""A process that can die, or stand still, between any two of its effects."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

_current: ContextVar["Process | None"] = ContextVar("process", default=None)


class Process:
    """Everything that runs on behalf of one process, and what it may still do.

    Whatever reaches beyond the process (a record, a transaction, a request) asks `step` before and
    after. There a process dies if that was its last step: nothing that was not done by then is
    done any more, whatever its tasks still try while they are unwound.

    Parameters
    ----------
    name
        Its name in what is told of a failure.
    now_ms
        Its wall clock.
    last_step
        The step at which it dies; it never does by itself if None.
    """

    def __init__(self, name: str, now_ms: Callable[[], int], last_step: int | None = None) -> None:
        self.name = name
        self.now_ms = now_ms
        self.steps = 0
        self.last_step = last_step
        self.is_dead = False
        self.ended = asyncio.Event()
        self.failure: BaseException | None = None
        self.on_death: list[Callable[[], None]] = []
        self.store: Any = None
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in an order, as a set is not
        self._goes = asyncio.Event()
        self._goes.set()

    def start(self, main: Coroutine[Any, Any, None]) -> None:
        """Runs `main` as the process; it has ended when that has."""
        self.spawn(self._main(main))

    def spawn(self, body: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this process, from outside of it."""
        context = copy_context()
        context.run(_current.set, self)
        return asyncio.get_running_loop().create_task(body, context=context)

    async def _main(self, main: Coroutine[Any, Any, None]) -> None:
        try:
            await main
        except Exception as error:
            self.failure = error
        finally:
            self.kill()

    async def step(self) -> None:
        """A point at which the process may die or stand still."""
        if not self._goes.is_set():
            await self._goes.wait()
        self.count()

    def count(self) -> None:
        """As `step`, where nothing can be awaited."""
        if self.is_dead:
            raise asyncio.CancelledError(f"{self.name} is dead")
        self.steps += 1
        if self.last_step is not None and self.steps >= self.last_step:
            self.kill()
            raise asyncio.CancelledError(f"{self.name} dies")

    def freeze(self) -> None:
        """It stands still at its next step, as a machine that is out of memory does."""
        self._goes.clear()

    def thaw(self) -> None:
        """It goes on."""
        self._goes.set()

    @property
    def is_frozen(self) -> bool:
        """Whether it stands still."""
        return not self._goes.is_set()

    def kill(self) -> None:
        """As by kill -9."""
        if self.is_dead:
            return
        self.is_dead = True
        self._goes.set()
        for told in self.on_death:
            told()
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        self.ended.set()

    async def buried(self) -> None:
        """Returns once nothing of it is left."""
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        await asyncio.gather(*others, return_exceptions=True)

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """The task belongs to the process."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))


def current() -> Process:
    """The process that the running task belongs to."""
    process = _current.get()
    if process is None:
        raise RuntimeError("no simulated process runs here")
    return process


def task_factory(
    loop: asyncio.AbstractEventLoop, body: Coroutine[Any, Any, Any] | Any, **given: Any
) -> "asyncio.Task[Any]":
    """Makes tasks and gives each to the process that it is begun in."""
    task: asyncio.Task[Any] = asyncio.Task(body, loop=loop, **given)
    context = given.get("context")
    process = context.get(_current) if context is not None else _current.get()
    if process is not None:
        process.adopt(task)
    return task
