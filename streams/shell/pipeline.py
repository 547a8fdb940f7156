"""The three stages on Kafka: who keeps what, what is done with a run, and what the clock adds."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import faust
import msgspec
from faust.types import TP
from mode import get_logger

from schemas.anomalies import AnomalyBatch
from schemas.configuration import Configuration
from schemas.incidents import Command, IncidentEvent
from schemas.observations import ObservationBatch
from streams.run import Run
from streams.shell import metrics, outgoing
from streams.shell.already import Already, Outputs
from streams.shell.bad_records import BadRecords
from streams.shell.changelog import Restored
from streams.shell.checkpoints import Outgoing
from streams.shell.clock import IdleClock
from streams.shell.connection import WorkerError
from streams.shell.keeper import Confirmed, Keeper, at_once
from streams.shell.lag import (
    NO_ENDS,
    ask_ends,
    has_lag,
    observe_lag,
    partition_of,
    without_lag,
)
from streams.shell.lease import LeaseLostError
from streams.shell.memory import without_collections
from streams.shell.overload import Relief
from streams.shell.reading import decode_asked, decode_run
from streams.shell.restoring import ends_of, read_checkpoints, restore, said_to
from streams.shell.stages import CorrelateStage, DetectStage, IngestStage, Stages
from streams.shell.table import CheckpointTable
from streams.shell.telling import tell_answers, tell_incidents, tell_silences
from streams.shell.watchdog import Progress

logger = get_logger(__name__)

_REPLAY_SECONDS = 0.02
"""Between two looks at whether a replay has come to its end."""

_SIDE_BY_SIDE = 16
"""Stages that save themselves at the same time."""

T = TypeVar("T")


@contextmanager
def _unless_lost(keeper: Keeper[Any]) -> Iterator[None]:
    """A stage that may be another worker's now is cut off in here, and let go by a rebalance."""
    try:
        yield
    except LeaseLostError:
        logger.warning("%s %s may be another worker's: nothing said", keeper.name, keeper.partition)


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
        table: Callable[[faust.App, str, int], CheckpointTable],
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
        self._bad_records = BadRecords(self.topics.dead_letters, clock)
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
        self._tables = {
            topic: table(app, f"ingest-{topic}", partitions[topic]) for topic in self.sources
        }
        self._detect_table = table(app, "detect", partitions[self.topics.observations])
        self._incident_table = table(app, "incident", partitions[self.topics.anomalies])
        windows = configuration.windows
        self._clock = IdleClock(
            windows.idle_timeout_seconds,
            round(windows.window_seconds * 1000),
            round(windows.allowed_lateness_seconds * 1000),
        )
        self._observations = msgspec.json.Decoder(ObservationBatch)
        self._anomalies = msgspec.json.Decoder(AnomalyBatch)
        self._commands = msgspec.json.Decoder(Command)

    @property
    def last_table(self) -> CheckpointTable:
        """Faust recovers all tables before it calls any of them; the turn of one is enough."""
        return self._incident_table

    def changelogs(self) -> dict[str, int]:
        """Partition counts of the topics that all workers of the group save their stages to."""
        counts = {topic: self._partitions[topic] for topic in self.sources}
        return {
            **{t.changelog_topic_name: counts[topic] for topic, t in self._tables.items()},
            self._detect_table.changelog_topic_name: self.topics.observation_shards,
            self._incident_table.changelog_topic_name: 1,
        }

    # who keeps what

    def keepers(self) -> list[Keeper[Any]]:
        """All stages that this worker has now."""
        incident = [self.incident] if self.incident else []
        return [*self.ingest.values(), *self.detect.values(), *incident]

    async def restore(self, actives: Mapping[CheckpointTable, set[TP]]) -> None:
        """Builds the stages of the assigned partitions from their last checkpoints."""
        with metrics.RESTORE_SECONDS.time(), without_collections():
            ingest = [(table, self._partitions[topic]) for topic, table in self._tables.items()]
            detect = (self._detect_table, self.topics.observation_shards)
            tables = [*ingest, detect, (self._incident_table, 1)]
            found = await read_checkpoints(tables, actives)
            ends = await ends_of(self.app.consumer, found, [self._replayed])
            *of_ingest, of_detect, of_incident = found
            for topic, of_topic in zip(self._tables, of_ingest, strict=True):
                for partition in list(of_topic):  # each is let go of once it is restored
                    await self._restore_ingest(topic, partition, of_topic.pop(partition), ends)
            for shard in list(of_detect):
                await self._restore_detect(shard, of_detect.pop(shard), ends)
            for found_one in of_incident.values():
                self.incident = self._keeper(
                    "incident", 0, self._stages.incident(), self._incident_table
                )
                await restore(self.incident, self._incident_table, found_one, ends)
                self._replay_to = ends[self._replayed]
        await self._go_on(ends)
        self._is_whole = True
        metrics.REBALANCES.inc()
        metrics.ASSIGNED_PARTITIONS.set(len(self.keepers()))

    async def _restore_ingest(
        self, topic: str, partition: int, found: Restored, ends: Mapping[str, int]
    ) -> None:
        table = self._tables[topic]
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
            "detect", shard, self._stages.detect(shard, sources), self._detect_table
        )
        self.detect[shard] = keeper
        await restore(keeper, self._detect_table, found, ends)

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

    async def _go_on(self, read_ends: Mapping[str, int]) -> None:
        """Lets the restored stages speak, of what they had not said yet.

        `read_ends` are where the topics end that they read.
        """
        keepers, already, ends = self.keepers(), Already(), dict[TP, int]()
        if self._outputs is not None and keepers:
            starts = said_to(keepers, read_ends)
            already, ends = await self._outputs.since(starts, self._written())
        written = {f"{tp.topic}/{tp.partition}": end for tp, end in ends.items()}
        await asyncio.gather(*(keeper.go_on(already, written) for keeper in keepers))

    def _written(self) -> list[TP]:
        """The partitions that the stages write."""
        return [
            TP(topic, partition)
            for topic in outgoing.written(self.topics)
            for partition in range(self._partitions[topic])
        ]

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
        """Does it for every stage: for those of raw partitions, which are many and small, side by
        side, so that a rebalance need not wait for one after the other; for the rest, which may be
        large, one by one. Raises the first error once all are done with.
        """
        places = asyncio.Semaphore(_SIDE_BY_SIDE)

        async def one(keeper: Keeper[Any]) -> None:
            async with places:
                with _unless_lost(keeper):
                    await body(keeper)

        keepers, many = self.keepers(), len(self.ingest)
        done = await asyncio.gather(*map(one, keepers[:many]), return_exceptions=True)
        for failure in done:
            if failure is not None:
                raise failure
        for keeper in keepers[many:]:
            await one(keeper)

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

    # what is done with a run

    @_while_whole
    async def on_raw(self, run: Run) -> None:
        """Raw records to observations and dead letters."""
        keeper = self.ingest.get(run.source)
        if keeper is None:
            raise WorkerError(
                f"{run.source} has no stage; if partitions were added to {run.topic}, give its "
                f"changelog `{self._tables[run.topic].changelog_topic_name}` as many and restart"
            )
        stage = keeper.stage

        def body(run: Run) -> list[Outgoing]:
            with metrics.STAGE_SECONDS.labels("ingest").time():
                result = stage.process(run)
            self._relief.count(stage)
            self._clock.heard(run.source, self._now())
            metrics.WINDOWS_CLOSED.inc(len({b.window_end_ms for b in result.batches}))
            return [
                *outgoing.observations(result.batches, self.topics),
                *self._dead_letters(result.dead_letters, run),
            ]

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
        stage = keeper.stage

        def body(run: Run) -> list[Outgoing]:
            before = stage.left_out
            with metrics.STAGE_SECONDS.labels("detect").time():
                batches, bad = decode_run(run, self._observations)
                with metrics.DETECTOR_SECONDS.time():
                    found = stage.process(batches)
            metrics.OVERTAKEN_BATCHES.labels(run.partition).set(stage.late)
            for what, count in stage.left_out.items():
                metrics.LEFT_OUT.labels(what).inc(count - before[what])
            for anomaly in (a for batch in found for a in batch.anomalies):
                metrics.ANOMALIES.labels(anomaly.kind).inc()
            return [*outgoing.anomalies(found, self.topics), *self._dead_letters(bad, run)]

        await self._take(keeper, run, body)

    @_while_whole
    async def on_anomalies(self, run: Run) -> None:
        """Anomalies to incident events."""
        keeper = self._incident_keeper(run)

        def body(run: Run) -> list[Outgoing]:
            batches, bad = decode_run(run, self._anomalies)
            with metrics.STAGE_SECONDS.labels("incident").time():
                events = keeper.stage.process(batches)
            tell_incidents(events, keeper.stage)
            return [*self._told(events, keeper.stage), *self._dead_letters(bad, run)]

        await self._take(keeper, run, body)

    @_while_whole
    async def on_commands(self, run: Run) -> None:
        """What people ask, to incident events; where it falls among the anomalies is kept."""
        keeper = self._incident_keeper(run)

        def body(run: Run) -> list[Outgoing]:
            commands, bad = decode_asked(run, self._commands)
            events = keeper.stage.command(commands)
            tell_answers(keeper.stage)
            metrics.EVENTS.labels(run.topic).inc(len(run))
            return [*self._told(events, keeper.stage), *self._dead_letters(bad, run)]

        await self._until_replayed(keeper)
        with _unless_lost(keeper):
            await keeper.take_exactly(run, body)

    def _told(self, events: Iterable[IncidentEvent], stage: CorrelateStage) -> list[Outgoing]:
        """What the incident stage has said, as records."""
        return [
            *outgoing.incident_events(events, self.topics),
            *outgoing.silence_events(tell_silences(stage), self.topics),
        ]

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
        with _unless_lost(keeper):
            await keeper.take(run, body)
        metrics.EVENTS.labels(run.topic).inc(len(run))

    def _incident_keeper(self, run: Run) -> Keeper[CorrelateStage]:
        if self.incident is None or (run.topic == self.topics.anomalies and run.partition):
            raise WorkerError(
                f"{run.source} was assigned without the incident stage: {self.topics.anomalies} "
                f"and {self.topics.commands} must have one partition each"
            )
        return self.incident

    def _dead_letters(self, letters: Any, run: Run) -> list[Outgoing]:
        for letter in letters:
            metrics.DEAD_LETTERS.labels(letter.reason).inc()
            if letter.reason == "late":
                metrics.LATE_EVENTS.inc()
        if not letters:
            return []
        self._bad_records.add(letters)
        return outgoing.dead_letters(letters, run, self.configuration.environment, self.topics)

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

        with _unless_lost(keeper):
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
