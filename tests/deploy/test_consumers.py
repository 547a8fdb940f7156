"""The examples of a consumer of incidents, as somebody else would run them."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import Producer

from deploy.brokers import apache
from deploy.brokers.apache import ApacheKafka
from deploy.credentials import kafka_settings
from deploy.topics import create, plan
from schemas.configuration import Configuration, Kafka, Topics
from streams.shell.outgoing import incident_events
from tests.sinks import examples

CONSUMERS = Path(__file__).parents[2] / "deploy" / "examples" / "consumers"

MOST_LINES = 10
NO_CODE = ("import ", "from ", "//", '"""')


@pytest.mark.parametrize("name", ["consumer.py", "Incidents.java"])
def test_an_example_has_ten_lines_beside_its_imports(name: str) -> None:
    lines = (CONSUMERS / name).read_text(encoding="utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(NO_CODE)]
    assert len(code) <= MOST_LINES
    assert max(map(len, code)) <= 100


@pytest.fixture(scope="module")
def told(kafka_broker: ApacheKafka) -> ApacheKafka:
    """A broker with the events of one incident on the topic of the default configuration."""
    configuration = Configuration(kafka=Kafka(bootstrap_servers=kafka_broker.bootstrap_servers))
    log = [topic for topic in plan(configuration) if topic.name == Topics().incident_events]
    create(kafka_settings(configuration.kafka), log, replication_factor=1)
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})
    for record in incident_events(examples.cpu_fault(), Topics()):
        if record.topic == Topics().incident_events:
            headers = list(record.headers)
            producer.produce(record.topic, key=record.key, value=record.value, headers=headers)
    assert producer.flush(30) == 0
    return kafka_broker


def lines_of(command: Sequence[str], count: int) -> list[str]:
    """The first lines that an endless program prints."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        try:
            return [program.stdout.readline() for _ in range(count)]
        finally:
            program.kill()


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(90)
def test_the_python_example_prints_every_event(told: ApacheKafka) -> None:
    events = examples.cpu_fault()
    command = [sys.executable, str(CONSUMERS / "consumer.py"), told.bootstrap_servers]
    printed = lines_of(command, len(events))
    assert printed == [f"{e.type} {e.incident.severity} {e.text}\n" for e in events]


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(90)
def test_the_java_example_prints_every_event(told: ApacheKafka) -> None:
    if shutil.which("javac") is None:
        pytest.skip("running a Java source file needs a JDK (javac on the path)")
    events = examples.cpu_fault()
    source = str(CONSUMERS / "Incidents.java")
    command = ["java", "-cp", f"{apache.jars()}/*", source, told.bootstrap_servers]
    printed = lines_of(command, len(events))
    for event, line in zip(events, printed, strict=True):
        assert line.startswith(
            f'tocsin.incident.{event.type} {{"incident_id":"{event.incident_id}"'
        )
