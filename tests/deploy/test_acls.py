"""Every part works with the rights that `tocsin topics --acls` names, and with no more."""

import hashlib
import hmac
import json
import os
import re
import signal
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import msgspec
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from ruamel.yaml import YAML

from deploy.acls import Acl, acls, commands
from deploy.brokers import apache
from deploy.brokers.apache import ApacheKafka
from deploy.commands.check import run_check
from deploy.commands.drill import run_drill
from deploy.commands.say import give
from deploy.commands.silences import run_silence, run_silences, run_unsilence
from deploy.commands.topics import run_topics
from deploy.configuration import load
from deploy.credentials import kafka_settings
from deploy.demo.children import Children, free_ports
from deploy.topics import create_missing
from schemas.configuration import CaseStore, Configuration, Kafka, Secret, Source, Topics
from tests.deploy.test_secure_kafka import wait_until_ready
from tests.sinks.examples import cpu_incident, event

PROCESSES = ("worker", "notifier", "case-store", "status-page", "playbooks")
PASSWORD = "for this test alone"
TEAMS = b64encode(b"0123456789abcdef0123456789abcdef").decode()
INCIDENT = "INC-7M2K9QXD"


def test_no_part_is_let_into_more_than_its_own_topics_and_group() -> None:
    needed = acls(Configuration(kafka=Kafka(create_topics=False)))
    page = [(acl.kind, acl.name, acl.operations) for acl in needed if acl.part == "status-page"]
    assert page == [
        ("topic", "tocsin.incident-events.v1", ("READ",)),
        ("group", "tocsin-status-page", ("READ",)),
    ]
    raw = {acl.part for acl in needed if acl.name == "telemetry" and "READ" in acl.operations}
    assert raw == {"worker", "setup"}
    assert not any(acl.name in ("*", "") for acl in needed)
    assert {acl.part for acl in needed if "CREATE" in acl.operations} == {"setup"}


def test_names_of_ones_own_are_in_the_rights() -> None:
    configuration = Configuration(
        sources=(Source(topic="raw"),),
        topics=Topics(commands="our.commands"),
        case_store=CaseStore(changes_topic="deploys"),
    )
    named = {(acl.part, acl.name) for acl in acls(configuration)}
    assert {("worker", "raw"), ("notifier", "our.commands"), ("case-store", "deploys")} <= named
    assert ("worker", "tocsin-worker-ingest-raw-changelog") in named


def test_rights_can_be_given_by_kafkas_own_tool() -> None:
    made = list(commands(acls(Configuration()), "kafka:9092", "tocsin-"))
    assert (
        "kafka-acls.sh --bootstrap-server kafka:9092 --add --allow-principal User:tocsin-notifier "
        "--operation Write --topic tocsin.deliveries.v1"
    ) in made
    assert any("--operation DescribeConfigs" in line for line in made)
    assert any(line.endswith("--resource-pattern-type prefixed") for line in made)


# -- on a Kafka that asks for rights ------------------------------------------------------


@pytest.fixture(scope="module")
def broker() -> Iterator[ApacheKafka]:
    """A Kafka with a user for each part, who may do nothing yet; who comes without TLS is root."""
    if not apache.available():
        pytest.skip("Apache Kafka needs java (17 or newer) and mvn on the path")
    users = " ".join(f'user_{part}="{PASSWORD}"' for part in (*PROCESSES, "operator", "setup"))
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
    settings = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "false",
        "listener.name.users.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.users.plain.sasl.jaas.config": f"{plain} required {users};",
    }
    with pytest.MonkeyPatch.context() as patch:
        # It then says whom it let do what.
        logged = "-Dorg.slf4j.simpleLogger.log.kafka.authorizer.logger=debug"
        patch.setenv("JAVA_TOOL_OPTIONS", logged)
        with ApacheKafka(settings, listeners={"USERS": "SASL_PLAINTEXT"}) as running:
            yield running


