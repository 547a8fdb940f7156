"""One run: a story, a broker, workers and sinks, and what is in their way."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from msgspec.structs import replace

from deploy.simulation.asking import ask
from deploy.simulation.broker import Broker
from deploy.simulation.core_checks import core_violations
from deploy.simulation.group import Group
from deploy.simulation.hosting import Host, Main
from deploy.simulation.journal import ROOT_MARK, Journal, JournalledStages
from deploy.simulation.left import left_of_sinks
from deploy.simulation.loop import StuckError, VirtualLoop
from deploy.simulation.people import People
from deploy.simulation.plan import RECEIVERS, SINKS, Disturbance, Plan
from deploy.simulation.process import Process, task_factory
from deploy.simulation.receivers import Receiver
from deploy.simulation.reference import Reference, reference_of
from deploy.simulation.sink_checks import LATE_SECONDS, sink_violations
from deploy.simulation.sinks import SCHEMAS, Life, Outside
from deploy.simulation.stores import Store
from deploy.simulation.story import LENGTH_MS, RAW, START_MS, TAIL_MS, Story, story_of
from deploy.simulation.table import changelog, checkpoint_of, checkpoints_of
from deploy.simulation.topics import bundles, partitions, written
from deploy.simulation.worker import SimulatedWorker
from sinks.notifier.clockwork import SETTLE_SECONDS
from streams.shell.checkpoints import records_of

SESSION_SECONDS = 6.0
SLOW_SECONDS = 5.0
"""What a slow broker takes for everything."""
LONGEST_SECONDS = 1_200.0
"""By then everything must have been done; a message is given up after 600 s."""
_BATCH_SECONDS = 0.5
_LOOK_SECONDS = 2.5
_DISK_SECONDS = (0.0, 0.0, 0.0, 0.0, 0.0, 0.002, 0.05)
_LONGEST_DELAY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    violations: tuple[str, ...]
    seconds: float
    """Of the simulated clock."""
    lives: int
    generations: int


def run(plan: Plan) -> Ended:
    """Does the whole run; the same one every time."""
    loop = VirtualLoop()
    loop.set_task_factory(task_factory)
    state = random.getstate()
    random.seed(plan.seed)  # for what spreads its retries
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(_run(plan, loop))
    except StuckError as error:
        return Ended((f"everything stands still: {error}",), loop.time(), 0, 0)
    finally:
        random.setstate(state)
        _cancel_all(loop)
        asyncio.set_event_loop(None)
        loop.close()


async def _run(plan: Plan, loop: VirtualLoop) -> Ended:
    world = World(plan, loop)
    try:
        violations = await world.live()
        if not violations:
            violations = await world.violations()
    finally:
        world.close()
    lives = sum(host.lives for host in world.hosts.values())
    return Ended(tuple(violations), loop.time(), lives, world.group.generations)


class World:
    """Everything there is in a run."""

    def __init__(self, plan: Plan, loop: VirtualLoop) -> None:
        self.plan = plan
        self.loop = loop
        self.story: Story = story_of(plan.story)
        self.reference: Reference = reference_of(plan.story)
        self.configuration = self.story.configuration
        self.chance = random.Random(f"delays {plan.seed}")  # noqa: S311
        self.broker = Broker(partitions(self.story), self.chance, self.now_ms)
        self.journal = Journal()
        self.group = Group("workers", bundles(self.story), self.chance, SESSION_SECONDS)
        self.hosts: dict[str, Host] = {}
        self.stores: dict[str, Store] = {}
        self.receivers = {name: Receiver(name, self.chance) for name in RECEIVERS}
        self.people = People(self.chance, self._running, self.now_ms)
        self.late: list[str] = []
        self._lives: dict[str, Life] = {}
        self._stages = JournalledStages(self.configuration, self.journal)
        self._tasks: list[asyncio.Task[Any]] = []
        self._hosting: dict[str, asyncio.Task[None]] = {}
        self._silent_partitions = 0
        self._is_ending = False
        self._begin()
        for number in range(plan.workers):
            self._add_worker(number)
        for name in SINKS if plan.is_whole else ():
            self._add_sink(name)

    def now_ms(self) -> int:
        """The wall clock."""
        return START_MS + round(self.loop.time() * 1000)

    # how it begins

    def _begin(self) -> None:
        """The history is over: the states are in the changelogs, and its records are deleted."""
        for partition, before in enumerate(self.story.before):
            self.broker.logs[RAW, partition].start = len(before)
        places = written(self.configuration.topics, self.broker.partitions)
        for (table, partition), checkpoint in self.reference.begin.checkpoints.items():
            covered = replace(checkpoint, said_to=dict.fromkeys(places, 0))
            if table == "incident":
                covered = replace(covered, state=ROOT_MARK + covered.state)
            for key, value in records_of(partition, covered):
                self.broker.append((changelog(table), partition), key, value)

    def _add_worker(self, number: int) -> Host:
        return self._host(f"worker {number}", self._worker)

    def _host(self, name: str, main: Main) -> Host:
        host = self.hosts[name] = Host(name, main, self.chance, self.now_ms)
        return host

    def _add_sink(self, name: str) -> None:
        store = self.stores[name] = Store(SCHEMAS[name], self._disk_seconds)
        outside = Outside(self.configuration, self.broker, self.receivers)

        def main(process: Process) -> tuple[Coroutine[Any, Any, None], asyncio.Event]:
            life = self._lives[name] = Life(outside, name, process, store)
            return life.main()

        self._host(name, main)

    def _disk_seconds(self) -> float:
        return self.chance.choice(_DISK_SECONDS)

    def _running(self, sink: str) -> tuple[Process, Life] | None:
        process, life = self.hosts[sink].process, self._lives.get(sink)
        return (process, life) if process and life and life.is_up else None

    def _worker(self, process: Process) -> tuple[Coroutine[Any, Any, None], asyncio.Event]:
        worker = SimulatedWorker(self.broker, self.group, process, self.configuration, self._stages)
        return worker.run(), worker.stop

    # how it goes

    async def live(self) -> list[str]:
        """From the first record until all is done; what is not done in time."""
        self._spawn(self.group.run())
        for host in self.hosts.values():
            self._hosting[host.name] = self._spawn(host.run())
        for partition in range(self.story.partitions):
            self._spawn(self._produce(partition))
        if self.plan.is_whole:
            for receiver in self.receivers.values():
                self._spawn(self.people.watch(receiver))
            self._spawn(self._look_at_timers())
        topics, chance = self.configuration.topics, random.Random(f"asks {self.plan.seed}")  # noqa: S311
        asking = self._spawn(ask(self.broker, topics, chance, self.now_ms))
        for disturbance in self.plan.active:
            self.loop.call_at(disturbance.at_seconds, partial(self._disturb, disturbance))
        await asyncio.sleep((LENGTH_MS + TAIL_MS) / 1000)
        asking.cancel()
        left = await self._until_empty(self._left)
        self.people.rest()
        self._is_ending = True
        left = left or await self._until_empty(self._left)
        await self._end(name for name in self.hosts if name not in SINKS)
        left = left or await self._until_empty(self._left_of_sinks)
        await self._end(self.hosts)
        return [*left, *self.late]

    async def _until_empty(self, left: Callable[[], list[str]]) -> list[str]:
        """Waits until nothing is left to do; what is, if that takes too long."""
        while found := left():
            if self.loop.time() > LONGEST_SECONDS:
                return [f"not done: {what}" for what in found]
            await asyncio.sleep(1)
        return []

    async def _end(self, names: Iterable[str]) -> None:
        ending = [name for name in names if name in self.hosts]
        for name in ending:
            self.hosts[name].end()
        await asyncio.gather(*(self._hosting[name] for name in ending))

    def _spawn(self, body: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self.loop.create_task(body)
        self._tasks.append(task)
        return task

    async def _produce(self, partition: int) -> None:
        """Sends a partition's records in their order, at times later than they were made."""
        waiting = list(self.story.records[partition])[::-1]
        while waiting:
            delay = self.chance.choice((0, 0, 0, 0, 0, 0, 0, 1.0, _LONGEST_DELAY_SECONDS))
            await asyncio.sleep(_BATCH_SECONDS + delay + self.broker.away_seconds)
            while waiting and waiting[-1][0] <= self.now_ms():
                self.broker.append((RAW, partition), None, waiting.pop()[1])
        self._silent_partitions += 1

    def _left(self) -> list[str]:
        """What the states do not hold yet of their topics."""
        covered: dict[str, int] = {}
        for checkpoint in checkpoints_of(self.broker):
            covered.update(checkpoint.next_offsets)
        topics = self.configuration.topics
        if self._silent_partitions < self.story.partitions:
            return ["telemetry is still to come"]
        read = (RAW, topics.observations, topics.anomalies, topics.commands)
        return [
            f"{topic}/{p}"
            for topic in read
            for p in range(self.broker.partitions[topic])
            if covered.get(f"{topic}/{p}", 0) < self.broker.end((topic, p))
        ]

    def _left_of_sinks(self) -> list[str]:
        if not self.plan.is_whole:
            return []
        return left_of_sinks(self.configuration.topics, self.broker, self.stores)

    async def _look_at_timers(self) -> None:
        """Notes timers that are overdue although their notifier could have fired them."""
        able_since = None
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = self.loop.time()
            store = self.stores["notifier"]
            if self._running("notifier") is None or store.is_full:
                able_since = None
                continue
            able_since = now if able_since is None else able_since
            ((due_ms,),) = store.rows("SELECT min(due_ms) FROM notifier_timer")
            late = (self.now_ms() - due_ms) / 1000 if due_ms is not None else 0
            if min(late, now - able_since) > LATE_SECONDS + SETTLE_SECONDS:
                self.late.append(f"a timer is {late:.0f} s late")

    # what is in the way

    def _disturb(self, what: Disturbance) -> None:
        host = self.hosts.get(what.whom)
        if what.kind == "kill" and host is not None:
            host.kill(what.step)
        elif what.kind == "stop" and host is not None:
            host.stop()
        elif what.kind == "freeze" and host is not None:
            self._freeze(host, what.seconds)
        elif what.kind == "rebalance":
            self._rebalance(what.whom)
        elif what.kind == "full":
            self._fill(what.whom, what.seconds)
        elif what.kind == "deaf":
            self._deafen(what.whom, what.seconds)
        elif what.kind == "join":
            self._join()
        elif what.kind == "away":
            self.broker.go_away(what.seconds)
        elif what.kind == "slow":
            self.broker.be_slow(what.seconds, SLOW_SECONDS)
        elif what.kind == "unsure":
            self.broker.lost_acks = 0.2
            self.loop.call_later(what.seconds, self._be_sure)

    def _join(self) -> None:
        if not self._is_ending:
            host = self._add_worker(len(self.hosts))
            self._hosting[host.name] = self._spawn(host.run())

    def _rebalance(self, whom: str) -> None:
        running = self._running(whom) if whom in SINKS else None
        if running is None:
            self.group.rebalance()
        elif (client := running[1].consumer.client) is not None:
            client.rebalance()

    def _fill(self, sink: str, seconds: float) -> None:
        store = self.stores[sink]
        store.is_full = True
        self.loop.call_later(seconds, setattr, store, "is_full", False)

    def _deafen(self, name: str, seconds: float) -> None:
        receiver = self.receivers[name]
        receiver.is_deaf = True
        self.loop.call_later(seconds, setattr, receiver, "is_deaf", False)

    def _be_sure(self) -> None:
        self.broker.lost_acks = 0.0

    def _freeze(self, host: Host, seconds: float) -> None:
        process = host.process
        if process is None:
            return
        process.freeze()
        self.loop.call_later(seconds, process.thaw)
        if seconds > SESSION_SECONDS:
            self.loop.call_later(SESSION_SECONDS, self.group.rebalance)

    # what must hold

    def close(self) -> None:
        """Lets the stores go."""
        for store in self.stores.values():
            store.close()

    async def violations(self) -> list[str]:
        """What does not hold once all is done."""
        found = list(self._core_violations())
        if self.plan.is_whole:
            found += await sink_violations(
                self.broker,
                self.configuration,
                self.stores,
                self.receivers,
                self.people.pressed,
            )
        return found

    def _core_violations(self) -> Iterator[str]:
        last = checkpoint_of(self.broker.logs[changelog("incident"), 0], 0)
        if last is None:
            yield "the incident stage has no checkpoint"
            return
        yield from core_violations(
            self.broker, self.configuration, self.reference, self.journal, last
        )


def _cancel_all(loop: VirtualLoop) -> None:
    """So that nothing complains of tasks that are never ended."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.drop_timers()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
