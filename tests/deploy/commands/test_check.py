"""`tocsin check` says what is wrong and how to mend it, one line each."""

from pathlib import Path

import pytest

import deploy
from deploy.brokers.mock import MockBroker
from deploy.commands.check import run_check

EXAMPLES = sorted((Path(deploy.__file__).parent / "examples").glob("*.yaml"))


@pytest.mark.parametrize(
    "path", [p for p in EXAMPLES if p.name != "catalog-info.yaml"], ids=lambda p: p.name
)
def test_every_example_is_accepted_offline(path: Path) -> None:
    assert run_check(path, offline=True) == 0


@pytest.mark.slow
def test_a_kafka_that_does_not_answer_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tocsin.yaml"
    path.write_text("kafka: {bootstrap_servers: 'localhost:1'}\n")
    assert run_check(path, offline=False) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mend")]
    assert line.startswith("mend  Kafka: Kafka at localhost:1 does not")
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
