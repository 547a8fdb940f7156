"""The worker on the embedded broker."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from deploy.brokers.mock import MockBroker
from schemas.configuration import Configuration, Topics, Windows
from schemas.incidents import Command, IncidentEvent
from schemas.observations import ObservationBatch
from schemas.silences import SilenceEvent
from streams.run import Run
from streams.shell.connection import WorkerError
from streams.shell.worker import Worker
from tests.streams.shell.conftest import (
    START_MS,
    LimitStages,
    Reader,
    Records,
    committed,
    metric,
    produce,
    topic_partitions,
    working,
)

Make = Callable[..., Configuration]


def refused(reason: str) -> float:
    labels = {"reason": reason}
    return REGISTRY.get_sample_value("tocsin_commands_refused_total", labels) or 0.0


def create_topics(broker: MockBroker, configuration: Configuration, raw: int) -> None:
    for topic, partitions in topic_partitions(configuration, raw).items():
        broker.create_topic(topic, partitions)


async def test_every_event_is_counted_once_and_its_offset_is_committed(
    mock_broker: MockBroker, configuration: Make
) -> None:
    servers = mock_broker.bootstrap_servers
    c = configuration(servers)
    create_topics(mock_broker, c, raw=2)
    values = [metric(START_MS + 100 * i) for i in range(2000)]
    await produce(servers, "telemetry", {0: values, 1: values})

    async with (
        working(Worker(c, stages=LimitStages(c))),
        Reader(servers, c.topics.observations) as reader,
    ):
        records = await reader.until(lambda r: counted(r) >= 2 * 1900)
    assert counted(records) == 2 * 1900
    assert await committed(servers, c.worker.consumer_group, "telemetry", 0) == 2000


async def test_a_bad_record_is_kept_whole_with_where_it_came_from(
    mock_broker: MockBroker, configuration: Make
) -> None:
    servers = mock_broker.bootstrap_servers
    c = configuration(servers)
    create_topics(mock_broker, c, raw=1)
    headers = [("trace", b"\xff\x00"), ("trace", b"again")]
    good = metric(START_MS)
    await produce(servers, "telemetry", {0: [good, b"{broken", good]}, b"the key", headers)

    async with (
        working(Worker(c, stages=LimitStages(c))),
        Reader(servers, c.topics.dead_letters) as reader,
    ):
        letter = (await reader.until(lambda r: len(r) >= 1))[0]
    assert (letter.key, letter.value) == (b"the key", b"{broken")
    assert list(letter.headers[:2]) == headers
    added = {name: value.decode() for name, value in letter.headers[2:]}
    assert added["__connect.errors.topic"] == "telemetry"
    assert added["__connect.errors.partition"] == "0"
    assert added["__connect.errors.offset"] == "1"
    assert added["__connect.errors.stage"] == "VALUE_CONVERTER"
    assert added["__connect.errors.exception.class.name"]
    assert "telemetry/0 offset 1" in added["__connect.errors.exception.message"]
    assert added["tocsin.id"] == "telemetry/0/1"
    assert added["tocsin.environment"] == c.environment
    assert added["tocsin.reason"]


async def test_a_folder_that_cannot_be_made_is_named(
    mock_broker: MockBroker, configuration: Make
) -> None:
    c = configuration(mock_broker.bootstrap_servers)
    create_topics(mock_broker, c, raw=1)
    section = msgspec.structs.replace(c.worker, data_dir="/dev/null/worker")
    worker = Worker(msgspec.structs.replace(c, worker=section), stages=LimitStages(c))
    with pytest.raises(WorkerError, match=r"/dev/null/worker cannot be made .*worker\.data_dir"):
        await worker.run(asyncio.Event())


@pytest.mark.slow
async def test_an_incident_and_what_people_say_of_it_go_into_one_log(
    mock_broker: MockBroker, configuration: Make
) -> None:
    servers = mock_broker.bootstrap_servers
    c = configuration(servers, checkpoint_seconds=60)
    create_topics(mock_broker, c, raw=1)
    bad = [metric(START_MS + 1000 * i, 100.0) for i in range(60)]
    await produce(servers, "telemetry", {0: bad})
    refused_before = refused("unknown_incident")

    async with Reader(servers, c.topics.incident_events, c.topics.incidents) as reader:
        async with working(Worker(c, stages=LimitStages(c))):
            opened = (await reader.until(lambda r: len(events(r, c)) >= 1))[0]
            incident_id = opened.key.decode()
            note = Command(
                id="1", type="note", incident_id=incident_id, actor="Ada", issued_ms=1, text="seen"
            )
            no_commands = [b"not a command", b'{"id":"\xff"}', b'{"x":' + b"[" * 10_000]
            unknown = msgspec.structs.replace(note, id="2", incident_id="INC-00000000")
            kept = [msgspec.json.encode(unknown), msgspec.json.encode(note)]
            asked = [msgspec.json.encode(note), *no_commands, *kept]
            await produce(servers, c.topics.commands, {0: asked})
            await reader.until(lambda r: any(e.type == "noted" for e in events(r, c)))
        first = {e.id: e for e in events(reader.records, c)}
        # The command is in the checkpoint that was written before it was answered.
        async with working(Worker(c, stages=LimitStages(c))):
            later = msgspec.structs.replace(note, id="3", text="seen again")
            await produce(servers, c.topics.commands, {0: [msgspec.json.encode(later)]})
            await reader.until(lambda r: [e.type for e in events(r, c)].count("noted") > 1)
        said = [e.id for e in events(reader.records, c)]
        again = {e.id: e for e in events(reader.records, c)}
    assert len(said) == len(again) == len(first) + 1
    assert {id: again[id] for id in first} == first
    assert [e.actor for e in first.values() if e.type == "noted"] == ["Ada"]
    assert refused("unknown_incident") > refused_before
    headers = dict(opened.headers)
    assert headers["ce_id"].decode() == f"{incident_id}/1"
    assert headers["ce_type"] == b"tocsin.incident.opened"
    assert headers["content-type"] == b"application/json"
    assert headers["ce_time"].endswith(b"Z")
    latest = [r for r in reader.records if r.topic == c.topics.incidents][-1]
    assert latest.key == opened.key


def taken(topic: str) -> float:
    """Records of a topic that workers of this process have taken in."""
    return REGISTRY.get_sample_value("tocsin_events_total", {"topic": topic}) or 0.0


async def until(condition: Callable[[], bool], timeout_seconds: float = 30) -> None:
    async with asyncio.timeout(timeout_seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.05)


def ends(records: Sequence[Any], c: Configuration) -> list[SilenceEvent]:
    topic = c.topics.silence_events
    return [msgspec.json.decode(r.value, type=SilenceEvent) for r in records if r.topic == topic]


@pytest.mark.slow
async def test_that_a_silence_ends_stands_on_a_topic_of_its_own_and_once(
    mock_broker: MockBroker, configuration: Make
) -> None:
    """By itself or by a person's word, and also if a worker reads it all again."""
    servers = mock_broker.bootstrap_servers
    c = configuration(servers, checkpoint_seconds=60)
    create_topics(mock_broker, c, raw=1)
    first = Command(
        id="s1",
        type="silence",
        incident_id="",
        actor="ada",
        issued_ms=1,
        matchers=("service=cart",),
        from_ms=START_MS,
        to_ms=START_MS + 1_200_000,
    )
    second = msgspec.structs.replace(first, id="s2", to_ms=START_MS + 9_000_000)
    over = Command(id="3", type="unsilence", incident_id="", actor="bob", issued_ms=1, into="s2")
    asked = [msgspec.json.encode(command) for command in (first, second)]
    bad = [metric(START_MS + 1000 * i, 100.0) for i in range(60)]
    later = [metric(START_MS + 10_000 * i) for i in range(7, 180)]

    async with Reader(servers, c.topics.silence_events, c.topics.incident_events) as reader:
        async with working(Worker(c, stages=LimitStages(c))):
            before = taken(c.topics.commands)
            await produce(servers, c.topics.commands, {0: asked})
            await until(lambda: taken(c.topics.commands) == before + 2)  # time has not begun
            await produce(servers, "telemetry", {0: [*bad, *later]})
            await reader.until(lambda r: len(ends(r, c)) >= 2)
        async with working(Worker(c, stages=LimitStages(c))):
            await produce(servers, c.topics.commands, {0: [msgspec.json.encode(over)]})
            await reader.until(lambda r: len(ends(r, c)) >= 3)
    told = [(e.silence.id, e.type, e.ended_by) for e in ends(reader.records, c)]
    assert told == [("s1", "ending", None), ("s1", "ended", None), ("s2", "ended", "bob")]
    by_person = next(r for r in reader.records if r.key == b"s2")
    headers = dict(by_person.headers)
    assert headers["ce_type"] == b"tocsin.silence.ended"
    assert headers["ce_id"].startswith(b"s2/ended/")


