"""`tocsin broker`: an embedded Kafka that has every topic of a configuration."""

import re
import signal
import subprocess
import sys
from pathlib import Path

from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from deploy.configuration import load
from deploy.credentials import kafka_settings
from deploy.topics import plan, show
from schemas.configuration import Kafka


def test_the_embedded_broker_has_the_topics_of_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "tocsin.yaml"
    config.write_text("sources: [{topic: app-logs, kind: log}]\n")
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "broker", "-c", str(config)],
        stdout=subprocess.PIPE,
        text=True,
    ) as broker:
        assert broker.stdout is not None
        broker.stdout.readline()
        said = broker.stdout.readline()
        try:
            found = re.search(r"TOCSIN_KAFKA_BOOTSTRAP_SERVERS=(\S+)", said)
            assert found is not None, said
            there = replace(load(config), kafka=Kafka(bootstrap_servers=found[1]))
            rows = show(there, kafka_settings(there.kafka))
            topics = AdminClient({"bootstrap.servers": found[1]}).list_topics(timeout=60).topics
        finally:
            broker.send_signal(signal.SIGTERM)
    assert "TOCSIN_KAFKA_CREATE_TOPICS=false" in said
    assert {"app-logs", *(topic.name for topic in plan(load(config)))} <= set(topics)
    assert {row.state for row in rows} == {"in order"}
    assert broker.returncode == 0
