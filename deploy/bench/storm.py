"""`tocsin bench storm`: what people get when everything breaks at once.

A real notifier with its real store takes in one alert after the other, each an incident of its
own, and sends over HTTP to a receiver of our own that counts. Only the clock is ours: the alerts
come within one minute of it, however long that takes, and then it runs on until nothing is held
back any more.
"""

import asyncio
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from aiohttp import web
from rich.progress import Progress
from rich.table import Table

from deploy.console import new_console
from deploy.logs import configure
from deploy.routing_tests import MadeUp, made_up
from schemas.configuration import (
    Catalogue,
    Channels,
    Configuration,
    Logging,
    Notifier,
    Recipient,
    Route,
    Service,
    WebhookChannel,
)
from schemas.incidents import IncidentEvent, Severity
from schemas.oncall import Cadence, Escalation, MessageLimit, Step
from sinks.database import Database
from sinks.notifier import Notifier as NotifierSink
from sinks.notifier import tables
from sinks.notifier.store import read_trail
from sinks.notifier.verdicts import verdict
from sinks.sink import Record

START_MS = 1_764_000_000_000
STORM_SECONDS = 60
BATCH = 500
"""Records that a host hands over at once."""
SETTLED_SECONDS = 3_600
"""How long after the storm everything must have been delivered, by the clock of the run."""
TICK_SECONDS = 5.0
WAIT_SECONDS = 0.1
SERVICES = 40
TO_DO = (
    "SELECT count(*) FROM notifier_timer WHERE due_ms <= :now",
    "SELECT count(*) FROM notifier_message WHERE state = 'sending'",
    "SELECT count(*) FROM notifier_message WHERE state = 'waiting' AND next_attempt_ms <= :now",
)
LEFT = "SELECT count(*) FROM notifier_message WHERE state IN ('held', 'digested', 'waiting')"
CONTACTS: dict[str, Literal["engineer", "manager", "support", "customer"]] = {
    "on call": "engineer",
    "team": "engineer",
    "manager": "manager",
    "support": "support",
    "customers": "customer",
}


class Contact(msgspec.Struct, frozen=True):
    """What one contact got."""

    name: str
    alerts: int
    messages: int
    most_in_a_span: int
    over_limit: int
    unaccounted: int


class Result(msgspec.Struct, frozen=True):
    """`alerts` went in, `messages` reached all contacts together. `unaccounted` counts alerts and
    contacts that a route joins and of which nothing is known; `over_limit` messages that came
    above a contact's limit in some span. `intake_seconds` is wall time, on this machine, and
    `longest_wait_seconds` what a timer that was due meanwhile had to wait for the store at most."""

    alerts: int
    messages: int
    unaccounted: int
    over_limit: int
    limit: int
    per_seconds: float
    intake_seconds: float
    longest_wait_seconds: float
    contacts: tuple[Contact, ...]


def run_storm(*, alerts: int, limit: int, per_seconds: float, json: Path | None) -> int:
    """Prints what each contact got; 1 if anything is unaccounted or above a limit."""
    console = new_console()
    configure(Logging(level="ERROR", format="console"), "storm")
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        task = progress.add_task("alerts", total=alerts)
        storm = _Storm(Path(folder), MessageLimit(messages=limit, per_seconds=per_seconds))
        result = asyncio.run(storm.run(alerts, lambda done: progress.update(task, completed=done)))
    table = Table("contact", "alerts", "messages", "most in a span", "unaccounted")
    for each in result.contacts:
        row = (each.alerts, each.messages, each.most_in_a_span, each.unaccounted)
        table.add_row(each.name, *(f"{value:,}" for value in row))
    console.print(table)
    console.print(
        f"{result.alerts:,} alerts in {STORM_SECONDS} s, at most {limit} messages in "
        f"{per_seconds:g} s each: {result.messages:,} messages, {result.unaccounted} unaccounted, "
        f"{result.over_limit} over the limit; taken in within {result.intake_seconds:.0f} s, in "
        f"which a timer waited {result.longest_wait_seconds:.1f} s at most"
    )
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    return 1 if result.unaccounted or result.over_limit else 0


