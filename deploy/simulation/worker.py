"""Workers in the simulation: the real stages, keepers and checkpoints, on a model of Faust.

What is Faust's and aiokafka's is modelled after `streams.shell.transport` and
`streams.shell.worker`: runs of one partition in order, at most two unacknowledged, agents one run
at a time, tables recovered from their changelogs before anything is read, positions as the states
have them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from aiokafka.structs import RecordMetadata
from faust.types import TP

from deploy.simulation.agent import Agent
from deploy.simulation.broker import Broker, Partition, Producer
from deploy.simulation.group import Group, Member
from deploy.simulation.outputs import SimulatedOutputs
from deploy.simulation.process import Process, current
from deploy.simulation.table import Table
from schemas.configuration import Configuration
from streams.run import Run
from streams.shell.lease import Lease
from streams.shell.pipeline import Pipeline
from streams.shell.stages import Stages
from streams.shell.transport import MAX_UNACKED_RUNS

TICK_SECONDS = 1.0
STOP_SECONDS = 8.0
_PAUSES = (0.0, 0.0, 0.0, 0.02, 0.3, 2.0)
"""Seconds for which a partition may be left alone after a fetch."""
_FETCHED_BEFORE = 0.2
"""The share of partitions from which records come again that the restored state holds."""
_FETCHES = (1, 3, 20, 500)
"""Records that a fetch may bring at most."""


class Consumer:
    """What `streams.shell.pipeline` asks of `streams.shell.transport.Consumer`."""

    def __init__(self, broker: Broker, group: str) -> None:
        self.next: dict[TP, int] = {}
        self.unacked: dict[TP, int] = {}
        self.can_commit = False
        self._broker = broker
        self._group = group

    async def highwaters(self, *partitions: TP) -> dict[TP, int]:
        """The ends of partitions, from the broker."""
        await current().step()
        await asyncio.sleep(self._broker.delay())
        return {tp: self._broker.end(tp) for tp in partitions}

    def highwater(self, tp: TP) -> int | None:
        """The end of a partition as the last fetch told it."""
        return self._broker.end(tp) if tp in self.next else None

    async def drained(self, partitions: Iterable[TP]) -> dict[TP, float]:
        """Of those of which nothing is left, how many seconds ago the broker said so."""
        mine = (tp for tp in partitions if tp in self.next and not self.unacked.get(tp))
        return {tp: 0.0 for tp in mine if self._broker.end(tp) <= self.next[tp]}

    async def commit_positions(self, positions: Mapping[TP, int]) -> bool:
        """Commits, unless the group is rebalancing."""
        await current().step()
        await asyncio.sleep(self._broker.delay())
        if not self.can_commit:
            return False
        for tp, offset in positions.items():
            self._broker.committed[self._group, tp] = offset
        await current().step()
        return True


class App:
    """What `streams.shell.pipeline` uses of Faust's app: a consumer, a producer, and tables."""

    def __init__(self, broker: Broker, process: Process, group: str) -> None:
        self.consumer = Consumer(broker, group)
        self.producer = self
        self.client = self
        self.tables: list[Table] = []
        self.consumer_generation_id = 0
        self._broker = broker
        self._raw = Producer(broker, process)

    def table(self, _: object, name: str, partitions: int) -> Any:
        """Makes a table; its changelog has as many partitions as its topic."""
        del partitions
        self.tables.append(Table(self._raw, name))
        return self.tables[-1]

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None,
        partition: int | None,
        headers: Sequence[tuple[str, bytes]],
    ) -> "asyncio.Future[RecordMetadata]":
        """As aiokafka's producer."""
        await current().step()
        if partition is None:
            partition = self._broker.partition_of(topic, key)
        return self._raw.send((topic, partition), key, value, headers)