def observed(records: Sequence[Any]) -> list[ObservationBatch]:
    topic = Topics().observations
    return [
        msgspec.json.decode(r.value, type=ObservationBatch) for r in records if r.topic == topic
    ]


def idle_in(records: Sequence[Any]) -> set[str]:
    return {batch.source for batch in observed(records) if batch.idle}


@pytest.mark.slow
async def test_a_quiet_source_is_not_waited_for_and_event_time_goes_on(
    mock_broker: MockBroker, configuration: Make
) -> None:
    servers = mock_broker.bootstrap_servers
    windows = Windows(window_seconds=1, allowed_lateness_seconds=1, idle_timeout_seconds=1)
    c = configuration(servers, windows=windows)
    create_topics(mock_broker, c, raw=2)
    await produce(servers, "telemetry", {0: [metric(START_MS)]})

    async with (
        working(Worker(c, stages=LimitStages(c))),
        Reader(servers, c.topics.observations, c.topics.anomalies) as reader,
    ):
        records = await reader.until(
            lambda r: (
                idle_in(r) == {"telemetry/0", "telemetry/1"}
                and sum(1 for x in r if x.topic == c.topics.anomalies) >= 4
            )
        )
    batches = observed(records)
    # Nothing came after the one record, and yet its window was closed.
    assert sum(o.count for b in batches for o in b.observations) == 1


