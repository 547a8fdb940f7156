"""The contract between a sink and the process that hosts it."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.routing import BaseRoute


@dataclass(frozen=True, slots=True)
class Record:
    """One record read from a topic, its value still bytes. `timestamp_ms` is Kafka's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class Publish(Protocol):
    """Writes one record to Kafka and returns once the broker has acknowledged it."""

    def __call__(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None
    ) -> Awaitable[None]: ...


class Sink(Protocol):
    """A small service that turns incident events into effects.

    The host reads `topics` from the positions that the sink's own store holds, hands over records
    in order, serves `routes()` beside health and metrics, and calls `start` and `stop` once.
    """

    @property
    def name(self) -> str:
        """Its name in logs and metrics."""

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that it reads."""

    async def start(self) -> None:
        """Opens the store, brings its schema up to date, starts what the sink runs itself."""

    async def positions(self) -> Mapping[tuple[str, int], int]:
        """The next offset to read by topic and partition, from the sink's own store."""

    async def apply(self, records: Sequence[Record]) -> None:
        """Takes records in, with their positions, in one transaction. A repeat changes nothing.

        Raises whatever the store raises; the host then stops, and a restart reads them again.
        """

    async def stop(self) -> None:
        """Finishes what is under way and closes the store."""

    def routes(self) -> list[BaseRoute]:
        """What the sink serves over HTTP."""
