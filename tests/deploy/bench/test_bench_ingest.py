"""The measurement measures: everything is read, and the numbers belong together."""

import json
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from deploy.bench.ingest import MOCK_EVENTS, main
from deploy.brokers.apache import ApacheKafka


@pytest.mark.slow
def test_it_measures_worker_and_reference_on_the_embedded_broker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ingest.json"
    assert main(events=20_000, repeats=1, broker="mock", json=file) == 0
    result = json.loads(file.read_text())
    assert result["events"] == 20_000
    assert result["counts"]["dead_letters"] == 0
    assert result["counts"]["windows"] > 0
    assert result["events_per_second"] > 0
    rates = result["events_per_second"] / result["bare_events_per_second"]
    assert result["ratio"] == pytest.approx(rates, abs=0.01)
    assert result["peak_rss_mb"] > 10
    assert set(result["stages"]) == {"ingest", "detect", "incident", "transport"}
    assert sum(stage["share"] for stage in result["stages"].values()) == pytest.approx(1, abs=0.02)
    assert "tocsin worker" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.kafka
def test_a_given_broker_is_left_as_it_was(kafka_broker: ApacheKafka, tmp_path: Path) -> None:
    servers = kafka_broker.bootstrap_servers
    file = tmp_path / "ingest.json"
    assert main(events=MOCK_EVENTS // 3, repeats=1, bootstrap=servers, json=file) == 0
    client = AdminClient({"bootstrap.servers": servers})
    left = [name for name in client.list_topics(timeout=10).topics if "bench" in name]
    groups = client.list_consumer_groups().result().valid or []
    assert left == []
    assert [group.group_id for group in groups if "bench" in group.group_id] == []
    assert json.loads(file.read_text())["broker"] == servers


def test_a_broker_that_is_not_there_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.topics._TIMEOUT_SECONDS", 0.5)
    assert main(events=10, repeats=1, bootstrap="127.0.0.1:1") == 1
    assert "not measured: Kafka at 127.0.0.1:1 does not" in capsys.readouterr().err
