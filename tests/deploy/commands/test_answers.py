"""What the command line says of a command that was refused, and of what it cannot place."""

from pathlib import Path

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from deploy.brokers.mock import MockBroker
from deploy.commands import say
from schemas.configuration import Configuration, Topics
from schemas.incidents import Command, IncidentEvent
from tests.sinks.examples import cpu_fault


@pytest.fixture
def config(mock_broker: MockBroker, tmp_path: Path) -> Path:
    mock_broker.create_topic(Topics().commands, 1)
    file = tmp_path / "tocsin.yaml"
    file.write_text(
        f"kafka: {{bootstrap_servers: '{mock_broker.bootstrap_servers}'}}\n"
        "catalogue: {services: [{name: cart, public_name: Shopping cart}, {name: mail}]}\n",
        encoding="utf-8",
    )
    return file


def sent(broker: MockBroker) -> list[Command]:
    """The commands on the topic."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "test"})
    try:
        commands = TopicPartition(Topics().commands, 0, OFFSET_BEGINNING)
        _, end = consumer.get_watermark_offsets(commands, timeout=5)
        consumer.assign([commands])
        messages = consumer.consume(end, timeout=5) if end else []
        return [msgspec.json.decode(each.value() or b"", type=Command) for each in messages]
    finally:
        consumer.close()


def test_a_report_says_which_service_it_is_about(
    config: Path, mock_broker: MockBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say.tell("report", "the shopping cart stays empty", config=config, actor="ada") == 0
    assert capsys.readouterr().out == "sent, about cart: the shopping cart stays empty\n"
    assert [command.text for command in sent(mock_broker)] == ["the shopping cart stays empty"]


def test_a_report_that_names_no_service_is_not_sent(
    config: Path, mock_broker: MockBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say.tell("report", "customers cannot pay", config=config, actor="ada") == 2
    assert "needs a --service, or words with" in capsys.readouterr().err
    assert say.tell("report", "no pay", config=config, actor="ada", service="crat") == 2
    assert "no service 'crat'; it has cart, mail" in capsys.readouterr().err
    assert sent(mock_broker) == []


@pytest.mark.parametrize(("actor", "code"), [("tocsin", 1), ("ada", 0)])
def test_a_command_that_is_refused_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], actor: str, code: int
) -> None:
    opened, *_ = cpu_fault()

    def answer(_: Configuration, command: Command) -> IncidentEvent:
        return msgspec.structs.replace(
            opened, type="noted", actor=actor, text="As it is.", command_id=command.id
        )

    monkeypatch.setattr(say, "send_and_wait", answer)
    assert say.give("split", opened.incident_id, config=None, actor="ada") == code
    out, err = capsys.readouterr()
    assert "As it is." in (err if code else out)
