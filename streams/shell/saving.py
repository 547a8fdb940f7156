"""In which order the stages of a worker save themselves."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

SIDE_BY_SIDE = 16
"""Small stages that save themselves at the same time."""

T = TypeVar("T")


async def each(
    small: Iterable[T], large: Iterable[T], body: Callable[[T], Awaitable[None]]
) -> None:
    """Calls `body` with all: with those that are many and small side by side, so that a rebalance
    need not wait for one after the other; with the rest one by one.

    Raises the first error of the small ones once all of those are done with.
    """
    places = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(item: T) -> None:
        async with places:
            await body(item)

    done = await asyncio.gather(*map(one, small), return_exceptions=True)
    for failure in done:
        if failure is not None:
            raise failure
    for item in large:
        await body(item)