def grant(broker: ApacheKafka, needed: list[Acl]) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    bindings = [
        AclBinding(
            ResourceType[acl.kind.upper()],
            acl.name,
            ResourcePatternType[acl.pattern.upper()],
            f"User:{acl.part}",
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )
        for acl in needed
        for operation in acl.operations
    ]
    for answer in admin.create_acls(bindings).values():
        answer.result(30)


def user(broker: ApacheKafka, name: str) -> Kafka:
    return Kafka(
        bootstrap_servers=broker.address("USERS"),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username=name,
        sasl_password=Secret(env="TOCSIN_TEST_PASSWORD"),
        create_topics=False,
    )


def document(broker: ApacheKafka, folder: Path) -> dict[str, Any]:
    ports = dict(zip(PROCESSES, free_ports(len(PROCESSES)), strict=True))
    made: dict[str, Any] = {
        "kafka": {
            "bootstrap_servers": broker.address("USERS"),
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_username": "setup",
            "sasl_password": {"env": "TOCSIN_TEST_PASSWORD"},
            "create_topics": False,
        },
        # Checkpoints come late, so that a crash leaves something to read again.
        "worker": {"data_dir": str(folder / "worker"), "checkpoint_seconds": 3600},
        "windows": {"window_seconds": 1, "allowed_lateness_seconds": 0},
        "catalogue": {"services": [{"name": "cart", "tier": 1}]},
        "incidents": {"playbooks": [{"name": "look", "command": ["true"], "severities": ["P2"]}]},
        "case_store": {"changes_topic": "deploys"},
        "status_page": {},
        "playbooks": {},
        "notifier": {"channels": {"teams_secret": {"env": "TOCSIN_TEST_TEAMS"}}},
    }
    for part in PROCESSES[1:]:
        section = made[part.replace("-", "_")]
        section["store"] = f"sqlite:///{folder}/{part}.sqlite3"
        section["listen"] = {"port": ports[part]}
    made["worker"]["admin"] = {"port": ports["worker"]}
    return made


class System:
    """All parts, each under its own user."""

    def __init__(self, path: Path, folder: Path, stack: ExitStack) -> None:
        self.configuration = load(path, {})
        self._children = {}
        for part in PROCESSES:
            environment = {"TOCSIN_KAFKA_SASL_USERNAME": part}
            self._children[part] = Children(path, environment, folder)
            stack.callback(self._children[part].stop)

    def start(self, *parts: str) -> None:
        for part in parts:
            self._children[part].start((part,))
        for part in parts:
            wait_until_ready(self.port(part), self._children[part])

    def kill(self, part: str) -> None:
        os.kill(self._children[part].pid(part), signal.SIGKILL)

    def port(self, part: str) -> int:
        section = getattr(self.configuration, part.replace("-", "_"))
        listen = section.admin if part == "worker" else section.listen
        return int(listen.port)

    def log(self, part: str) -> str:
        return self._children[part].log(part).read_text()