class SimulatedWorker(Member):
    """One life of a worker process."""

    def __init__(
        self,
        broker: Broker,
        group: Group,
        process: Process,
        configuration: Configuration,
        stages: Stages,
    ) -> None:
        super().__init__(process)
        self._broker = broker
        self._group = group
        self._app = App(broker, process, group.name)
        self._configuration = configuration
        loop = asyncio.get_running_loop()
        self._lease = Lease(group.session_seconds, loop.time)
        self.pipeline = Pipeline(
            self._app,
            configuration,
            broker.partitions,
            stages,
            clock=loop.time,
            table=self._app.table,
            outputs=SimulatedOutputs(broker),
            confirmed=self._lease.confirmed,
        )
        self.stop = asyncio.Event()
        self._restored = False
        self._turn = asyncio.Lock()
        self._crashed: asyncio.Future[None] = loop.create_future()
        self._news = asyncio.Event()
        self._agents = [Agent(self._on_raw), Agent(self._on_observations)]
        self._agents += [Agent(self._on_anomalies), Agent(self._on_commands)]
        topics = configuration.topics
        self._agent_of = {source.topic: self._agents[0] for source in configuration.sources}
        self._agent_of[topics.observations] = self._agents[1]
        self._agent_of[topics.anomalies] = self._agents[2]
        self._agent_of[topics.commands] = self._agents[3]

    async def run(self) -> None:
        """Works until `stop` is set. Raises what the pipeline or its producer raises."""
        process = current()
        tasks = [
            *(process.spawn(self._guard(agent.run(self._acked))) for agent in self._agents),
            process.spawn(self._guard(self._fetch())),
            process.spawn(self._beat()),
        ]
        stopping = asyncio.Event()
        rounds = [
            process.spawn(self._guard(self._rounds(stopping, seconds, body)))
            for seconds, body in (
                (self._configuration.worker.checkpoint_seconds, self.pipeline.checkpoint),
                (TICK_SECONDS, self.pipeline.tick),
            )
        ]
        self._group.join(self)
        self._broker.subscribe(self._news)
        stopped = process.spawn(self.stop.wait())
        try:
            await asyncio.wait([stopped, self._crashed], return_when=asyncio.FIRST_COMPLETED)
            if self._crashed.done():
                self._crashed.result()
            stopping.set()
            await asyncio.wait_for(asyncio.gather(*rounds), STOP_SECONDS)
            self._restored = False
            await asyncio.wait_for(self.pipeline.drop(), STOP_SECONDS)
        finally:
            self._broker.unsubscribe(self._news)
            if not process.is_dead:
                self._group.leave(self)
            for task in (*tasks, *rounds, stopped):
                task.cancel()

    async def _guard(self, body: Any) -> None:
        try:
            await body
        except Exception as error:
            if not self._crashed.done():
                self._crashed.set_exception(error)

    async def _rounds(
        self, stopping: asyncio.Event, seconds: float, body: Callable[[], Awaitable[None]]
    ) -> None:
        """As `streams.shell.worker.Worker._rounds`."""
        while not stopping.is_set():
            try:
                await asyncio.wait_for(stopping.wait(), seconds)
            except TimeoutError:
                await current().step()
                if self._restored and not stopping.is_set():
                    await body()

    # the group

    async def _beat(self) -> None:
        """Lets the coordinator hear of it; an answer renews the lease."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._group.session_seconds / 4)
            if self.is_in and not self.process.is_frozen and not self._broker.away_seconds:
                self._lease.renew(loop.time())

    async def revoked(self) -> None:
        """Everything may belong to another worker from now on."""
        async with self._turn:
            await self._guard(self._revoked())

    async def _revoked(self) -> None:
        await current().step()
        self._app.consumer.next.clear()
        self._restored = False
        for agent in self._agents:
            agent.clear()
        self._app.consumer.unacked.clear()
        self._lease.give_up()
        await self.pipeline.drop()
        self._app.consumer.can_commit = False
        if not self.is_in:  # it stood still until it was no member any more
            self._group.join(self)

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """These are this worker's; their stages are restored before anything is read."""
        async with self._turn:
            await self._guard(self._assigned(partitions))

    async def _assigned(self, partitions: frozenset[Partition]) -> None:
        await current().step()
        await asyncio.sleep(self._broker.delay())
        self._lease.renew(asyncio.get_running_loop().time())
        self._app.consumer.can_commit = True
        self._app.consumer_generation_id = self._group.generations
        actives: dict[Any, set[TP]] = {}
        for table in self._app.tables:
            mine = {p for topic, p in partitions if topic == self._topic_of(table)}
            table.recover(self._broker, sorted(mine))
            actives[table] = {TP(table.changelog_topic_name, p) for p in mine}
        await asyncio.sleep(self._broker.delay())
        self.pipeline.forget()
        await self.pipeline.restore(actives)
        positions = {
            TP(*tp): self._broker.committed.get((self._group.name, tp), 0) for tp in partitions
        }
        for tp, offset in self.pipeline.positions().items():
            # A fetch may be under way from where the group is, before the states' positions.
            is_late = self._broker.chance.random() < _FETCHED_BEFORE
            if tp in positions and not (is_late and positions[tp] < offset):
                positions[tp] = offset
        await current().step()
        self._app.consumer.next = positions
        self._restored = True
        self._news.set()

    def _topic_of(self, table: Table) -> str:
        """The input topic whose partitions the table's go with."""
        topics = self._configuration.topics
        named = {"detect": topics.observations, "incident": topics.anomalies}
        return named.get(table.name, table.name.removeprefix("ingest-"))

    # what is read

    async def _fetch(self) -> None:
        """Hands runs to the agents, partition by partition in whatever order."""
        chance = self._broker.chance
        loop = asyncio.get_running_loop()
        ready_at: dict[TP, float] = {}
        while True:
            self._news.clear()
            await current().step()
            wait_seconds: float | None = None
            for tp in chance.sample(sorted(self._app.consumer.next), len(self._app.consumer.next)):
                if self._broker.end(tp) <= self._app.consumer.next[tp]:
                    continue
                rest = max(ready_at.get(tp, 0.0) - loop.time(), self._broker.away_seconds)
                if rest > 0:
                    wait_seconds = min(rest, wait_seconds or rest)
                elif self._app.consumer.unacked.get(tp, 0) < MAX_UNACKED_RUNS:
                    self._deliver(tp, chance.choice(_FETCHES))
                    ready_at[tp] = loop.time() + chance.choice(_PAUSES)
                    wait_seconds = 0.01
            try:
                await asyncio.wait_for(self._news.wait(), wait_seconds)
            except TimeoutError:
                continue

    def _deliver(self, tp: TP, limit: int) -> None:
        consumer = self._app.consumer
        found = self._broker.logs[tp].after(consumer.next[tp], limit)
        run = Run(
            tp.topic,
            tp.partition,
            [stored.offset for stored in found],
            [stored.timestamp_ms for stored in found],
            [stored.key for stored in found],
            [stored.value for stored in found],
            {i: tuple(stored.headers) for i, stored in enumerate(found) if stored.headers},
        )
        consumer.next[tp] = run.offsets[-1] + 1
        consumer.unacked[tp] = consumer.unacked.get(tp, 0) + 1
        self._agent_of[tp.topic].give(run)

    def _acked(self, run: Run) -> None:
        tp = TP(run.topic, run.partition)
        if self._app.consumer.unacked.get(tp):
            self._app.consumer.unacked[tp] -= 1
            self._news.set()

    async def _on_raw(self, run: Run) -> None:
        await self.pipeline.on_raw(run)

    async def _on_observations(self, run: Run) -> None:
        await self.pipeline.on_observations(run)

    async def _on_anomalies(self, run: Run) -> None:
        await self.pipeline.on_anomalies(run)

    async def _on_commands(self, run: Run) -> None:
        await self.pipeline.on_commands(run)
