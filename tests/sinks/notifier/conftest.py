"""A notifier on a store of its own, with a clock that the test moves."""

import asyncio
import io
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from schemas.configuration import (
    Catalogue,
    Channels,
    Configuration,
    Recipient,
    Route,
    Secret,
    Service,
)
from schemas.configuration import Notifier as NotifierSection
from schemas.incidents import Command, Delivery, IncidentEvent
from schemas.oncall import MessageLimit
from sinks.notifier import Notifier
from sinks.sink import Publish, Record

TOPIC = "tocsin.incident-events.v1"
NOW_MS = 1_764_000_000_000
NEVER_STALE_SECONDS = 1e9
"""The examples are of another year than the clock."""
CAN_BE_SENT = """
SELECT count(*) FROM notifier_message m WHERE state = 'sending' OR (
    state = 'waiting' AND next_attempt_ms <= :now
    AND channel NOT IN (SELECT channel FROM notifier_pause WHERE until_ms > :now)
    AND NOT EXISTS (
        SELECT 1 FROM notifier_message e WHERE e.seq < m.seq AND e.recipient = m.recipient
        AND e.incident_id = m.incident_id AND e.state IN ('waiting', 'sending')
    )
)
"""
CATALOGUE = Catalogue(
    services=(
        Service(
            name="ts-order-service",
            tier=1,
            owner="orders team",
            public_name="Orders",
            segments=("retail", "business"),
            regions=("eu-west",),
            customers=310,
            runbook="https://wiki.example.org/orders",
        ),
        Service(name="ts-travel-service", public_name="Trip search"),
        Service(name="cartservice"),
    )
)


class Clock:
    """Wall time that stands until it is moved."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


class Kafka:
    """What was published, by topic; refuses while `down`."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, bytes]] = []
        self.down = False

    async def publish(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise ConnectionError("no broker")
        self.records.append((topic, key, value))

    def deliveries(self, status: str | None = None) -> list[Delivery]:
        found = [
            msgspec.json.decode(value, type=Delivery)
            for topic, _, value in self.records
            if topic == "tocsin.deliveries.v1"
        ]
        return [made for made in found if status in (None, made.status)]

    def commands(self) -> list[Command]:
        return [
            msgspec.json.decode(value, type=Command)
            for topic, _, value in self.records
            if topic == "tocsin.commands.v1"
        ]


class Bench:
    """Makes notifiers on one store, feeds them and waits for what they do."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.kafka = Kafka()
        self.console = io.StringIO()
        self.folder = folder
        self.file = folder / "notifier.sqlite3"
        self.store: str | None = None
        self.secrets = {"SLACK": "xoxb-secret", "HOOK": "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="}
        self.offset = 0
        self._running: list[Notifier] = []

    def configuration(
        self,
        *,
        channels: Channels | None = None,
        recipients: tuple[Recipient, ...] = (Recipient(name="console", channel="console"),),
        routes: tuple[Route, ...] | None = None,
        catalogue: Catalogue = CATALOGUE,
        give_up_after_seconds: float = 3600,
        stale_after_seconds: float = NEVER_STALE_SECONDS,
        **more: object,
    ) -> Configuration:
        everyone = Route(name="everyone", recipients=tuple(r.name for r in recipients))
        section = NotifierSection(
            store=self.store or f"sqlite:///{self.file}",
            channels=channels or Channels(),
            recipients=recipients,
            routes=(everyone,) if routes is None else routes,
            give_up_after_seconds=give_up_after_seconds,
            stale_after_seconds=stale_after_seconds,
            limit=MessageLimit(messages=0),
        )
        section = msgspec.structs.replace(section, **more)
        return Configuration(catalogue=catalogue, notifier=section)

    def make(
        self, configuration: Configuration | None = None, publish: Publish | None = None
    ) -> Notifier:
        return Notifier(
            configuration or self.configuration(),
            resolve=self.resolve,
            publish=publish or self.kafka.publish,
            now_ms=self.clock,
            console=self.console,
            settle_seconds=0,
        )

    def resolve(self, secret: Secret) -> str:
        return self.secrets[secret.env or ""]

    async def start(self, configuration: Configuration | None = None) -> Notifier:
        notifier = self.make(configuration)
        await notifier.start()
        self._running.append(notifier)
        return notifier

    async def crash(self) -> None:
        """From here on there is only what the store had committed when this was called."""
        copy = self.folder / f"crashed-{self.offset}-{len(self._running)}.sqlite3"
        with sqlite3.connect(self.file) as source, sqlite3.connect(copy) as target:
            source.backup(target)
        old, self._running = self._running, []
        kafka, self.kafka = self.kafka, Kafka()
        self.kafka.records = list(kafka.records)
        self.file = copy
        for notifier in old:
            await notifier.stop()

    def record(self, event: IncidentEvent, *, age_seconds: float = 0) -> Record:
        made = Record(
            topic=TOPIC,
            partition=0,
            offset=self.offset,
            timestamp_ms=self.clock() - int(age_seconds * 1000),
            key=event.incident_id.encode(),
            value=msgspec.json.encode(event),
        )
        self.offset += 1
        return made

    async def feed(self, notifier: Notifier, *events: IncidentEvent) -> None:
        await notifier.apply([self.record(event) for event in events])

    async def settle(self, notifier: Notifier, seconds: float = 0) -> None:
        """Moves the clock, and waits until there is nothing more to do at that time."""
        self.clock.advance(seconds)
        notifier.wake()
        await until(self.is_idle, "that all is done")

    def is_idle(self) -> bool:
        """Whether no timer is due, no message can be sent and no record waits for Kafka."""
        with sqlite3.connect(self.file) as store:
            return not any(
                store.execute(query, {"now": self.clock()}).fetchone()[0]
                for query in (
                    "SELECT count(*) FROM notifier_timer WHERE due_ms <= :now",
                    CAN_BE_SENT,
                    "SELECT count(*) FROM notifier_delivery",
                )
            )

    async def close(self) -> None:
        for notifier in self._running:
            await notifier.stop()


async def until(
    condition: Callable[[], object], what: str = "the condition", seconds: float = 8
) -> None:
    """Returns once the condition holds; fails after some seconds."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"{what} did not come true")


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    await made.close()
