"""`tocsin check` says what is wrong and how to mend it, one line each."""

from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

import deploy
from deploy.brokers.apache import ApacheKafka
from deploy.brokers.mock import MockBroker
from deploy.commands.check import run_check

EXAMPLES = sorted((Path(deploy.__file__).parent / "examples").glob("*.yaml"))


@pytest.mark.parametrize(
    "path", [p for p in EXAMPLES if p.name != "catalog-info.yaml"], ids=lambda p: p.name
)
def test_every_example_is_accepted_offline(path: Path) -> None:
    assert run_check(path, offline=True) == 0


def test_rules_that_name_no_detector_are_named_all_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tocsin.yaml"
    path.write_text(
        "detection:\n  rules:\n"
        "    - {series: 'a*', detector: river.anomaly.Nonsense}\n"
        "    - {series: 'b*', enabled: false}\n"
        "    - {series: 'c*', parameters: {nonsense: 1}}\n"
    )
    assert run_check(path, offline=True) == 1
    mend = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mend")]
    assert [line.split(":")[0] for line in mend] == [
        "mend  detection.rules[0]",
        "mend  detection.rules[2]",
    ]
    assert "there is no detector 'river.anomaly.Nonsense'; use `default` or" in mend[0]


@pytest.mark.slow
def test_a_kafka_that_does_not_answer_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tocsin.yaml"
    path.write_text("kafka: {bootstrap_servers: 'localhost:1'}\n")
    assert run_check(path, offline=False) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mend")]
    assert line.startswith("mend  Kafka at localhost:1 does not")
    assert "do address and credentials fit" in line


def test_missing_secrets_receivers_and_folders_are_named_all_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mock_broker: MockBroker
) -> None:
    path = tmp_path / "tocsin.yaml"
    path.write_text(
        f"""\
kafka: {{bootstrap_servers: "{mock_broker.bootstrap_servers}"}}
sources: [{{topic: nowhere}}]
notifier:
  store: sqlite:////dev/null/x.sqlite3
  signing_secret: {{env: TOCSIN_NOT_SET_AT_ALL}}
  channels:
    email: {{host: 127.0.0.1, port: 1, sender: a@example.org, security: none}}
    webhooks: {{pager: {{url: "http://127.0.0.1:1/hook"}}}}
"""
    )
    assert run_check(path, offline=False) == 1
    mend = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mend")]
    for expected in (
        "notifier.signing_secret: the environment variable TOCSIN_NOT_SET_AT_ALL is not set",
        "e-mail server at 127.0.0.1: cannot be reached",
        "webhook pager at 127.0.0.1: cannot be reached",
        "notifier.store in /dev/null: /dev/null is not a folder",
    ):
        assert any(expected in line for line in mend), (expected, mend)


def checked(capsys: pytest.CaptureFixture[str], path: Path, text: str) -> tuple[int, str]:
    """The exit code, and what is said of the raw topic."""
    path.write_text(text)
    code = run_check(path, offline=False)
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x[6:].startswith("raw topic")]
    return code, line


@pytest.fixture(scope="module")
def shop_logs(kafka_broker: ApacheKafka) -> str:
    """A configuration's beginning, for a topic that holds JSON of one's own."""
    topic = "check-shop-logs"
    kafka_broker.create_topic(topic, 2)
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})
    for number in range(30):
        record = {
            "@timestamp": f"2026-11-24T12:00:{number:02}Z",
            "kubernetes": {"labels": {"app": "cart" if number % 2 else "checkout"}},
            "level": "info",
            "message": "ok",
        }
        producer.produce(
            topic, orjson.dumps(record), partition=number // 15, timestamp=1_795_521_600_000
        )
    assert producer.flush(30) == 0
    return f"""\
kafka: {{bootstrap_servers: "{kafka_broker.bootstrap_servers}"}}
sources:
  - topic: {topic}
    kind: log
    time_unit: iso8601
"""


@pytest.mark.kafka
@pytest.mark.slow
def test_a_raw_topic_whose_records_can_be_read_says_what_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shop_logs: str
) -> None:
    fields = "{time: '@timestamp', service: kubernetes.labels.app, severity: level, body: message}"
    code, line = checked(capsys, tmp_path / "t.yaml", f"{shop_logs}    fields: {fields}\n")
    assert code == 0
    assert line.startswith("ok    raw topic check-shop-logs (")
    assert line.endswith("logs of cart, checkout")


@pytest.mark.kafka
@pytest.mark.slow
def test_fields_under_which_no_record_can_be_used_are_to_be_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shop_logs: str
) -> None:
    fields = "{time: timestamp, service: kubernetes.labels.app, severity: level, body: message}"
    code, line = checked(capsys, tmp_path / "t.yaml", f"{shop_logs}    fields: {fields}\n")
    assert code == 1
    assert line.startswith("mend  raw topic check-shop-logs (")
    assert "records can be used: $.time is missing" in line
    assert line.endswith("a record has @timestamp, kubernetes.labels.app, level, message")


@pytest.mark.kafka
@pytest.mark.slow
def test_a_field_that_no_record_has_is_named_even_if_the_rest_can_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shop_logs: str
) -> None:
    fields = "{time: '@timestamp', service: kubernetes.labels.app, severity: levle, body: message}"
    code, line = checked(capsys, tmp_path / "t.yaml", f"{shop_logs}    fields: {fields}\n")
    assert code == 0
    assert line.startswith("note  raw topic check-shop-logs (")
    assert "records has levle (fields.severity); they have @timestamp, kubernetes" in line


@pytest.mark.kafka
@pytest.mark.slow
def test_a_raw_topic_with_a_slip_in_its_name_is_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shop_logs: str
) -> None:
    text = shop_logs.replace("topic: check-shop-logs", "topic: check-shop-log")
    assert checked(capsys, tmp_path / "t.yaml", text) == (
        1,
        "mend  raw topic check-shop-log: does not exist; did you mean check-shop-logs?",
    )