class Defect(LimitStages):
    """Ingest fails at the second run."""

    def ingest(self, *args: Any) -> Any:
        stage = super().ingest(*args)
        process, runs = stage.process, []

        def failing(run: Run) -> Any:
            runs.append(run)
            if len(runs) > 1:
                raise RuntimeError("a defect in a stage")
            return process(run)

        stage.process = failing  # type: ignore[method-assign]
        return stage


async def test_an_unexpected_error_ends_the_worker_and_commits_nothing_of_the_run(
    mock_broker: MockBroker, configuration: Make
) -> None:
    servers = mock_broker.bootstrap_servers
    c = configuration(servers, checkpoint_seconds=0.2)
    create_topics(mock_broker, c, raw=1)
    await produce(servers, "telemetry", {0: [metric(START_MS)]})
    worker = Worker(c, stages=Defect(c))
    task = asyncio.create_task(worker.run(asyncio.Event()))
    await until_committed(servers, c, 1)
    await produce(servers, "telemetry", {0: [metric(START_MS)] * 5})
    with pytest.raises(WorkerError, match="a defect in a stage"):
        await asyncio.wait_for(task, 15)
    assert not worker.ready()
    assert await committed(servers, c.worker.consumer_group, "telemetry", 0) == 1


async def test_a_broker_that_is_not_there_is_named(configuration: Make) -> None:
    with pytest.raises(WorkerError, match=r"127\.0\.0\.1:1 does not answer.*bootstrap_servers"):
        await Worker(configuration("127.0.0.1:1")).run(asyncio.Event())


@pytest.mark.parametrize(
    ("topic", "partitions", "complaint"),
    [
        ("tocsin.observations.v1", 1, r"has 1 partitions.*shards is 2"),
        ("worker-ingest-telemetry-changelog", 3, r"has 3 partitions and telemetry has 2"),
        ("tocsin.commands.v1", 0, r"do not exist.*: tocsin\.commands\.v1; create them"),
        ("telemetry", 0, r"do not exist.*: telemetry; create them"),
    ],
)
async def test_topics_that_do_not_fit_are_named_with_how_to_mend_them(
    mock_broker: MockBroker, configuration: Make, topic: str, partitions: int, complaint: str
) -> None:
    c = configuration(mock_broker.bootstrap_servers)
    for name, count in (topic_partitions(c, 2) | {topic: partitions}).items():
        if count:
            mock_broker.create_topic(name, count)
    with pytest.raises(WorkerError, match=complaint):
        await Worker(c, stages=LimitStages(c)).run(asyncio.Event())


async def test_what_was_read_before_a_rebalance_is_passed_over_by_who_has_no_stages_now(
    mock_broker: MockBroker, configuration: Make
) -> None:
    """Faust may resume a restoring that the next rebalance has cut short, and hand out runs."""
    c = configuration(mock_broker.bootstrap_servers)
    create_topics(mock_broker, c, raw=1)
    worker = Worker(c, stages=LimitStages(c))
    async with working(worker):
        async with asyncio.timeout(30):
            while not worker.ready():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        pipeline = worker._pipeline
        assert pipeline is not None

        async def take(topic: str, body: Callable[[Run], Awaitable[None]]) -> None:
            await body(Run(topic, 7, [0], [START_MS], [None], [b"{}"]))

        bodies = {
            "telemetry": pipeline.on_raw,
            c.topics.observations: pipeline.on_observations,
            c.topics.anomalies: pipeline.on_anomalies,
        }
        for topic, body in bodies.items():
            with pytest.raises(WorkerError):
                await take(topic, body)
        pipeline.forget()
        for topic, body in [*bodies.items(), (c.topics.commands, pipeline.on_commands)]:
            await take(topic, body)


async def until_committed(servers: str, c: Configuration, offset: int) -> None:
    """Waits for a checkpoint's commit."""
    async with asyncio.timeout(15):
        while await committed(servers, c.worker.consumer_group, "telemetry", 0) != offset:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def counted(records: Records) -> int:
    """Events in all batches, repeats dropped."""
    decoded = [msgspec.json.decode(r.value, type=ObservationBatch) for r in records]
    batches = {batch.id: batch for batch in decoded if not batch.idle}
    return sum(o.count for b in batches.values() for o in b.observations)


def events(records: Records, c: Configuration) -> list[IncidentEvent]:
    """What the log of incidents holds."""
    return [
        msgspec.json.decode(r.value, type=IncidentEvent)
        for r in records
        if r.topic == c.topics.incident_events
    ]
