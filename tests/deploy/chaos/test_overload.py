"""Ten times the usual input, more than the worker reads: what is seen of it, and what is kept."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from deploy.brokers.apache import ApacheKafka
from deploy.demo.children import free_ports
from schemas.observations import ObservationBatch

READ_PER_SECOND = 1000.0
"""What the worker can read."""

USUAL_PER_SECOND, CRITICAL_SHARE, BURST = 200, 10, 10
"""Every tenth record is of the most critical service; a burst is ten times the usual."""

USUAL_SECONDS, BURST_SECONDS = 10, 20
LONGEST_SECONDS = 180.0
MORE_MEMORY_MB = 150.0
WINDOW_SECONDS = 2


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_a_burst_is_seen_and_the_most_critical_is_read_whole(
    kafka_broker: ApacheKafka, tmp_path: Path
) -> None:
    port = free_ports(1)[0]
    file = tmp_path / "tocsin.json"
    file.write_bytes(msgspec.json.encode(configured(kafka_broker, port, tmp_path)))
    kafka_broker.create_topic("overload.telemetry", 2)
    feed = Feed(kafka_broker.bootstrap_servers)
    with slow_worker(file, tmp_path / "worker.log") as pid:
        until_ready(port)
        feed.send(USUAL_PER_SECOND, USUAL_SECONDS)
        before_mb = memory_mb(pid)
        seen = Seen(port, pid)
        feed.send(USUAL_PER_SECOND * BURST, BURST_SECONDS, seen.look)
        deadline = time.monotonic() + LONGEST_SECONDS
        while seen.sheds or seen.lag:
            assert time.monotonic() < deadline, "the burst is not made up for"
            feed.send(USUAL_PER_SECOND, 1, seen.look)
        feed.send(USUAL_PER_SECOND, 3 * WINDOW_SECONDS + 2, seen.look)
        wait_until_read(seen, deadline)

    assert seen.most_lag > READ_PER_SECOND
    assert seen.shed["4"] > 0
    assert "1" not in seen.shed
    assert seen.most_mb - before_mb < MORE_MEMORY_MB
    critical, marked = counted(kafka_broker.bootstrap_servers)
    whole = {end: count for end, count in feed.critical.items() if end <= max(critical)}
    assert critical == whole
    assert marked, "no window says that something is left out of it"
    log = (tmp_path / "worker.log").read_text()
    assert "services less critical than tier" in log
    assert "have been left out since the start" in log


def configured(broker: ApacheKafka, port: int, folder: Path) -> dict[str, object]:
    """A service that is most critical, and one that is least."""
    names = (
        "observations", "anomalies", "incidents", "incident_events", "silence_events", "commands",
        "deliveries",
    )  # fmt: skip
    return {
        "kafka": {"bootstrap_servers": broker.bootstrap_servers, "create_topics": True},
        "topics": {
            **{name: f"overload.{name.replace('_', '-')}" for name in names},
            "dead_letters": "overload.dead-letters",
            "observation_shards": 1,
        },
        "sources": [{"topic": "overload.telemetry"}],
        "windows": {"window_seconds": WINDOW_SECONDS, "allowed_lateness_seconds": 1},
        "worker": {
            "consumer_group": "overload.worker",
            "shed_after_seconds": 2,
            "checkpoint_seconds": 2,
            "data_dir": str(folder / "data"),
            "admin": {"host": "127.0.0.1", "port": port},
        },
        "catalogue": {"services": [{"name": "pay", "tier": 1}, {"name": "bulk", "tier": 4}]},
        "logging": {"level": "INFO"},
    }


class Feed:
    """Sends records of the moment, and counts the critical ones by the end of their window."""

    def __init__(self, servers: str) -> None:
        self.critical: Counter[int] = Counter()
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})
        self._sent = 0

    def send(self, per_second: int, seconds: int, look: object = None) -> None:
        """So many, spread over so many seconds; `look` is called once in each."""
        for _ in range(seconds):
            began = time.monotonic()
            for tenth in range(10):
                for _ in range(per_second // 10):
                    self._one()
                self._producer.poll(0)
                time.sleep(max(0.0, began + (tenth + 1) / 10 - time.monotonic()))
            if callable(look):
                look()
        assert self._producer.flush(60) == 0

    def _one(self) -> None:
        self._sent += 1
        now_ms = int(time.time() * 1000)
        is_critical = self._sent % CRITICAL_SHARE == 0
        record = {
            "time": now_ms,
            "service": "pay" if is_critical else "bulk",
            "metric": "load_ratio",
            "value": 0.5,
        }
        if is_critical:
            length_ms = WINDOW_SECONDS * 1000
            self.critical[now_ms - now_ms % length_ms + length_ms] += 1
        value = msgspec.json.encode(record)
        self._producer.produce("overload.telemetry", value, partition=self._sent // 10 % 2)


class Seen:
    """What metrics and the system say of the worker, from look to look."""

    def __init__(self, port: int, pid: int) -> None:
        self.lag = self.most_lag = self.sheds = self.most_mb = 0.0
        self.shed: dict[str, float] = {}
        self._port, self._pid = port, pid

    def look(self) -> None:
        """Once more."""
        with urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        lags = [
            s.value
            for s in samples
            if s.name == "tocsin_consumer_lag_records" and s.labels["topic"] == "overload.telemetry"
        ]
        self.lag = sum(lags) if sum(lags) > USUAL_PER_SECOND else 0.0
        self.most_lag = max(self.most_lag, sum(lags))
        self.sheds = sum(s.value for s in samples if s.name == "tocsin_shed_tiers")
        self.shed = {
            s.labels["tier"]: s.value for s in samples if s.name == "tocsin_shed_records_total"
        }
        self.most_mb = max(self.most_mb, memory_mb(self._pid))


@contextmanager
def slow_worker(file: Path, log: Path) -> Iterator[int]:
    """Runs one; gives its process id."""
    command = [sys.executable, "-m", "tests.deploy.chaos.slow_worker", str(file)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, str(READ_PER_SECOND)], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process.pid
            assert process.poll() is None, log.read_text()[-2000:]
        finally:
            process.kill()
            process.wait()


def until_ready(port: int) -> None:
    """Waits until the worker has its partitions."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=10):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("the worker is not ready")


def wait_until_read(seen: Seen, deadline: float) -> None:
    """Waits until the worker has next to no lag."""
    while seen.lag:
        assert time.monotonic() < deadline + LONGEST_SECONDS
        time.sleep(0.5)
        seen.look()


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def counted(servers: str) -> tuple[dict[int, int], int]:
    """Records of the critical service by end of window, of all windows that were closed, and how
    many say that something is left out."""
    found: Counter[int] = Counter()
    marked = 0
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "overload.look"})
    try:
        place = TopicPartition("overload.observations", 0, 0)
        consumer.assign([place])
        _, end = consumer.get_watermark_offsets(place, timeout=30)
        ends_of: dict[str, int] = {}
        while True:
            for message in consumer.consume(500, 1.0):
                batch = msgspec.json.decode(message.value() or b"", type=ObservationBatch)
                if batch.idle:
                    continue
                ends_of[batch.source] = max(ends_of.get(batch.source, 0), batch.window_end_ms)
                marked += batch.shed_tier is not None
                for observation in batch.observations:
                    if observation.service == "pay":
                        found[batch.window_end_ms] += observation.count
                if (message.offset() or 0) >= end - 1:
                    closed = min(ends_of.values())
                    return {at: n for at, n in found.items() if at <= closed}, marked
    finally:
        consumer.close()
