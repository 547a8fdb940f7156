"""`tocsin silence` and its kin, on a broker that holds nothing but what they write."""

import time
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer

from deploy.brokers.mock import MockBroker
from deploy.commands.silences import run_extend, run_silence, run_silences, run_unsilence
from schemas.configuration import Topics
from schemas.incidents import Command
from schemas.silences import ListedSilence
from schemas.times import DAY_MS
from tests.sinks.examples import cpu_incident

HOUR_MS = 3_600_000


@pytest.fixture
def config(mock_broker: MockBroker, tmp_path: Path) -> Path:
    """A configuration with one window, for a broker on which an incident is open."""
    topics = Topics()
    for topic in (topics.commands, topics.incidents):
        mock_broker.create_topic(topic, 1)
    producer = Producer({"bootstrap.servers": mock_broker.bootstrap_servers})
    incident = cpu_incident(silenced_by="backup/2020-01-01T00:00:00.000Z")
    producer.produce(topics.incidents, msgspec.json.encode(incident), incident.id)
    producer.flush(10)
    file = tmp_path / "tocsin.yaml"
    file.write_text(
        f"kafka: {{bootstrap_servers: '{mock_broker.bootstrap_servers}'}}\n"
        "incidents:\n  maintenance:\n"
        "    - {name: backup, matchers: [service=db], start: 2020-01-01, hours: 1000000}\n",
        encoding="utf-8",
    )
    return file


def listed(config: Path) -> list[ListedSilence]:
    out = config.with_name("silences.json")
    assert run_silences(config=config, json=out) == 0
    return msgspec.json.decode(out.read_bytes(), type=list[ListedSilence])


def standing(config: Path) -> list[ListedSilence]:
    return [silence for silence in listed(config) if silence.status != "ended"]


def test_a_silence_stands_until_it_is_ended(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [s.id for s in standing(config)] == ["backup/2020-01-01T00:00:00.000Z"]
    matchers = ("service=cart", "kind!=latency")
    assert run_silence("", matchers, "2h", "upgrade", config=config, actor="ada") == 0
    _, mine = standing(config)
    assert (mine.matchers, mine.author, mine.comment) == (matchers, "ada", "upgrade")
    assert mine.ends_ms - mine.starts_ms == 2 * 3_600_000
    assert run_unsilence(mine.id, config=config, actor="ada") == 0
    assert len(standing(config)) == 1
    ended = listed(config)[0]
    assert (ended.id, ended.status, ended.ended_by) == (mine.id, "ended", "ada")
    printed = capsys.readouterr().out
    assert "ended by" in printed
    assert "service=cart and kind!=latency wakes nobody until" in printed
    assert "ends in" in printed


def test_the_end_of_a_silence_can_be_moved(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_silence("", ("service=cart",), "2h", "upgrade", config=config, actor="ada") == 0
    _, mine = standing(config)
    assert run_extend(mine.id, "", (), "5h", config=config, actor="bob") == 0
    _, moved = standing(config)
    assert moved.ends_ms > mine.ends_ms + 2 * HOUR_MS
    assert (moved.id, moved.author, moved.starts_ms) == (mine.id, "ada", mine.starts_ms)
    assert f"{mine.id} ends at" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("silence", "matchers", "says"),
    [
        ("nothing", (), "no silence nothing is on or to come"),
        ("backup/2020-01-01T00:00:00.000Z", (), "is a maintenance window"),
        ("nothing", ("service=cart",), "changes nothing but the end"),
    ],
)
def test_an_end_that_cannot_be_moved_is_not_sent(
    config: Path,
    silence: str,
    matchers: tuple[str, ...],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_extend(silence, "", matchers, "2h", config=config, actor="ada") == 2
    assert says in capsys.readouterr().err


def test_an_incident_can_be_silenced_and_what_a_window_holds_back_is_counted(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_silence("inc-cpu-01", (), "30m", "", config=config, actor="ada") == 0
    _, mine = standing(config)
    assert mine.matchers == (r'service=~"ts\-order\-service|ts\-travel\-service"',)
    assert "│ 1" in capsys.readouterr().out


def test_what_ended_lately_is_listed_with_what_it_held_back(
    config: Path, mock_broker: MockBroker
) -> None:
    now_ms = int(time.time() * 1000)
    topics, producer = Topics(), Producer({"bootstrap.servers": mock_broker.bootstrap_servers})
    for name, ends_ms in (("old", now_ms - 8 * DAY_MS), ("lately", now_ms - HOUR_MS)):
        command = Command(
            id=name,
            type="silence",
            incident_id="",
            actor="ada",
            issued_ms=ends_ms - HOUR_MS,
            matchers=("service=cart",),
            to_ms=ends_ms,
        )
        producer.produce(topics.commands, msgspec.json.encode(command))
    over = cpu_incident(id="INC-2", silences=("lately", "old"), resolved_ms=now_ms)
    producer.produce(topics.incidents, msgspec.json.encode(over), over.id)
    producer.flush(10)
    lately, window = listed(config)
    assert (lately.id, lately.status, lately.held_back) == ("lately", "ended", 1)
    assert (window.status, window.held_back, window.holds_back) == ("on", 1, 1)


@pytest.mark.parametrize(
    ("matchers", "until", "says"),
    [
        (("moon=full",), "2h", "is no matcher"),
        ((), "2h", "name an incident, or give --match"),
        (("service=cart",), "soon", "is no time"),
        (("service=cart",), "2020-01-01T00:00+00:00", "is over already"),
    ],
)
def test_what_is_no_silence_is_not_sent(
    config: Path,
    matchers: tuple[str, ...],
    until: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_silence("", matchers, until, "", config=config, actor="ada") == 2
    assert says in capsys.readouterr().err
    assert len(standing(config)) == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("silence-1a2b3c4d", "no silence silence-1a2b3c4d is on or to come"),
        ("backup/2020-01-01T00:00:00.000Z", "is a maintenance window; change it in"),
    ],
)
def test_what_cannot_be_ended_is_said_and_not_sent(
    config: Path, name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_unsilence(name, config=config, actor="ada") == 2
    assert says in capsys.readouterr().err


def test_an_incident_that_does_not_exist_is_not_silenced(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_silence("INC-NOPE", (), "2h", "", config=config, actor="ada") == 2
    assert "there is no incident INC-NOPE" in capsys.readouterr().err
    assert len(standing(config)) == 1


def test_an_id_stands_on_one_line_so_that_it_can_be_copied(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matchers = ('service=~"cart|checkout|payment|shipping"', "kind!=latency")
    run_silence("", matchers, "2h", "upgrade of all", config=config, actor="ada")
    _, mine = standing(config)
    table = capsys.readouterr().out.partition("maintenance windows")[2]
    assert mine.id in table
