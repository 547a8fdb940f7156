"""The sink itself: what the host starts and feeds."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from starlette.routing import BaseRoute

from schemas.configuration import Configuration, Secret
from schemas.incidents import Command
from sinks.database import Database
from sinks.outgoing import Outgoing
from sinks.playbooks.actions import Asked, Outcome, act
from sinks.playbooks.metrics import RUNS, SECONDS, WAITING
from sinks.playbooks.store import Runs, Said
from sinks.playbooks.tables import SCHEMA
from sinks.reading import EventReader
from sinks.signing import Signed
from sinks.sink import Publish, Record

RETRY_SECONDS = 5.0
UNKNOWN = Outcome("failed", "is not configured here")
TOO_LATE = Outcome("failed", "was asked for too long ago")

log = structlog.get_logger()


class PlaybookRunner:
    """Runs the playbooks that the incident stage has chosen, and puts what came of it in the log.

    The decision stands in the incident; this only carries it out. A run is noted before it begins
    and never begun twice; the result goes to the commands topic under an id of the run.

    Parameters
    ----------
    configuration
        The whole; `incidents.playbooks`, `playbooks`, `topics` and `environment` are used.
    resolve
        Gives the content of a secret.
    publish
        Writes to Kafka.
    now_ms
        The wall clock, Unix milliseconds.

    Raises `StoreError` if `playbooks.store` is no store that is known.
    """

    name = "playbooks"

    def __init__(
        self,
        configuration: Configuration,
        *,
        resolve: Callable[[Secret], str],
        publish: Publish,
        now_ms: Callable[[], int],
    ) -> None:
        section = configuration.playbooks
        password = resolve(section.store_password) if section.store_password else None
        self._playbooks = {
            playbook.name: playbook for playbook in configuration.incidents.playbooks
        }
        self._signed = {
            playbook.name: Signed(resolve(playbook.secret) if playbook.secret else None, now_ms)
            for playbook in self._playbooks.values()
        }
        self._outgoing = Outgoing.of(configuration.outgoing)
        self._events = EventReader(self.name, configuration.environment)
        self._commands = configuration.topics.commands
        self.topics = (configuration.topics.incident_events,)
        self._database = Database(SCHEMA, section.store, password)
        self._runs = Runs(self._database)
        self._publish = publish
        self._now_ms = now_ms
        self._targets: dict[str, asyncio.Lock] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._fresh = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the store, ends what was interrupted, and begins to work. Raises `StoreError`."""
        await self._database.migrate()
        await self._runs.give_up_interrupted(self._now_ms())
        self._fresh.set()
        self._loop = asyncio.create_task(self._work(), name="playbooks")

    async def positions(self) -> Mapping[tuple[str, int], int]:
        """The next offset to read by topic and partition."""
        return await self._runs.positions()

    async def apply(self, records: Sequence[Record]) -> None:
        """Notes what the records ask for, with their positions, in one transaction."""
        await self._runs.take(records, self._said)
        self._fresh.set()

    async def stop(self) -> None:
        """Waits for what runs; what waits is run after the next start."""
        self._stopping = True
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        await self._database.close()

    def routes(self) -> list[BaseRoute]:
        """Nothing beside health and metrics."""
        return []

    def _said(self, record: Record) -> Said:
        """What an event says of runs. What ends an incident, a merge too, ends what waits."""
        event = self._events.read(record)
        if event is None:
            return Said()
        if event.incident.state in ("resolved", "closed"):
            return Said(over=event.incident_id)
        if event.type != "opened" or event.incident.playbook is None:
            return Said()
        name = event.incident.playbook
        row = {
            "run_id": f"{event.incident_id}/{name}",
            "incident_id": event.incident_id,
            "playbook": name,
            "severity": event.incident.severity,
            "state": "asked",
            "asked_ms": record.timestamp_ms,
            "outcome": None,
            "text": None,
        }
        outcome = self._why_not(name, record.timestamp_ms)
        if outcome is not None:
            row |= {"state": "done", "outcome": outcome.result, "text": outcome.text}
        return Said(asked=row)

    def _why_not(self, name: str, asked_ms: int) -> Outcome | None:
        """What becomes of a run that cannot begin now; None if it can."""
        playbook = self._playbooks.get(name)
        if playbook is None:
            return UNKNOWN
        is_late = self._now_ms() - asked_ms > playbook.hold_seconds * 1000
        return TOO_LATE if is_late else None

    async def _work(self) -> None:
        """Starts what is asked for and tells what is done, until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):  # wait_for may swallow the cancelling
                    await self._fresh.wait()
            self._fresh.clear()
            for row in await self._runs.open():
                if row.run_id not in self._under_way:
                    task = asyncio.create_task(self._see_to(row), name=row.run_id)
                    self._under_way[row.run_id] = task
                    task.add_done_callback(self._ended)
            WAITING.set(await self._runs.waiting())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task.get_name(), None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("playbook not told yet", run=task.get_name(), error=str(error))

    async def _see_to(self, row: Any) -> None:
        """Runs it unless it is done, then tells the log; raises what Kafka or the store raises."""
        outcome = Outcome(row.outcome, row.text) if row.state == "done" else await self._run(row)
        command = Command(
            id=f"{row.run_id}/result",
            type="playbook_result",
            incident_id=row.incident_id,
            actor=f"playbook {row.playbook}",
            issued_ms=self._now_ms(),
            text=f"The playbook {row.playbook} {outcome.result}: {outcome.text}",
            solution=outcome.result,
        )
        await self._publish(self._commands, row.incident_id, msgspec.json.encode(command))
        await self._runs.told(row.run_id)
        RUNS.labels(row.playbook, outcome.result).inc()

    async def _run(self, row: Any) -> Outcome:
        playbook = self._playbooks.get(row.playbook)
        if playbook is None:
            return UNKNOWN
        target = playbook.target or playbook.name
        async with self._targets.setdefault(target, asyncio.Lock()):
            if self._stopping:
                raise asyncio.CancelledError
            # It may have waited for its target, or for this process, longer than anybody is held.
            if (outcome := self._why_not(row.playbook, row.asked_ms)) is not None:
                return outcome
            started_ms = self._now_ms()
            if (outcome := await self._runs.begin(row.run_id, started_ms)) is not None:
                return outcome
            log.info("playbook started", run=row.run_id)
            asked = Asked(row.run_id, row.playbook, row.incident_id, row.severity)
            outcome = await act(playbook, asked, self._signed[row.playbook], self._outgoing)
            ended_ms = self._now_ms()
            await self._runs.finish(row.run_id, outcome, ended_ms)
            SECONDS.labels(row.playbook).observe((ended_ms - started_ms) / 1000)
            log.info("playbook ended", run=row.run_id, result=outcome.result, text=outcome.text)
            return outcome