Report = Callable[[int], None]
"""Told how many alerts have gone in."""


class _Storm:
    def __init__(self, folder: Path, limit: MessageLimit) -> None:
        self._limit = limit
        self._file = folder / "notifier.sqlite3"
        self._now_ms = START_MS
        self._received: dict[str, list[int]] = {}
        self._names = tuple(CONTACTS)

    async def run(self, alerts: int, report: Report) -> Result:
        events = [_alert(number) for number in range(alerts)]
        runner, port = await self._receive()
        configuration = self._configuration(port)
        store = Database(tables.SCHEMA, configuration.notifier.store)
        notifier = NotifierSink(
            configuration,
            resolve=lambda _: "",
            publish=_nowhere,
            now_ms=lambda: self._now_ms,
            settle_seconds=0,
            database=store,
        )
        waits = _Waits(store)
        try:
            await notifier.start()
            waits.begin()
            began = time.monotonic()
            for start in range(0, alerts, BATCH):
                await notifier.apply(self._records(events, start))
                self._now_ms = START_MS + (start + BATCH) * STORM_SECONDS * 1000 // alerts
                notifier.wake()
                report(min(alerts, start + BATCH))
            intake_seconds = time.monotonic() - began
            await waits.end()
            await self._settle(notifier)
        finally:
            await notifier.stop()
            await runner.cleanup()
        contacts = await self._contacts(events, configuration)
        return Result(
            alerts=alerts,
            messages=sum(each.messages for each in contacts),
            unaccounted=sum(each.unaccounted for each in contacts),
            over_limit=sum(each.over_limit for each in contacts),
            limit=self._limit.messages,
            per_seconds=self._limit.per_seconds,
            intake_seconds=round(intake_seconds, 1),
            longest_wait_seconds=round(waits.longest_seconds, 2),
            contacts=tuple(contacts),
        )

    async def _settle(self, notifier: NotifierSink) -> None:
        """Lets the clock run on until everything that was held back has gone out."""
        end_ms = self._now_ms + SETTLED_SECONDS * 1000
        while self._now_ms < end_ms:
            if self._is_busy():
                await asyncio.sleep(0.01)
                continue
            if not self._count(LEFT):
                return
            self._now_ms += round(TICK_SECONDS * 1000)
            notifier.wake()

    def _is_busy(self) -> bool:
        """Whether there is something to do at this time of the run."""
        return any(self._count(query) for query in TO_DO)

    def _count(self, query: str) -> int:
        with sqlite3.connect(self._file) as store:
            return int(store.execute(query, {"now": self._now_ms}).fetchone()[0])

    async def _contacts(
        self, events: Sequence[IncidentEvent], configuration: Configuration
    ) -> list[Contact]:
        concerned = {name: self._concerning(configuration, name, events) for name in self._names}
        unknown = await self._unaccounted(concerned)
        span_ms = round(self._limit.per_seconds * 1000)
        found = []
        for name in self._names:
            times = sorted(self._received.get(name, []))
            most = max((sum(at - span_ms < o <= at for o in times) for at in times), default=0)
            found.append(
                Contact(
                    name=name,
                    alerts=len(concerned[name]),
                    messages=len(times),
                    most_in_a_span=most,
                    over_limit=max(0, most - self._limit.messages),
                    unaccounted=unknown[name],
                )
            )
        return found

    def _concerning(
        self, configuration: Configuration, name: str, events: Sequence[IncidentEvent]
    ) -> list[IncidentEvent]:
        """The alerts of which a route tells a contact."""
        severities = {
            severity
            for route in configuration.notifier.routes
            if name in route.recipients
            for severity in route.severities
        }
        return [event for event in events if event.incident.severity in severities]

    async def _unaccounted(self, concerned: Mapping[str, Sequence[IncidentEvent]]) -> Counter[str]:
        """How many alerts of each contact were neither delivered nor withheld for a reason."""
        database = Database(tables.SCHEMA, f"sqlite:///{self._file}")
        unknown: Counter[str] = Counter()
        try:
            async with database.reading() as connection:
                for name, events in concerned.items():
                    for event in events:
                        trail = await read_trail(connection, event.incident_id, name)
                        made = verdict(event.id, name, trail, tuple)
                        unknown[name] += made.outcome not in ("delivered", "withheld")
        finally:
            await database.close()
        return unknown

    def _configuration(self, port: int) -> Configuration:
        base = f"http://127.0.0.1:{port}/"
        hooks = {name: WebhookChannel(url=base + name.replace(" ", "-")) for name in self._names}
        people = tuple(
            Recipient(name=name, channel=f"webhook:{name}", audience=audience, limit=self._limit)
            for name, audience in CONTACTS.items()
        )
        routes = (
            Route(name="pages", recipients=("on call",), severities=("P1", "P2"), escalation="all"),
            Route(name="all", recipients=("team", "support")),
            Route(name="severe", recipients=("manager", "customers"), severities=("P1", "P2")),
        )
        policy = Escalation(name="all", steps=(Step(notify=("on call",)),), repeats=1)
        return Configuration(
            environment="example",
            catalogue=Catalogue(
                services=tuple(
                    Service(name=f"service-{n}", public_name=f"Service {n}")
                    for n in range(SERVICES)
                )
            ),
            notifier=Notifier(
                store=f"sqlite:///{self._file}",
                channels=Channels(webhooks=hooks),
                recipients=people,
                routes=routes,
                escalations=(policy,),
                cadence=Cadence(minutes={}),
            ),
        )

    def _records(self, events: Sequence[IncidentEvent], start: int) -> list[Record]:
        return [
            Record(
                topic="tocsin.incident-events.v1",
                partition=0,
                offset=start + place,
                timestamp_ms=self._now_ms,
                key=event.incident_id.encode(),
                value=msgspec.json.encode(event),
            )
            for place, event in enumerate(events[start : start + BATCH])
        ]

    async def _receive(self) -> tuple[web.AppRunner, int]:
        async def take(request: web.Request) -> web.Response:
            await request.read()
            name = request.path.strip("/").replace("-", " ")
            self._received.setdefault(name, []).append(self._now_ms)
            return web.Response(status=204)

        app = web.Application()
        app.router.add_post("/{name}", take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, int(runner.addresses[0][1])


class _Waits:
    """Asks the store for a turn again and again, as timers do, and keeps the longest wait."""

    def __init__(self, store: Database) -> None:
        self._store = store
        self._is_over = False
        self._task: asyncio.Task[None] | None = None
        self.longest_seconds = 0.0

    def begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name="waits")

    async def end(self) -> None:
        self._is_over = True
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._is_over:
            asked = time.monotonic()
            async with self._store.writing():
                self.longest_seconds = max(self.longest_seconds, time.monotonic() - asked)
            await asyncio.sleep(WAIT_SECONDS)


def _alert(number: int) -> IncidentEvent:
    """The alert of a number: of a hundred one is P1, five are P2 and thirty-four P3."""
    place = number % 100
    severity: Severity = "P4"
    if place < 40:
        severity = "P1" if place == 0 else "P2" if place <= 5 else "P3"
    what = MadeUp(services=(f"service-{number % SERVICES}",), severity=severity)
    event = made_up(what, Catalogue(), START_MS)
    name = f"INC-{number:06}"
    incident = msgspec.structs.replace(event.incident, id=name)
    return msgspec.structs.replace(event, incident_id=name, incident=incident)


async def _nowhere(
    topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None
) -> None:
    """Kafka takes everything."""
