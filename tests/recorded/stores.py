"""The sinks over the stores of a recording; the same for who records and who reads."""

import asyncio
import io
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from schemas.configuration import (
    CaseStore as CaseStoreSection,
)
from schemas.configuration import (
    Configuration,
    Recipient,
    Route,
)
from schemas.configuration import (
    Notifier as NotifierSection,
)
from schemas.configuration import (
    StatusPage as StatusPageSection,
)
from schemas.incidents import Delivery
from sinks.case_store import CaseStore
from sinks.notifier import Notifier
from sinks.sink import Record, Sink
from sinks.status_page import StatusPage
from tests.recorded.workload import CONFIGURATION, MINUTE_MS, RECORDED_MINUTES, START_MS

NOW_MS = START_MS + RECORDED_MINUTES * MINUTE_MS


class Log:
    """What sinks publish."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, bytes]] = []

    async def __call__(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self.records.append((topic, key, value))

    def deliveries(self) -> list[Delivery]:
        """The deliveries among it."""
        topic = CONFIGURATION.topics.deliveries
        return [msgspec.json.decode(v, type=Delivery) for t, _, v in self.records if t == topic]


def configuration(folder: Path) -> Configuration:
    """Stores in a folder; one person is told everything on the console."""

    def store(name: str) -> str:
        return f"sqlite:///{folder}/{name}.sqlite3"

    return msgspec.structs.replace(
        CONFIGURATION,
        notifier=NotifierSection(
            store=store("notifier"),
            recipients=(Recipient(name="ops", channel="console"),),
            routes=(Route(name="all", recipients=("ops",)),),
        ),
        case_store=CaseStoreSection(store=store("case-store")),
        status_page=StatusPageSection(store=store("status-page")),
    )


def sinks(folder: Path, published: Log) -> dict[str, Sink]:
    """A sink each, by the name of its store."""
    c = configuration(folder)

    def now_ms() -> int:
        return NOW_MS

    return {
        "notifier": Notifier(
            c,
            resolve=str,
            publish=published,
            now_ms=now_ms,
            console=io.StringIO(),
            settle_seconds=0,
        ),
        "case-store": CaseStore(c, resolve=str, publish=published, now_ms=now_ms),
        "status-page": StatusPage(c, resolve=str, now_ms=now_ms),
    }


def records(topic: str, values: Sequence[bytes], first_offset: int = 0) -> list[Record]:
    """Values as a sink is given them."""
    return [
        Record(topic, 0, first_offset + i, NOW_MS, None, value) for i, value in enumerate(values)
    ]


async def fill(folder: Path, events: Sequence[bytes]) -> list[bytes]:
    """Fills the stores with events and what came of telling them; the deliveries."""
    published = Log()
    each = sinks(folder, published)
    for sink in each.values():
        await sink.start()
        await sink.apply(records(CONFIGURATION.topics.incident_events, events))
    for _ in range(200):
        if any(d.status == "sent" for d in published.deliveries()):
            break
        await asyncio.sleep(0.02)
    deliveries = [msgspec.json.encode(d) for d in published.deliveries()]
    await each["case-store"].apply(records(CONFIGURATION.topics.deliveries, deliveries))
    for sink in each.values():
        await sink.stop()
    return deliveries


def dumped(file: Path) -> str:
    """A store as SQL, which says more to a reader of a change than pages of bytes."""
    with sqlite3.connect(file) as store:
        return "\n".join(store.iterdump())