@contextmanager
def as_user(name: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOCSIN_KAFKA_SASL_USERNAME", name)
        yield


def used(broker: ApacheKafka) -> tuple[set[tuple[str, str, str, str]], set[str]]:
    """Who was let do what with what, and the lines about what was denied."""
    assert broker._folder is not None
    said = (broker._folder / "kafka.log").read_text()
    found = re.findall(
        r"Principal = User:(\S+) is (Allowed|Denied) operation = (\w+) from host = \S+ "
        r"on resource = (\w+):LITERAL:(\S+) for request = (\w+)",
        said,
    )
    allowed = {(who, op, kind.lower(), name) for who, how, op, kind, name, _ in found
               if how == "Allowed"}  # fmt: skip
    denied = {f"{who} {op} {kind} {name} ({asked})" for who, how, op, kind, name, asked in found
              if how == "Denied"}  # fmt: skip
    return allowed, denied


def written(folder: Path, broker: ApacheKafka, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration's file, with its secrets in the environment."""
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", PASSWORD)
    monkeypatch.setenv("TOCSIN_TEST_TEAMS", TEAMS)
    path = folder / "tocsin.yaml"
    YAML().dump(document(broker, folder), path)
    return path


@pytest.mark.kafka
@pytest.mark.slow
def test_the_whole_works_with_these_rights_uses_each_and_is_denied_nothing(
    tmp_path: Path, broker: ApacheKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, broker, monkeypatch)
    for topic in ("telemetry", "deploys"):
        broker.create_topic(topic, 1)
    configuration = load(path, {})
    needed = acls(configuration)
    grant(broker, needed)
    feed(broker, "telemetry", 30)
    assert run_topics(path, create=True) == 0
    assert run_check(path, offline=False) == 0
    with ExitStack() as stack:
        system = System(path, tmp_path, stack)
        system.start(*PROCESSES)
        feed(broker, "telemetry", 30)
        drilled = drill(path, tmp_path)
        with as_user("operator"):
            assert run_silences(config=path, json=None) == 0
            # A drill that is over takes no note; it is the asking and waiting that needs rights.
            assert give("note", drilled, config=path, actor="ada", text="seen") in (0, 1)
        from_elsewhere(broker, system)
        end_a_silence(path, tmp_path, broker)
        system.kill("worker")
        system.start("worker")
        drill(path, tmp_path)
        logs = {part: system.log(part) for part in PROCESSES}
    assert not [part for part, log in logs.items() if PASSWORD in log]
    allowed, denied = used(broker)
    assert denied == set()
    granted = {(acl.part, op, acl.kind, acl.name) for acl in needed for op in acl.operations}
    unused = {right for right in granted if not is_used(right, allowed)}
    assert unused == set()


def is_used(right: tuple[str, str, str, str], allowed: set[tuple[str, str, str, str]]) -> bool:
    part, operation, kind, name = right
    return any(
        (who, op, what) == (part, operation, kind) and (of == name or of.startswith(name))
        for who, op, what, of in allowed
    )


def feed(broker: ApacheKafka, topic: str, seconds: int) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    now_ms = int(time.time() * 1000)
    for second in range(seconds):
        at = now_ms - (seconds - second) * 1000
        sample = {"time": at, "service": "cart", "metric": "cpu_ratio", "value": 0.2}
        producer.produce(topic, json.dumps(sample), timestamp=at)
    producer.produce(topic, b"not json")
    producer.flush(30)


def from_elsewhere(broker: ApacheKafka, system: "System") -> None:
    """Commands come from the chat, from a topic of changes and from a playbook, too."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    incident = cpu_incident(id=INCIDENT, playbook="look", playbook_result="running")
    opened = msgspec.json.encode(event(incident, "opened"))
    producer.produce("tocsin.incident-events.v1", opened, key=INCIDENT)
    producer.produce("deploys", json.dumps({"service": "cart", "text": "version 2"}))
    producer.flush(30)
    body = json.dumps(
        {"id": "1", "text": f"note {INCIDENT} seen", "from": {"name": "Ada"}}
    ).encode()
    signature = b64encode(hmac.new(b64decode(TEAMS), body, hashlib.sha256).digest()).decode()
    url = f"http://127.0.0.1:{system.port('notifier')}/teams/commands"
    request = Request(url, body, {"Authorization": f"HMAC {signature}"})
    reader = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "test",
                       "auto.offset.reset": "earliest"})  # fmt: skip
    reader.subscribe(["tocsin.commands.v1"])
    wanted, deadline = {"note", "change", "playbook_result"}, time.monotonic() + 60
    asked = 0.0
    while wanted and time.monotonic() < deadline:
        if "note" in wanted and time.monotonic() - asked > 1:  # it may not know of it yet
            asked = time.monotonic()
            with urlopen(request, timeout=10):
                pass
        message = reader.poll(0.5)
        if message is not None and message.error() is None:
            command = json.loads(message.value() or b"{}")
            if command.get("actor") != "ada":  # whose note came by the command line
                wanted.discard(command.get("type"))
    reader.close()
    assert wanted == set()


def end_a_silence(path: Path, folder: Path, broker: ApacheKafka) -> None:
    """Somebody silences and thinks better of it; returns once the worker has said so."""
    listed = folder / "silences.json"
    with as_user("operator"):
        assert run_silence("", ("service=cart",), "2h", "", config=path, actor="ada") == 0
        assert run_silences(config=path, json=listed) == 0
        (silence,) = json.loads(listed.read_bytes())
        assert run_unsilence(silence["id"], config=path, actor="ada") == 0
    reader = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "test-silences",
                       "auto.offset.reset": "earliest"})  # fmt: skip
    reader.subscribe(["tocsin.silence-events.v1"])
    deadline = time.monotonic() + 60
    while (message := reader.poll(0.5)) is None or message.error() is not None:
        assert time.monotonic() < deadline, "the worker has not said that the silence has ended"
    reader.close()


def drill(path: Path, folder: Path) -> str:
    """Drills, and gives the name of what was drilled."""
    with as_user("operator"):
        code = run_drill(
            "cart", config=path, severity="P2", customers=False, timeout=60,
            json=folder / "drill.json",
        )  # fmt: skip
    assert code == 0
    found = re.search(r"DRILL-\w+", (folder / "drill.json").read_text())
    assert found is not None
    return found[0]


@pytest.mark.kafka
@pytest.mark.slow
def test_what_is_not_granted_is_denied(
    broker: ApacheKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page may not give commands, the notifier may not read telemetry."""
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", PASSWORD)
    writer = Producer({**kafka_settings(user(broker, "status-page")).confluent, "log_level": 0})
    failed: list[Any] = []
    writer.produce("tocsin.commands.v1", b"{}", on_delivery=lambda error, _: failed.append(error))
    writer.flush(15)
    assert [error.name() for error in failed] == ["TOPIC_AUTHORIZATION_FAILED"]
    settings = {**kafka_settings(user(broker, "notifier")).confluent, "group.id": "tocsin-notifier"}
    reader = Consumer({**settings, "log_level": 0})
    reader.subscribe(["telemetry"])
    message = reader.poll(15)
    assert message is not None
    error = message.error()
    assert error is not None
    assert error.name() == "TOPIC_AUTHORIZATION_FAILED"
    reader.close()


@pytest.mark.kafka
@pytest.mark.slow
def test_a_worker_that_makes_its_topics_needs_the_right_to_make_those_alone(
    broker: ApacheKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", PASSWORD)
    names: dict[str, Any] = {
        name: f"made.{name}" for name in ("observations", "anomalies", "incidents", "commands",
                                          "incident_events", "silence_events", "deliveries",
                                          "dead_letters")
    }  # fmt: skip
    kafka = user(broker, "worker")
    configuration = Configuration(
        kafka=kafka, topics=Topics(**names), sources=(Source(topic="telemetry"),)
    )
    settings = kafka_settings(kafka)
    with pytest.raises(Exception, match="create topics"):
        create_missing(configuration, settings)
    making = msgspec.structs.replace(kafka, create_topics=True)
    wanted = acls(msgspec.structs.replace(configuration, kafka=making))
    grant(broker, [acl for acl in wanted if acl.part == "worker" and acl.name.startswith("made.")])
    assert sorted(create_missing(configuration, settings)) == sorted(names.values())


@pytest.mark.kafka
@pytest.mark.slow
def test_a_part_without_rights_ends_in_one_line_that_says_where_they_are_listed(
    tmp_path: Path, broker: ApacheKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, broker, monkeypatch)
    children = Children(path, {"TOCSIN_KAFKA_SASL_USERNAME": "setup"}, tmp_path)
    children.start(("status-page",))
    try:
        assert children._processes["status-page"].wait(120) == 1
    finally:
        children.stop()
    last = json.loads(children.log("status-page").read_text().splitlines()[-1])
    assert last["error"].startswith("Kafka forbids it: ")
    assert "`tocsin topics --acls`" in last["error"]
    assert "exception" not in last
