"""A shop's status page: its configuration, lives of incidents, and the page under a test client."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvicorn
from starlette.applications import Starlette

from schemas.anomalies import AnomalyKind
from schemas.configuration import Catalogue, Component, Configuration, Service
from schemas.configuration import StatusPage as Section
from schemas.incidents import (
    EventType,
    Grading,
    Impact,
    Incident,
    IncidentEvent,
    Severity,
    Signal,
)
from sinks.sink import Record
from sinks.status_page import StatusPage
from tests.sinks.examples import event, record

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
NOW_MS = 1_796_216_700_000  # 2026-12-02T13:05:00Z

COMPONENTS = (
    Component(name="Storefront", services=("frontend",), group="Shop"),
    Component(name="Search and catalogue", services=("catalog", "search"), group="Shop"),
    Component(
        name="Checkout",
        services=("checkout", "payment"),
        group="Shop",
        description="Placing and paying for an order",
    ),
    Component(name="Order tracking", services=("tracking",), group="After the order"),
    Component(name="E-mail notifications", services=("mailer",), group="After the order"),
)


@dataclass
class Clock:
    """A clock that moves when it is told to."""

    now_ms: int = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


def configuration(store: Path, components: Sequence[Component] = COMPONENTS) -> Configuration:
    """A page over a store file; five components in two groups unless others are given."""
    return Configuration(
        status_page=Section(
            store=f"sqlite:///{store}",
            title="Harbour Shop",
            public_url="https://status.harbour.example",
            components=tuple(components),
        ),
        catalogue=Catalogue(
            services=(Service(name="checkout", public_name="Ordering"), Service(name="ledger"))
        ),
    )


def incident(
    number: int = 1,
    *,
    services: tuple[str, ...] = ("checkout",),
    kinds: tuple[AnomalyKind, ...] = ("error_ratio",),
    severity: Severity = "P2",
    started_ms: int = NOW_MS - 20 * MINUTE_MS,
    **changes: Any,
) -> Incident:
    """An open public incident as it is when opened, one minute after its first anomaly."""
    opened_ms = started_ms + MINUTE_MS
    made = Incident(
        id=f"INC-{number:04}",
        environment="production",
        version=1,
        title="internal title: checkout-7f9c on node-3 is failing",
        summary="internal summary: checkout calls ledger, which is out of connections",
        severity=severity,
        grading=Grading(severity=severity, impact=2, urgency=1, steps=()),
        impact=Impact(requests=1200, errors=96),
        state="investigating",
        public_phase="investigating",
        visibility="public",
        services=services,
        suspected_causes=("ledger",),
        causes=(),
        signals=tuple(
            Signal(
                service=service,
                series=f'secret_series{{service="{service}",instance="{service}-7f9c"}}',
                kind=kind,
                first_ms=started_ms,
                last_ms=started_ms,
                score=9.87654,
                reason="secret reason",
                instance=f"{service}-7f9c",
                example="secret log line at 10.1.2.3",
            )
            for service in services
            for kind in kinds
        ),
        opened_ms=opened_ms,
        first_anomaly_ms=started_ms,
        last_anomaly_ms=started_ms,
        updated_ms=opened_ms,
    )
    return msgspec.structs.replace(made, **changes)


def then(before: IncidentEvent, type: EventType, after_ms: int, **changes: Any) -> IncidentEvent:
    """The next event of an incident, `after_ms` later."""
    return event(
        msgspec.structs.replace(
            before.incident,
            version=before.version + 1,
            updated_ms=before.time_ms + after_ms,
            **changes,
        ),
        type,
    )


def life(opened: Incident, lasts_ms: int = 40 * MINUTE_MS) -> list[IncidentEvent]:
    """Opened, cause found, watched and resolved, `lasts_ms` after the first anomaly."""
    step_ms = lasts_ms // 3
    first = event(opened, "opened")
    found = then(first, "updated", step_ms, state="identified", public_phase="identified")
    watched = then(found, "updated", step_ms, state="monitoring", public_phase="monitoring")
    end_ms = opened.first_anomaly_ms + lasts_ms
    resolved = then(
        watched,
        "resolved",
        end_ms - watched.time_ms,
        state="resolved",
        public_phase="resolved",
        resolved_ms=end_ms,
        last_anomaly_ms=end_ms,
    )
    return [first, found, watched, resolved]


def quarter() -> list[IncidentEvent]:
    """Three months of a shop: five resolved incidents and an open P2."""
    past: list[tuple[int, int, tuple[str, ...], tuple[AnomalyKind, ...], Severity]] = [
        (81, 25, ("search",), ("latency",), "P3"),
        (63, 130, ("mailer", "tracking"), ("error_ratio", "latency"), "P2"),
        (40, 52, ("checkout", "frontend"), ("silence", "error_ratio"), "P1"),
        (17, 33, ("frontend",), ("latency",), "P3"),
        (6, 71, ("tracking",), ("error_log_rate",), "P2"),
    ]
    events: list[IncidentEvent] = []
    for number, (days_ago, minutes, services, kinds, severity) in enumerate(past, start=1):
        started_ms = NOW_MS - days_ago * DAY_MS - 95 * MINUTE_MS
        opened = incident(
            number, services=services, kinds=kinds, severity=severity, started_ms=started_ms
        )
        events += life(opened, minutes * MINUTE_MS)
    opened = incident(
        6, kinds=("error_ratio", "latency"), severity="P2", started_ms=NOW_MS - 42 * MINUTE_MS
    )
    first = event(opened, "opened")
    events += [
        first,
        then(first, "updated", 14 * MINUTE_MS, state="identified", public_phase="identified"),
    ]
    return events


@dataclass(frozen=True)
class Answer:
    """A response that has been read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass
class Running:
    """A started page, a client on it, and the offset to write next."""

    page: StatusPage
    session: aiohttp.ClientSession
    url: str
    clock: Clock
    offset: int = 0
    last: list[Record] = field(default_factory=list)

    async def say(self, events: Iterable[IncidentEvent]) -> None:
        """Hands the events over as the next records of the topic."""
        self.last = [record(one, self.offset + index) for index, one in enumerate(events)]
        self.offset += len(self.last)
        await self.page.apply(self.last)

    async def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """One request; header names are written with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.url + path, headers=named) as response:
            return Answer(response.status, response.headers, await response.text())

    async def json(self, document: str) -> Any:
        """A document below `/api/v2/`, which must be there."""
        answer = await self.ask(f"/api/v2/{document}")
        assert answer.status == 200, answer.text
        return msgspec.json.decode(answer.text)

    async def text(self, path: str = "/") -> str:
        """A page's text, which must be there."""
        answer = await self.ask(path)
        assert answer.status == 200, answer.text
        return answer.text


def page_of(settings: Configuration, clock: Clock | None = None) -> StatusPage:
    """The page, not started; its secrets are their variables' names."""
    return StatusPage(settings, resolve=lambda secret: secret.env or "", now_ms=clock or Clock())


@asynccontextmanager
async def running(settings: Configuration, clock: Clock | None = None) -> AsyncIterator[Running]:
    """Starts the page, serves it on a free port, and stops it at the end."""
    clock = clock or Clock()
    page = page_of(settings, clock)
    await page.start()
    positions = await page.positions()
    # asyncio turns Nagle's algorithm off only where the protocol is named; else 40 ms a request.
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app = Starlette(routes=page.routes())
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        async with aiohttp.ClientSession() as session:
            # The socket listens already: the first request waits until the server takes it.
            yield Running(page, session, url, clock, max(positions.values(), default=0))
    finally:
        server.should_exit = True
        await serving
        await page.stop()
