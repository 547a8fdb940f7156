"""A soak: who comes and goes, what is counted, and that a short one is exact on a real Kafka."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from deploy.brokers import apache
from deploy.brokers.mock import MockBroker
from deploy.chaos.soak import Order, run
from deploy.chaos.soak_account import Account
from deploy.chaos.soak_feed import SteadyFeed
from deploy.chaos.soak_plan import AT_FIRST, KINDS, STAYS, plan
from deploy.chaos.soak_watch import life_of
from schemas.configuration import Configuration, Kafka, Topics
from schemas.observations import Observation, ObservationBatch
from tests.streams.shell.conftest import produce


def test_the_same_seed_gives_the_same_changes_and_one_comes_every_minute() -> None:
    steps = plan(7, 30)
    assert steps == plan(7, 30)
    assert steps != plan(8, 30)
    assert len(steps) == 30
    assert [int(step.at_seconds // 60) for step in steps] == list(range(30))


def test_only_who_is_there_can_leave_and_one_worker_always_stays() -> None:
    seen = set[str]()
    for seed in range(50):
        there = set(AT_FIRST)
        for step in plan(seed, 30):
            assert step.target != STAYS
            assert (step.target in there) == (step.kind != "join")
            if step.kind == "join":
                there.add(step.target)
            elif step.kind != "freeze":
                there.remove(step.target)
            seen.add(step.kind)
    assert seen == set(KINDS)


def samples(minutes: int, mb: Callable[[float], float]) -> list[tuple[float, float]]:
    return [(second, mb(second)) for second in range(0, minutes * 60, 2)]


def test_memory_that_goes_on_growing_is_told_from_memory_that_fills_up() -> None:
    grows = life_of("w", samples(20, lambda second: 200 + second / 4))
    fills = life_of("w", samples(20, lambda second: min(300, 200 + second)))
    short = life_of("w", samples(4, lambda second: 200 + second))
    assert grows is not None
    assert fills is not None
    assert short is not None
    assert (grows.grows, fills.grows, short.grows) == (True, False, None)
    assert life_of("w", samples(1, lambda second: 200)) is None


def batch(source: str, end_ms: int, count: int, *, idle: bool = False) -> bytes:
    said = Observation("load", "cart", "gauge", count) if count else None
    observations = (said,) if said else ()
    return msgspec.json.encode(ObservationBatch(source, 0, end_ms, observations, idle))


async def test_a_batch_that_comes_again_is_a_repeat_and_one_with_other_content_contradicts_it(
    mock_broker: MockBroker,
) -> None:
    servers = mock_broker.bootstrap_servers
    topics = Topics(observation_shards=1)
    mock_broker.create_topic(topics.observations, 1)
    mock_broker.create_topic(topics.dead_letters, 1)
    first = batch("telemetry/0", 10_000, 5)
    said = [first, batch("telemetry/0", 10_000, 0, idle=True), first]
    said += [batch("telemetry/0", 20_000, 3), batch("telemetry/0", 20_000, 4)]
    await produce(servers, topics.observations, {0: said})
    letter = [("tocsin.id", b"telemetry/0/17"), ("tocsin.reason", b"late")]
    await produce(servers, topics.dead_letters, {0: [b"x", b"x"]}, headers=letter)

    configuration = Configuration(kafka=Kafka(bootstrap_servers=servers), topics=topics)
    account = Account({"bootstrap.servers": servers}, configuration)
    account.start()
    until(lambda: bool(account.conflicts) and bool(account.refused))
    account.stop()
    assert account.failure is None
    assert account.counted == {("telemetry/0", 10_000): 5, ("telemetry/0", 20_000): 3}
    assert account.repeats == 1
    assert account.conflicts == ["telemetry/0/0/20000"]
    assert account.refused == {"late": 1}


def test_the_feed_counts_what_kafka_has_taken(mock_broker: MockBroker) -> None:
    mock_broker.create_topic("telemetry", 4)
    feed = SteadyFeed(mock_broker.bootstrap_servers, "telemetry", 4, 200, 10_000)
    feed.start()
    until(lambda: sum(feed.sent.copy().values()) >= 100)
    feed.stop()
    assert feed.failure is None
    assert sum(feed.sent.values()) == sum(feed.ends.values())
    assert {source for source, _ in feed.sent} == {f"telemetry/{p}" for p in range(4)}


def until(is_so: Callable[[], bool]) -> None:
    """Waits, generously."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.kafka
def test_a_short_soak_over_a_hundred_partitions_is_exact(tmp_path: Path) -> None:
    if not apache.available():
        pytest.skip("Apache Kafka needs java (17 or newer) and mvn on the path")
    found = run(Order(minutes=2, partitions=100, seed=3, rate=400), tmp_path, lambda _: None)
    assert found.exact, found
    assert found.events > 10_000
    assert found.rebalances > 2
