"""No secret of the configuration is in anything that tocsin says, whatever goes wrong."""

import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from ruamel.yaml import YAML

from deploy.brokers import apache
from deploy.brokers.apache import ApacheKafka
from deploy.configuration import load
from deploy.configuration.references import secrets_in
from deploy.demo.children import Children, free_ports
from deploy.topics import partitions_of
from schemas.configuration import Configuration
from schemas.incidents import EventType
from tests.deploy.secrecy.canaries import BASE64, SIGNING, Canaries, general, secret_settings
from tests.deploy.secrecy.echoes import Echo, echoing_http, postgres, serving, smtp
from tests.sinks.examples import cpu_incident, event

PROCESSES = ("worker", "notifier", "case-store", "status-page", "playbooks")
INCIDENT = "INC-CANARY01"
CHANNELS = ("email", "slack", "teams", "teams:flow", "webhook:hook", "sms:text", "voice:call",
            "pagerduty:duty", "opsgenie:genie", "apprise:rest")  # fmt: skip
KAFKA_PASSWORD = "kafka-c4nary-password-1"

Document = dict[str, Any]


class World:
    """A configuration with every secret, what it talks to, and all that was said."""

    def __init__(self, folder: Path, broker: ApacheKafka, http: str, mail: int) -> None:
        self.folder = folder
        self.broker = broker
        self._http = http
        self._mail = mail
        self.canaries = Canaries({})
        self.said: dict[str, str] = {}
        self._numbers = itertools.count()

    def secret(self, name: str, value: str = "") -> dict[str, str]:
        """A secret with a value of its own."""
        variable = f"CANARY_{name}".upper()
        self.canaries.environment[variable] = value or f"{name}-c4nary-value-of-its-own"
        return {"env": variable}

    def document(self) -> Document:
        """What every run has in common."""
        http, secret = self._http, self.secret
        ports = dict(zip(PROCESSES, free_ports(len(PROCESSES)), strict=True))
        made: Document = {
            "logging": {"level": "DEBUG"},
            "kafka": {
                "bootstrap_servers": self.broker.address("USERS"),
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_username": "tocsin",
                "sasl_password": secret("kafka", KAFKA_PASSWORD),
            },
            "catalogue": {"services": [{"name": "ts-order-service", "tier": 1}]},
            "incidents": {
                "playbooks": [
                    {"name": "look", "webhook": f"{http}/playbook", "secret":
                     secret("playbook", SIGNING), "severities": ["P2"], "hold_seconds": 86400},
                ]
            },
            "worker": {"data_dir": str(self.folder / "worker")},
            "notifier": {
                "stale_after_seconds": 1e12,
                "signing_secret": secret("signing"),
                "channels": self._channels(),
                "recipients": [
                    {"name": f"r{n}", "channel": channel, "address": "+4912345678"}
                    for n, channel in enumerate(CHANNELS)
                ],
                "routes": [{"name": "all", "recipients": [f"r{n}" for n in range(len(CHANNELS))]}],
            },
            "case_store": {"token": secret("token"), "read_token": secret("read")},
            "status_page": {},
            "playbooks": {},
        }  # fmt: skip
        for part in PROCESSES[1:]:
            section = made[part.replace("-", "_")]
            section["store"] = f"sqlite:///{self.folder}/{part}.sqlite3"
            section["listen"] = {"port": ports[part]}
        made["worker"]["admin"] = {"port": ports["worker"]}
        return made

    def _channels(self) -> Document:
        http, secret = self._http, self.secret
        phone = {"url": f"{http}/taken/phone"}
        flow = f"{http}/flows/c4nary-of-teams-flow?sig=c4nary-of-sig"
        rest = f"{http.replace('http', 'json')}/c4nary-of-apprise?+X-Key=c4nary-of-apprise-key"
        return {
            "email": {"host": "127.0.0.1", "port": self._mail, "sender": "a@example.org",
                      "security": "none", "username": "ada", "password": secret("email")},
            "slack": {"token": secret("slack"), "signing_secret": secret("slack_signing"),
                      "base_url": f"{http}/slack/"},
            "teams": {"flow": {"url": secret("flow", flow)}},
            "teams_secret": secret("teams_secret", BASE64),
            "teams_bot": {"tenant": "t", "app_id": "a", "team": "t", "password": secret("bot"),
                          "service_url": http, "graph_url": http, "login_url": http,
                          "keys_url": f"{http}/keys"},
            "webhooks": {"hook": {"url": f"{http}/hook", "secret": secret("hook", SIGNING)}},
            "sms": {"text": {**phone, "token": secret("sms"),
                             "secret": secret("sms_sign", SIGNING)}},
            "voice": {"call": {"url": f"{http}/call", "token": secret("voice"),
                               "secret": secret("voice_sign", SIGNING)}},
            "pagerduty": {"duty": {"routing_key": secret("duty"), "base_url": f"{http}/taken"}},
            "opsgenie": {"genie": {"api_key": secret("genie"), "base_url": http}},
            "apprise": {"rest": secret("apprise", rest)},
        }  # fmt: skip

    def write(self, document: Document) -> Path:
        """The configuration as a file."""
        path = self.folder / f"tocsin-{next(self._numbers)}.yaml"
        YAML().dump(document, path)
        return path

    def command(self, path: Path, *arguments: str) -> int:
        """Runs `tocsin …`; what it prints is kept."""
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", *arguments, "-c", str(path)],
            env={**os.environ, **self.canaries.environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.keep(f"tocsin {arguments[0]} of {path.name}", done.stdout + done.stderr)
        return done.returncode

    def keep(self, what: str, text: str) -> None:
        """Keeps what was said for the end."""
        self.said[what] = self.said.get(what, "") + text

    def get(self, port: int, path: str, body: bytes | None = None, /, **headers: str) -> int:
        """What a process serves, whatever it is; 0 if nothing."""
        url, status = f"http://127.0.0.1:{port}{path}", 0
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            asked = urllib.request.Request(url, body, named)
            with urllib.request.urlopen(asked, timeout=10) as answer:
                status, text = answer.status, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode("utf-8", "replace")
            text += str(error.headers)
        except OSError:
            return 0
        self.keep(f"{path} at {port}", text)
        return status

    def leaks(self) -> dict[str, set[str]]:
        """Which secrets are in what was said, by where."""
        found = {what: self.canaries.found_in(text) for what, text in self.said.items()}
        return {what: names for what, names in found.items() if names}


class Run:
    """Processes of one configuration."""

    def __init__(self, world: World, document: Document, parts: tuple[str, ...]) -> None:
        self.world = world
        self.parts = parts
        self.path = world.write(document)
        self.name = self.path.stem
        folder = world.folder / self.name
        folder.mkdir()
        self.children = Children(self.path, world.canaries.environment, folder)
        self._ports: dict[str, int] = {
            part: document[part.replace("-", "_")]["admin" if part == "worker" else "listen"][
                "port"
            ]
            for part in parts
        }

    def __enter__(self) -> "Run":
        self.children.start(self.parts)
        return self

    def __exit__(self, *_: object) -> None:
        self.look()
        self.children.stop()
        for part in self.parts:
            self.world.keep(f"output of {part} in {self.name}", self.log(part))

    def look(self) -> dict[str, int]:
        """Asks every process how it is; the status of its readiness."""
        for part in self.parts:
            for path in ("/health/live", "/metrics"):
                self.world.get(self._ports[part], path)
        return {part: self.world.get(port, "/health/ready") for part, port in self._ports.items()}

    def port(self, part: str) -> int:
        return self._ports[part]

    def log(self, part: str) -> str:
        return self.children.log(part).read_text(errors="replace")

    def wait(self, happened: Callable[[], bool], seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, {p: self.log(p)[-2000:] for p in self.parts}
            time.sleep(0.3)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if not apache.available():
        pytest.skip("Apache Kafka needs java (17 or newer) and mvn on the path")
    login = f'PlainLoginModule required user_tocsin="{KAFKA_PASSWORD}";'
    settings = {
        "listener.name.users.sasl.enabled.mechanisms": "PLAIN,OAUTHBEARER",
        "listener.name.users.plain.sasl.jaas.config":
            f"org.apache.kafka.common.security.plain.{login}",
        "listener.name.users.oauthbearer.sasl.jaas.config":
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
            'unsecuredLoginStringClaim_sub="x";',
    }  # fmt: skip
    with ExitStack() as stack:
        broker = stack.enter_context(ApacheKafka(settings, listeners={"USERS": "SASL_PLAINTEXT"}))
        http, mail = stack.enter_context(echoing_http()), stack.enter_context(serving(smtp))
        made = World(tmp_path_factory.mktemp("canary"), broker, http, mail)
        for topic, count in {"telemetry": 1, **partitions_of(Configuration(), {})}.items():
            broker.create_topic(topic, count)
        yield made


def produce(world: World, version: int) -> None:
    producer = Producer({"bootstrap.servers": world.broker.bootstrap_servers, "log_level": 0})
    incident = cpu_incident(
        id=INCIDENT, version=version, playbook="look", playbook_result="running"
    )
    kind: EventType = "opened" if version == 1 else "updated"
    value = msgspec.json.encode(event(incident, kind))
    producer.produce("tocsin.incident-events.v1", value, key=INCIDENT)
    producer.produce("telemetry", b"not json")
    producer.flush(30)


def topic(world: World, name: str) -> list[bytes]:
    """All records of a topic."""
    consumer = Consumer(
        {"bootstrap.servers": world.broker.bootstrap_servers, "group.id": "look",
         "auto.offset.reset": "earliest", "enable.partition.eof": True, "log_level": 0}
    )  # fmt: skip
    count = len(consumer.list_topics(name).topics[name].partitions)
    consumer.assign([TopicPartition(name, number, 0) for number in range(count)])
    found, ended = [], 0
    while ended < count and (message := consumer.poll(20)) is not None:
        if message.error():
            ended += 1
        else:
            found.append((message.value() or b"") + str(message.headers()).encode())
    consumer.close()
    return found


def failed_channels(world: World) -> set[str]:
    said = [
        msgspec.json.Decoder().decode(v[: v.rindex(b"}") + 1])
        for v in topic(world, "tocsin.deliveries.v1")
    ]
    return {d["channel"] for d in said if d["status"] in ("failed", "asked", "accepted")
            and (d.get("detail") or d.get("failure"))}  # fmt: skip


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_secret_is_in_anything_that_is_said(world: World) -> None:
    document = world.document()
    receivers_that_refuse(world, document)
    a_wrong_password(world, document)
    tokens_that_are_refused(world, document)
    databases_that_refuse(world, document)
    a_key_that_does_not_open(world, document)
    everything_kept(world)
    assert world.leaks() == {}
    # That would mean nothing if the secrets had not been about.
    heard = "\n".join(Echo.heard)
    sent = world.canaries.found_in(heard)
    assert sent >= {f"CANARY_{name}".upper() for name in
                    ("email", "slack", "flow", "bot", "sms", "voice", "duty", "genie", "apprise",
                     "oauth", "store")}  # fmt: skip


def receivers_that_refuse(world: World, document: Document) -> None:
    with Run(world, document, PROCESSES) as run:
        assert world.command(run.path, "check") in (0, 1)
        run.wait(lambda: set(run.look().values()) == {200})
        produce(world, 1)
        run.wait(lambda: failed_channels(world) >= set(CHANNELS))
        run.wait(lambda: any(b"playbook_result" in v for v in topic(world, "tocsin.commands.v1")))
        strangers(world, run)
        crash(world, run)


def strangers(world: World, run: Run) -> None:
    """Asks for pages with and without the right words."""
    token = world.canaries.environment["CANARY_TOKEN"]
    cases, notifier = run.port("case-store"), run.port("notifier")
    form = f"actor=ada&token={token}x&next=/cases".encode()
    assert world.get(cases, "/sign-in", form) == 401
    assert world.get(cases, "/sign-in", form.replace(b"x&", b"&")) in (200, 302)
    for path in ("/cases/1", "/api/v1/cases/1", "/api/v1/cases/1/timeline"):
        world.get(cases, path)
        assert world.get(cases, path, Authorization=f"Bearer {token}") == 200
    world.get(cases, "/api/v1/reports", b"{}", Authorization="Bearer wrong")
    for path in ("/slack/commands", "/teams/commands", "/teams/messages", "/acknowledge/x"):
        world.get(notifier, path, b"text=ack", X_Slack_Signature="v0=0",
                  X_Slack_Request_Timestamp="1", Authorization="Bearer a.b.c")  # fmt: skip
    for path in ("/", "/api/v2/summary.json", f"/incidents/{INCIDENT}"):
        world.get(run.port("status-page"), path)


def crash(world: World, run: Run) -> None:
    """The stores lose what they hold, and the processes end with all that they know."""
    for part in PROCESSES[1:]:
        with sqlite3.connect(world.folder / f"{part}.sqlite3") as store:
            world.keep(f"store of {part}", "\n".join(store.iterdump()))
            names = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            store.execute("PRAGMA foreign_keys = OFF")
            for (name,) in names:
                store.execute(f'DROP TABLE "{name}"')
    produce(world, 2)
    run.wait(lambda: all("Traceback" in run.log(part) for part in PROCESSES[1:]))


def a_wrong_password(world: World, document: Document) -> None:
    for part in PROCESSES[1:]:
        for file in world.folder.glob(f"{part}.sqlite3*"):
            file.unlink()
    world.canaries.environment["CANARY_KAFKA"] = "kafka-c4nary-password-2"
    with Run(world, document, PROCESSES) as run:
        assert world.command(run.path, "check") == 1
        assert world.command(run.path, "topics") == 2
        run.wait(lambda: "the process ends" in run.log("worker") and wait_with_reason(world, run))
    world.canaries.environment["CANARY_KAFKA"] = KAFKA_PASSWORD


def wait_with_reason(world: World, run: Run) -> bool:
    """Whether all sinks say at their addresses that the login is wrong."""
    asked = [run.port(part) for part in PROCESSES[1:]]
    run.look()
    return all("Authentication failed" in world.said[f"/health/ready at {p}"] for p in asked)


def tokens_that_are_refused(world: World, document: Document) -> None:
    oauth = {
        "bootstrap_servers": world.broker.address("USERS"),
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauthbearer_token_endpoint_url": f"{world._http}/oauth/token",
        "sasl_oauthbearer_client_id": "tocsin",
        "sasl_oauthbearer_client_secret": world.secret("oauth"),
    }
    with Run(world, {**document, "kafka": oauth}, ("worker", "notifier")) as run:
        assert world.command(run.path, "check") == 1
        assert world.command(run.path, "topics") == 2
        run.wait(lambda: "token endpoint" in json.dumps(world.said | {"w": run.log("worker")})
                 and run.look()["notifier"] == 503)  # fmt: skip
        time.sleep(2)


def databases_that_refuse(world: World, document: Document) -> None:
    stores = PROCESSES[1:]
    with serving(postgres) as port:
        other = dict(document)
        for part in stores:
            other[part.replace("-", "_")] = {
                **document[part.replace("-", "_")],
                "store": f"postgresql://tocsin@127.0.0.1:{port}/tocsin",
                "store_password": world.secret("store"),
            }
        with Run(world, other, stores) as run:
            assert world.command(run.path, "check") in (0, 1)
            run.wait(lambda: all("ends" in run.log(part) for part in stores))


def a_key_that_does_not_open(world: World, document: Document) -> None:
    """The password of the client's key is wrong."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    file = world.folder / "client.key"
    locked = serialization.BestAvailableEncryption(b"another password")
    file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, locked))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tocsin")])
    now = datetime.now(tz=UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now)
        .not_valid_after(now.replace(year=now.year + 1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    (world.folder / "client.pem").write_bytes(made.public_bytes(pem))
    tls = {
        "bootstrap_servers": world.broker.bootstrap_servers,
        "security_protocol": "SSL",
        "ssl_certificate_location": str(world.folder / "client.pem"),
        "ssl_key_location": str(file),
        "ssl_key_password": world.secret("key"),
    }
    path = world.write({**document, "kafka": tls})
    assert world.command(path, "check") == 1
    assert world.command(path, "worker") == 2
    assert world.command(path, "notifier") == 2


def everything_kept(world: World) -> None:
    for name in partitions_of(Configuration(), {"telemetry": 1}):
        text = b"\n".join(topic(world, name)).decode("utf-8", "replace")
        world.keep(f"topic {name}", text)
    for file in (world.folder / "worker").rglob("*"):
        if file.is_file():
            world.keep(f"file {file.name}", file.read_bytes().decode("utf-8", "replace"))


def test_every_secret_that_can_be_configured_is_a_canary(tmp_path: Path) -> None:
    class Nowhere:
        bootstrap_servers = "127.0.0.1:9"

        def address(self, _: str) -> str:
            return self.bootstrap_servers

    world = World(tmp_path, Nowhere(), "http://127.0.0.1:9", 9)  # type: ignore[arg-type]
    configuration = load(world.write(world.document()), {})
    of_other_runs = {
        "kafka.sasl_oauthbearer_client_secret",
        "kafka.ssl_key_password",
        *(f"{part.replace('-', '_')}.store_password" for part in PROCESSES[1:]),
    }
    covered = {general(path) for path, _ in secrets_in(configuration)} | of_other_runs
    assert covered == set(secret_settings())
