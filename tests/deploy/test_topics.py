"""The topics that tocsin needs, and what is said and done about a cluster that lacks them."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from deploy.brokers.apache import ApacheKafka
from deploy.commands.topics import run_topics
from deploy.credentials import kafka_settings
from deploy.topics import (
    Cluster,
    Row,
    TopicsError,
    apply,
    changelogs,
    compare,
    create,
    create_missing,
    inspect,
    plan,
    show,
    table,
)
from schemas.configuration import Configuration, Kafka, Source, Topics, WorkerSection


def row(name: str, cluster: Cluster) -> Row:
    rows = compare(plan(Configuration()), cluster)
    return next(each for each in rows if each.topic.name == name)


def test_the_latest_state_is_compacted_and_the_logs_are_kept_for_ever() -> None:
    topics = {topic.name: topic for topic in plan(Configuration())}
    assert topics["tocsin.incidents.v1"].settings(1)["cleanup.policy"] == "compact"
    for log in ("incident-events", "commands", "deliveries"):
        settings = topics[f"tocsin.{log}.v1"].settings(1)
        assert settings["cleanup.policy"] == "delete"
        assert settings["retention.ms"] == "-1"


def test_observations_have_a_partition_a_shard_and_what_needs_one_order_has_one() -> None:
    topics = plan(Configuration(topics=Topics(observation_shards=12)))
    partitions = {topic.name: topic.partitions for topic in topics}
    assert partitions.pop("tocsin.observations.v1") == 12
    assert set(partitions.values()) == {1}


def test_raw_topics_are_not_ours() -> None:
    configuration = Configuration(sources=(Source(topic="their-metrics"),))
    assert "their-metrics" not in {topic.name for topic in plan(configuration)}


def test_a_changelog_has_the_partitions_of_what_it_is_about() -> None:
    configuration = Configuration(
        sources=(Source(topic="raw"), Source(topic="unknown")),
        worker=WorkerSection(consumer_group="w"),
    )
    found = {topic.name: topic.partitions for topic in changelogs(configuration, {"raw": 6})}
    assert found == {
        "w-ingest-raw-changelog": 6,
        "w-detect-changelog": 4,
        "w-incident-changelog": 1,
    }


def test_three_replicas_need_two_in_step() -> None:
    topic = plan(Configuration())[0]
    assert topic.settings(3)["min.insync.replicas"] == "2"
    assert "min.insync.replicas" not in topic.settings(1)


@pytest.mark.parametrize(
    ("name", "partitions", "settings", "state", "words"),
    [
        ("tocsin.observations.v1", None, {}, "missing", "tocsin topics --apply"),
        ("tocsin.observations.v1", 4, {}, "in order", ""),
        ("tocsin.observations.v1", 8, {}, "in order", ""),
        ("tocsin.observations.v1", 2, {}, "differs", "has 2 partitions, needs 4"),
        (
            "tocsin.incidents.v1",
            1,
            {"cleanup.policy": "delete"},
            "differs",
            "cleanup.policy is delete, set it to compact",
        ),
        ("tocsin.incidents.v1", 1, {"cleanup.policy": "compact,delete"}, "in order", ""),
        (
            "tocsin.incident-events.v1",
            1,
            {"cleanup.policy": "delete", "retention.ms": "604800000"},
            "differs",
            "retention.ms is 604800000, set it to -1",
        ),
        ("tocsin.dead-letters.v1", 1, {"retention.ms": "-1"}, "in order", ""),
        (
            "tocsin.dead-letters.v1",
            1,
            {"max.message.bytes": "1048588"},
            "differs",
            "max.message.bytes is 1048588, set it to 16777216",
        ),
        ("tocsin.commands.v1", 1, {"max.message.bytes": "1048588"}, "in order", ""),
    ],
)
def test_what_differs_is_named_with_its_remedy(
    name: str, partitions: int | None, settings: dict[str, str], state: str, words: str
) -> None:
    counts = {} if partitions is None else {name: partitions}
    found = row(name, Cluster(counts, {name: settings}))
    assert found.state == state
    assert words in found.mend


def test_the_table_shows_every_topic_with_its_state() -> None:
    out = io.StringIO()
    rows = compare(plan(Configuration()), Cluster({"tocsin.incidents.v1": 1}))
    Console(file=out, width=160, no_color=True).print(table(rows))
    text = out.getvalue()
    for topic in plan(Configuration()):
        assert topic.name in text
    assert text.count("missing") == 7
    assert "for ever" in text


def test_a_broker_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.topics._TIMEOUT_SECONDS", 0.5)
    settings = kafka_settings(Kafka(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(TopicsError, match=r"Kafka at 127\.0\.0\.1:1 does not list topics"):
        inspect(settings, ["a"])
    with pytest.raises(TopicsError, match=r"Kafka at 127\.0\.0\.1:1 does not create topics"):
        create(settings, plan(Configuration()), replication_factor=1)


@pytest.mark.kafka
@pytest.mark.slow
def test_missing_topics_are_created_once_and_then_in_order(kafka_broker: ApacheKafka) -> None:
    kafka_broker.create_topic("topics-raw", 3)
    kafka_broker.create_topic("topics.incidents", 1)  # exists, but is not compacted
    configuration = Configuration(
        kafka=Kafka(bootstrap_servers=kafka_broker.bootstrap_servers),
        sources=(Source(topic="topics-raw"),),
        topics=Topics(
            observations="topics.observations",
            anomalies="topics.anomalies",
            incidents="topics.incidents",
            incident_events="topics.incident-events",
            silence_events="topics.silence-events",
            commands="topics.commands",
            deliveries="topics.deliveries",
            dead_letters="topics.dead-letters",
            observation_shards=2,
        ),
        worker=WorkerSection(consumer_group="topics-worker"),
    )
    settings = kafka_settings(configuration.kafka)

    at_start = create_missing(configuration, settings)
    assert len(at_start) == 7
    assert create_missing(configuration, settings) == []
    created = {r.topic.name: r.state for r in apply(configuration, settings)}
    after = {r.topic.name: r for r in show(configuration, settings)}

    assert created["topics.observations"] == "in order"
    assert created["topics-worker-ingest-topics-raw-changelog"] == "created"
    assert {name for name, r in after.items() if r.state != "in order"} == {"topics.incidents"}
    assert "set it to compact" in after["topics.incidents"].mend
    assert after["topics-worker-ingest-topics-raw-changelog"].topic.partitions == 3


def test_the_command_fails_with_the_address_when_the_broker_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("deploy.topics._TIMEOUT_SECONDS", 0.5)
    config = tmp_path / "tocsin.yaml"
    config.write_text('kafka: {bootstrap_servers: "127.0.0.1:1"}\n')
    assert run_topics(config, create=False) == 2
    assert "127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.kafka
@pytest.mark.slow
def test_the_command_is_content_once_it_has_created_all(
    kafka_broker: ApacheKafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tocsin.yaml"
    config.write_text(f'kafka: {{bootstrap_servers: "{kafka_broker.bootstrap_servers}"}}\n')
    assert run_topics(config, create=False) == 1
    assert run_topics(config, create=True) == 0
    assert run_topics(config, create=False) == 0
    assert "tocsin.incidents.v1" in capsys.readouterr().out


def test_a_changelog_that_keeps_what_was_replaced_is_to_be_mended() -> None:
    (topic,) = (t for t in changelogs(Configuration(), {}) if t.name.endswith("detect-changelog"))
    assert topic.settings(1).items() >= {
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.1"),
        ("segment.ms", "600000"),
    }
    kafkas_own = {"cleanup.policy": "compact", "segment.ms": "604800000"}
    partitions = {topic.name: topic.partitions}
    (late,) = compare([topic], Cluster(partitions, {topic.name: kafkas_own}))
    assert (late.state, late.mend) == ("differs", "segment.ms is 604800000, set it to 600000")
    (good,) = compare([topic], Cluster(partitions, {topic.name: topic.settings(1)}))
    assert good.state == "in order"
