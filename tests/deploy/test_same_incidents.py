"""Through Kafka and by replay from files, the same events give the same incidents."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from deploy.brokers.mock import MockBroker
from deploy.commands.replay import latest, lines, runs
from deploy.configuration import load
from deploy.demo import CONFIG, RECORDING
from deploy.demo.feed import HEARTBEAT_MS, Feed, Feeder
from deploy.demo.watch import Watcher
from deploy.topics import partitions_of
from schemas.configuration import Configuration
from schemas.incidents import Incident
from streams.files import read_events
from streams.pipeline import Pipeline

PARTITIONS = 3
TAIL_MS = 600_000


@pytest.fixture
def broker() -> Iterator[MockBroker]:
    raw = {"telemetry": PARTITIONS}
    with MockBroker(raw | partitions_of(load(CONFIG, {}), raw)) as running:
        yield running


@pytest.mark.slow
def test_kafka_and_replay_give_the_same_incidents(broker: MockBroker, tmp_path: Path) -> None:
    environment = {
        "TOCSIN_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "TOCSIN_WORKER_ADMIN": "{host: 127.0.0.1, port: 0}",
        "TOCSIN_WORKER_DATA_DIR": str(tmp_path),
    }
    configuration = load(CONFIG, environment)
    assert through_kafka(configuration, environment) == by_replay(configuration)


def by_replay(
    configuration: Configuration, shift_ms: int = 0, tail_ms: int = TAIL_MS
) -> list[Incident]:
    """As `tocsin replay` does, with the heartbeats that the feeder adds."""
    records = [orjson.loads(line) for line in recorded()]
    for record in records:
        record["time"] += shift_ms
    first_ms, last_ms = records[0]["time"], records[-1]["time"]
    ends = range(first_ms, last_ms + tail_ms + HEARTBEAT_MS, HEARTBEAT_MS)
    everything = sorted([*records, *({"time": ms} for ms in ends)], key=lambda r: r["time"])
    pipeline = Pipeline(configuration)
    log = [e for run in runs(map(orjson.dumps, everything)) for e in pipeline.process(run).events]
    return latest(log)


def through_kafka(configuration: Configuration, environment: dict[str, str]) -> list[Incident]:
    """A worker process on a broker, fed over several partitions as fast as it reads."""
    stop = threading.Event()
    feed = Feed(
        lines=recorded(),
        topic="telemetry",
        partitions=PARTITIONS,
        shift_ms=0,
        tail_ms=TAIL_MS,
        speed=1e6,
        group=configuration.worker.consumer_group,
    )
    watcher = Watcher(configuration.kafka.bootstrap_servers, configuration.topics)
    feeder = Feeder(feed, configuration.kafka.bootstrap_servers, stop)
    worker = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "worker", "-c", str(CONFIG)],
        env={**os.environ, **environment, "TOCSIN_DEMO_SECRET": "for this test alone"},
    )
    try:
        feeder.start()
        wait_until_read(feeder, watcher, configuration)
    finally:
        stop.set()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0
        watcher.close()
    return latest(sorted(watcher.seen.events.values(), key=lambda e: (e.incident_id, e.version)))


def wait_until_read(feeder: Feeder, watcher: Watcher, configuration: Configuration) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        watcher.poll(0.2)
        assert feeder.failure is None
        quiet = time.monotonic() - watcher.seen.last_news > 2
        reached = watcher.seen.reached(configuration.topics.observation_shards)
        if feeder.finished and reached >= feeder.clock_ms - 20_000 and quiet:
            return
    raise AssertionError("the worker did not read everything in time")


def recorded() -> Iterator[bytes]:
    return read_events(sorted(RECORDING.glob("*.jsonl.gz")))


def test_a_replay_twice_over_gives_the_same_bytes() -> None:
    configuration = load(CONFIG, {})
    once, again = by_replay(configuration), by_replay(configuration)
    assert once
    assert lines(once) == lines(again)
