"""The worker: Faust's app with its agents, from the start to a clean end."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import faust
from faust.types import TP
from mode import get_logger

from schemas.configuration import Configuration
from streams.shell import metrics
from streams.shell.already import Outputs
from streams.shell.app import add_agent, new_app
from streams.shell.changelog import Changelogs
from streams.shell.connection import (
    Client,
    WorkerError,
    check_topics,
    make_changelogs,
    partition_counts,
)
from streams.shell.copies import Copies
from streams.shell.memory import suit_runs
from streams.shell.pipeline import Pipeline
from streams.shell.stages import Stages
from streams.shell.standby import Standby
from streams.shell.table import CheckpointTable
from streams.shell.watchdog import STALL_SECONDS, WAIT_SECONDS, Guard, Watchdog

logger = get_logger(__name__)

STOP_SECONDS = 8.0
"""For the last checkpoint, and again for Faust to stop; a broker that is gone must not hold us."""

_TICK_SECONDS = 1.0
_ASK_SECONDS = 10.0


class Worker:
    """One worker process.

    Parameters
    ----------
    client
        Settings of aiokafka's clients with all secrets; by default a plain connection.
    stages
        Makes the stages; the real ones by default.
    stall_seconds
        How long a partition may stand still.
    wait_seconds
        How long partitions and their state may be waited for, without any more coming.
    """

    def __init__(
        self,
        configuration: Configuration,
        client: Client | None = None,
        stages: Stages | None = None,
        *,
        stall_seconds: float = STALL_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self.configuration = configuration
        self._client = client or {
            "bootstrap_servers": configuration.kafka.bootstrap_servers,
            "client_id": configuration.kafka.client_id,
        }
        self._stages = stages
        self._pipeline: Pipeline | None = None
        self._watchdog = Watchdog(stall_seconds, wait_seconds)
        self._copies = Copies(Path(configuration.worker.data_dir) / "checkpoints")
        self._restoring: asyncio.Task[None] | None = None
        self._restored = False

    def live(self) -> bool:
        """Whether the event loop turns and records are processed while there are any."""
        return self._watchdog.live(time.monotonic())

    def stalls(self) -> list[str]:
        """What stands still, in words."""
        return self._watchdog.stalls(time.monotonic())

    def ready(self) -> bool:
        """Whether partitions are assigned and their stages restored."""
        return self._restored and self.live()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then ends cleanly.

        Raises `WorkerError` if it cannot start or has to give up; what was not checkpointed is
        then read again by whoever comes next.
        """
        suit_runs()
        app, pipeline = await self._new_app()
        self._pipeline = pipeline
        guard = Guard(self.stalls)
        guard.start()
        try:
            if await self._start(app, pipeline, stop):
                await self._work(app, pipeline, stop)
        except WorkerError:
            raise
        except Exception as error:
            logger.exception("not foreseen")
            raise WorkerError(f"the worker has to give up: {error!r}") from error
        finally:
            await self._abandon_restoring()
            await self._end(app)
            guard.stop()
        reason = app.crash_reason
        if isinstance(reason, WorkerError):
            raise reason
        if reason is not None:
            raise WorkerError(f"the worker has to give up: {reason!r}") from reason

    async def _start(self, app: faust.App, pipeline: Pipeline, stop: asyncio.Event) -> bool:
        """Starts Faust, which waits for the first partitions and their state, while the watchdog
        sees for how long. Returns False if `stop` came before."""
        starting = asyncio.create_task(app.start())
        observing = asyncio.create_task(self._observe(pipeline))
        tasks = [starting, observing, asyncio.ensure_future(stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in (observing, starting):
                if task.done():
                    task.result()
            return starting.done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=STOP_SECONDS)

    async def _work(self, app: faust.App, pipeline: Pipeline, stop: asyncio.Event) -> None:
        stopping = asyncio.Event()
        rounds = [
            asyncio.create_task(self._rounds(stopping, seconds, body))
            for seconds, body in (
                (self.configuration.worker.checkpoint_seconds, pipeline.checkpoint),
                (_TICK_SECONDS, pipeline.tick),
                (_TICK_SECONDS, pipeline.relieve),
            )
        ]
        observing = asyncio.create_task(self._observe(pipeline))
        asking = asyncio.create_task(self._ask(pipeline))
        copying = [asyncio.create_task(self._copies.run())]
        if self.configuration.worker.standby:
            copying.append(asyncio.create_task(self._stand_by(app, pipeline)))
        ends = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(app._crashed.wait())]
        try:
            awaited = [*rounds, observing, *copying, *ends]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            stopping.set()
            for task in (observing, *copying):
                if task.done():
                    task.result()
            if app.crash_reason is None:  # a checkpoint under way comes to its end
                await asyncio.wait_for(asyncio.gather(*rounds), STOP_SECONDS)
                await self._last_checkpoint(app, pipeline)
                await asyncio.wait_for(self._copies.flush(), STOP_SECONDS)
        finally:
            own = [*rounds, observing, asking, *copying, *ends]
            for task in own:
                task.cancel()
            await asyncio.gather(*own, return_exceptions=True)

    async def _stand_by(self, app: faust.App, pipeline: Pipeline) -> None:
        """Keeps copies of what other workers save."""
        await Standby(
            self._client, self._copies, pipeline.changelogs(), app.consumer.assignment
        ).run()

    async def _last_checkpoint(self, app: faust.App, pipeline: Pipeline) -> None:
        self._restored = False
        app.consumer.stop_flow()
        app.flow_control.suspend()
        try:
            await asyncio.wait_for(pipeline.drop(), STOP_SECONDS)
        except Exception as error:
            raise WorkerError(
                f"the last checkpoint was not acknowledged within {STOP_SECONDS:g} s ({error!r}); "
                "what came after the one before will be read again"
            ) from error

    async def _end(self, app: faust.App) -> None:
        try:
            await asyncio.wait_for(app.stop(), STOP_SECONDS)
        except Exception as error:
            logger.warning("Faust did not stop cleanly: %r", error)

    async def _rounds(
        self, stopping: asyncio.Event, seconds: float, body: Callable[[], Awaitable[None]]
    ) -> None:
        """Calls `body` again and again; `stopping` ends it between two rounds."""
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await stopping.wait()
            if self._restored and not stopping.is_set():
                await body()

    async def _observe(self, pipeline: Pipeline) -> None:
        """Lag and progress, for metrics and the watchdog. Raises `WorkerError` at a stall, since
        a worker that begins anew works again, whatever has kept it from working."""
        while True:
            if self._restored:
                self._watchdog.turn(time.monotonic(), pipeline.observe_lag())
            else:
                self._watchdog.wait(time.monotonic(), len(pipeline.keepers()))
            if stalls := self.stalls():
                metrics.STALLS.inc()
                raise WorkerError(f"{'; '.join(stalls)}: the worker has to begin anew")
            await asyncio.sleep(_TICK_SECONDS)

    async def _ask(self, pipeline: Pipeline) -> None:
        """Asks the broker for what it has, as a consumer that has died does not hear of it."""
        while True:
            if self._restored:
                try:
                    await asyncio.wait_for(pipeline.ask_ends(), _ASK_SECONDS)
                    self._watchdog.answered(time.monotonic())
                except Exception as error:  # whatever it is, the watchdog knows how long it lasts
                    logger.warning("the broker does not say where partitions end: %r", error)
            await asyncio.sleep(_ASK_SECONDS)

    # Faust's app

    async def _new_app(self) -> tuple[faust.App, Pipeline]:
        configuration = self.configuration
        partitions = await partition_counts(self._client)
        check_topics(configuration, partitions)
        await make_changelogs(self._client, configuration, partitions)
        app = new_app(configuration, self._client)
        stages = self._stages
        if stages is None:
            from streams.shell.real import RealStages  # noqa: PLC0415 (loads numpy and more)

            stages = await asyncio.to_thread(RealStages, configuration)
        table = partial(
            CheckpointTable,
            changelogs=Changelogs(self._client, self._copies),
            copies=self._copies,
        )

        async def confirmed() -> None:
            await app.consumer.lease.confirmed()

        pipeline = Pipeline(
            app,
            configuration,
            partitions,
            stages,
            table=table,
            outputs=Outputs(self._client),
            confirmed=confirmed,
        )
        self._listen(app, pipeline)
        self._agents(app, pipeline)
        return app, pipeline

    def _listen(self, app: faust.App, pipeline: Pipeline) -> None:
        async def revoked(_: Any, partitions: set[TP], **kwargs: Any) -> None:
            await self._abandon_restoring()
            if partitions:
                await pipeline.drop()

        async def recovered() -> None:
            try:
                await self._abandon_restoring()
                pipeline.forget()
                app.consumer.positions = pipeline.positions
                actives = app.tables.recovery.actives_for_table
                self._restoring = asyncio.create_task(pipeline.restore(actives))
                # Not awaited itself: another rebalance cancels it, and this turn then ends.
                await asyncio.wait([self._restoring])
                if not self._restoring.cancelled():
                    self._restoring.result()
                    self._restored = True
            except Exception as error:  # Faust would go on without the stages
                await app.crash(error)

        app.on_partitions_revoked.connect(revoked, weak=False)
        pipeline.last_table.on_recover(recovered)

    async def _abandon_restoring(self) -> None:
        """A rebalance has overtaken it: its stages may be another worker's."""
        self._restored = False
        if self._restoring is not None:
            self._restoring.cancel()
            await asyncio.gather(self._restoring, return_exceptions=True)

    def _agents(self, app: faust.App, pipeline: Pipeline) -> None:
        topics = self.configuration.topics
        raw = [source.topic for source in self.configuration.sources]
        add_agent(app, "ingest", raw, pipeline.on_raw)
        add_agent(app, "detect", [topics.observations], pipeline.on_observations)
        add_agent(app, "incident", [topics.anomalies], pipeline.on_anomalies)
        add_agent(app, "commands", [topics.commands], pipeline.on_commands)
