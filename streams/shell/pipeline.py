"""The three stages on Kafka: who keeps what, who takes a run, and what the clock adds."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial, wraps
from typing import Any

import faust
from faust.types import TP

from schemas.configuration import Configuration
from streams.run import Run
from streams.shell import metrics, outgoing
from streams.shell.already import Outputs
from streams.shell.bad_records import BadRecords
from streams.shell.bodies import Bodies
from streams.shell.changelog import Restored
from streams.shell.checkpoints import Outgoing
from streams.shell.clock import IdleClock
from streams.shell.connection import WorkerError
from streams.shell.keeper import Confirmed, Keeper, at_once, unless_lost
from streams.shell.lag import (
    NO_ENDS,
    ask_ends,
    has_lag,
    observe_lag,
    partition_of,
    without_lag,
)
from streams.shell.memory import without_collections
from streams.shell.overload import Relief
from streams.shell.restoring import ends_of, go_on, read_checkpoints, restore
from streams.shell.saving import each
from streams.shell.stages import CorrelateStage, DetectStage, IngestStage, Stages
from streams.shell.table import CheckpointTable
from streams.shell.tables import MakeTable, StageTables
from streams.shell.watchdog import Progress

_REPLAY_SECONDS = 0.02
"""Between two looks at whether a replay has come to its end."""


def _while_whole(
    take: Callable[["Pipeline", Run], Awaitable[None]],
) -> Callable[["Pipeline", Run], Awaitable[None]]:
    """Passes over runs that come while no stages are restored: Faust may resume a restoring that a
    rebalance has cut short, and all is read again after."""

    @wraps(take)
    async def guarded(self: "Pipeline", run: Run) -> None:
        if self._is_whole:
            await take(self, run)

    return guarded


class Pipeline:
    """All stages of one worker.

    Parameters
    ----------
    app
        Faust's app, on the transport of `streams.shell.transport`.
    partitions
        Partition counts of the input topics.
    stages
        Makes the stages.
    outputs
        Reads what ended stages have said, so that it is not said again; without it, it is.
    confirmed
        Returns once this worker is surely still in its group. Raises `LeaseLostError` if not.
    clock
        Seconds that only go forward.
    table
        Makes the table of a name and so many partitions that checkpoints are kept in.
    """

    def __init__(
        self,
        app: faust.App,
        configuration: Configuration,
        partitions: Mapping[str, int],
        stages: Stages,
        *,
        table: MakeTable,
        outputs: Outputs | None = None,
        confirmed: Confirmed = at_once,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self._now = clock
        self.configuration = configuration
        self.topics = configuration.topics
        self._stages = stages
        self._outputs = outputs
        self._confirmed = confirmed
        self._partitions = partitions
        self.sources = {source.topic: source for source in configuration.sources}
        self.ingest: dict[str, Keeper[IngestStage]] = {}
        self.detect: dict[int, Keeper[DetectStage]] = {}
        self.incident: Keeper[CorrelateStage] | None = None
        self._is_whole = False
        self._ends = NO_ENDS
        self._replayed = f"{self.topics.anomalies}/0"
        self._replay_to = 0
        self._round_seconds = 0.0
        self._relief = Relief(configuration.worker.shed_after_seconds)
        bad_records = BadRecords(self.topics.dead_letters, clock)
        self._bodies = Bodies(configuration, self._relief, bad_records)
        self._tables = StageTables(app, configuration, partitions, table)
        windows = configuration.windows
        self._clock = IdleClock(
            windows.idle_timeout_seconds,
            round(windows.window_seconds * 1000),
            round(windows.allowed_lateness_seconds * 1000),
        )

    @property
    def last_table(self) -> CheckpointTable:
        """Faust recovers all tables before it calls any of them; the turn of one is enough."""
        return self._tables.incident

    def changelogs(self) -> dict[str, int]:
        """Partition counts of the topics that all workers of the group save their stages to."""
        return self._tables.changelogs()

    # who keeps what

    def keepers(self) -> list[Keeper[Any]]:
        """All stages that this worker has now."""
        incident = [self.incident] if self.incident else []
        return [*self.ingest.values(), *self.detect.values(), *incident]

    async def restore(self, actives: Mapping[CheckpointTable, set[TP]]) -> None:
        """Builds the stages of the assigned partitions from their last checkpoints."""
        with metrics.RESTORE_SECONDS.time(), without_collections():
            found = await read_checkpoints(self._tables.counted(), actives)
            ends = await ends_of(self.app.consumer, found, [self._replayed])
            *of_ingest, of_detect, of_incident = found
            for topic, of_topic in zip(self._tables.ingest, of_ingest, strict=True):
                for partition in list(of_topic):  # each is let go of once it is restored
                    await self._restore_ingest(topic, partition, of_topic.pop(partition), ends)
            for shard in list(of_detect):
                await self._restore_detect(shard, of_detect.pop(shard), ends)
            for found_one in of_incident.values():
                self.incident = self._keeper(
                    "incident", 0, self._stages.incident(), self._tables.incident
                )
                await restore(self.incident, self._tables.incident, found_one, ends)
                self._replay_to = ends[self._replayed]
        written = [
            TP(topic, partition)
            for topic in outgoing.written(self.topics)
            for partition in range(self._partitions[topic])
        ]
        await go_on(self.keepers(), ends, self._outputs, written)
        self._is_whole = True
        metrics.REBALANCES.inc()
        metrics.ASSIGNED_PARTITIONS.set(len(self.keepers()))

    async def _restore_ingest(
        self, topic: str, partition: int, found: Restored, ends: Mapping[str, int]
    ) -> None:
        table = self._tables.ingest[topic]
        stage = self._stages.ingest(self.sources[topic], partition)
        keeper = self._keeper("ingest", partition, stage, table)
        self.ingest[f"{topic}/{partition}"] = keeper
        self._clock.heard(f"{topic}/{partition}", self._now())
        await restore(keeper, table, found, ends)

    async def _restore_detect(self, shard: int, found: Restored, ends: Mapping[str, int]) -> None:
        sources = [
            f"{topic}/{partition}"
            for topic in self.sources
            for partition in range(self._partitions[topic])
        ]
        keeper = self._keeper(
            "detect", shard, self._stages.detect(shard, sources), self._tables.detect
        )
        self.detect[shard] = keeper
        await restore(keeper, self._tables.detect, found, ends)

    def _keeper(self, name: str, partition: int, stage: Any, table: CheckpointTable) -> Keeper[Any]:
        return Keeper(
            name,
            partition,
            stage,
            table=table,
            send=self._send,
            commit=self._commit,
            confirmed=self._confirmed,
            term=self.app.consumer_generation_id,
            clock=self._now,
        )

    async def checkpoint(self) -> None:
        """A checkpoint of every stage that has anything new and for which one is not too dear."""
        began = self._now()
        await self._each(Keeper.checkpoint_at_leisure)
        self._round_seconds = self._now() - began

    async def drop(self) -> None:
        """Checkpoints everything and lets it go: the partitions may belong to another worker."""
        await self._each(Keeper.close)
        self.forget()

    async def _each(self, body: Callable[[Keeper[Any]], Awaitable[None]]) -> None:
        """Does it for every stage that is not lost."""

        async def one(keeper: Keeper[Any]) -> None:
            with unless_lost(keeper):
                await body(keeper)

        small = len(self.ingest)
        await each(self.keepers()[:small], self.keepers()[small:], one)

    def positions(self) -> dict[TP, int]:
        """The next offset to read, by what the states hold: what counts, whatever is committed."""
        return {
            partition_of(source): offset
            for keeper in self.keepers()
            for source, offset in keeper.next_offsets.items()
        }

    def forget(self) -> None:
        """Lets every stage go as it is."""
        self._is_whole = False
        for source in self.ingest:
            self._clock.remove(source)
        self.ingest.clear()
        self.detect.clear()
        self.incident = None
        self._ends = NO_ENDS
        metrics.ASSIGNED_PARTITIONS.set(0)
        for gauge in metrics.OF_PARTITIONS:
            gauge.clear()

    async def _send(self, record: Outgoing) -> Any:
        return await self.app.producer.client.send(
            record.topic,
            record.value,
            key=record.key,
            partition=record.partition,
            headers=list(record.headers),
        )

    async def _commit(self, next_offsets: Mapping[str, int]) -> bool:
        return bool(
            await self.app.consumer.commit_positions(
                {partition_of(source): offset for source, offset in next_offsets.items()}
            )
        )

    # who takes a run

    @_while_whole
    async def on_raw(self, run: Run) -> None:
        """Raw records to observations and dead letters."""
        keeper = self.ingest.get(run.source)
        if keeper is None:
            table = self._tables.ingest[run.topic]
            raise WorkerError(
                f"{run.source} has no stage; if partitions were added to {run.topic}, give its "
                f"changelog `{table.changelog_topic_name}` as many and restart"
            )

        def body(run: Run) -> list[Outgoing]:
            said = self._bodies.ingest(keeper.stage, run)
            self._clock.heard(run.source, self._now())
            return said

        await self._take(keeper, run, body)

    @_while_whole
    async def on_observations(self, run: Run) -> None:
        """Observations to anomalies."""
        keeper = self.detect.get(run.partition)
        if keeper is None:
            raise WorkerError(
                f"{run.topic} has records in partition {run.partition}, but there are "
                f"{self.topics.observation_shards} shards: restore `topics.observation_shards`"
            )
        await self._take(keeper, run, partial(self._bodies.detect, keeper.stage))

    @_while_whole
    async def on_anomalies(self, run: Run) -> None:
        """Anomalies to incident events."""
        keeper = self._incident_keeper(run)
        await self._take(keeper, run, partial(self._bodies.correlate, keeper.stage))

    @_while_whole
    async def on_commands(self, run: Run) -> None:
        """What people ask, to incident events; where it falls among the anomalies is kept."""
        keeper = self._incident_keeper(run)
        await self._until_replayed(keeper)
        with unless_lost(keeper):
            await keeper.take_exactly(run, partial(self._bodies.obey, keeper.stage))

    async def _until_replayed(self, keeper: Keeper[CorrelateStage]) -> None:
        """Returns once a restored stage has taken in again what another may have spoken of already.

        A command before that would be answered with the number of an event that has been said.
        Where the rest of the topic was deleted meanwhile, there is nothing to wait for.
        """
        source = self._replayed
        while keeper is self.incident and keeper.next_offsets.get(source, 0) < self._replay_to:
            if not await has_lag(self.app.consumer, source):
                return
            await asyncio.sleep(_REPLAY_SECONDS)

    async def _take(
        self, keeper: Keeper[Any], run: Run, body: Callable[[Run], list[Outgoing]]
    ) -> None:
        with unless_lost(keeper):
            await keeper.take(run, body)
        metrics.EVENTS.labels(run.topic).inc(len(run))

    def _incident_keeper(self, run: Run) -> Keeper[CorrelateStage]:
        if self.incident is None or (run.topic == self.topics.anomalies and run.partition):
            raise WorkerError(
                f"{run.source} was assigned without the incident stage: {self.topics.anomalies} "
                f"and {self.topics.commands} must have one partition each"
            )
        return self.incident

    # what the clock adds

    async def tick(self) -> None:
        """Lets idle sources close what they have begun and then not be waited for, and event time
        go on while all are idle."""
        now, keepers = self._now(), dict(self.ingest)
        for source, ago_seconds in (await without_lag(self.app.consumer, keepers)).items():
            keeper = keepers[source]
            if self.ingest.get(source) is not keeper:
                continue  # given away meanwhile
            seen = now - ago_seconds
            self._clock.seen(source, seen)
            is_new = self._clock.newly_idle(source, keeper.stage.watermark_ms, seen)
            to_ms = self._clock.advance_to_ms(source, seen)
            if is_new or to_ms is not None:
                await self._say_of_clock(keeper, to_ms)

    async def relieve(self) -> None:
        """Sees how late the stages are, and leaves out or takes back what they read for that."""
        await self._relief.look(self.app.consumer, self.reads(), self.ingest)

    async def _say_of_clock(self, keeper: Keeper[IngestStage], to_ms: int | None) -> None:
        def change() -> list[Outgoing]:
            batches = [] if to_ms is None else list(keeper.stage.advance(to_ms))
            # Last, since any other batch says that the source is to be waited for.
            batches += keeper.stage.idle()
            return outgoing.observations(batches, self.topics)

        with unless_lost(keeper):
            await keeper.change_exactly(change)

    def reads(self) -> dict[str, Keeper[Any]]:
        """The stages that this worker has now, by each source that they read."""
        topics = self.topics
        found: dict[str, Keeper[Any]] = dict(self.ingest)
        found |= {f"{topics.observations}/{shard}": keeper for shard, keeper in self.detect.items()}
        if self.incident is not None:
            found |= {f"{topics.anomalies}/0": self.incident, f"{topics.commands}/0": self.incident}
        return found

    async def ask_ends(self) -> None:
        """Asks the broker where the sources end. Raises what the consumer raises."""
        self._ends = await ask_ends(self.app.consumer, self.reads())

    def observe_lag(self) -> dict[str, Progress]:
        """Sets the lag metrics; returns how far each source is."""
        # A machine short of processors saves slowly, and to begin anew makes it no faster.
        seconds = self.configuration.worker.checkpoint_seconds + self._round_seconds
        return observe_lag(self.app.consumer, self.reads(), self._ends, seconds)
