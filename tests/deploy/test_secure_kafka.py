"""Every part works on a Kafka that wants TLS, a client certificate and a password."""

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from ruamel.yaml import YAML

from deploy.brokers import apache
from deploy.brokers.apache import ApacheKafka
from deploy.commands.check import run_check
from deploy.commands.topics import run_topics
from deploy.demo.children import Children, free_ports
from schemas.configuration import Kafka, Secret

PASSWORD = "for this test alone"
MECHANISMS = ("PLAIN", "SCRAM-SHA-512")

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, and key and certificate of the broker and of the client, as PEM."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made with openssl, which is not on the path")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test CA",
            "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("broker", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", "names",
                "-out", f"{name}.pem")  # fmt: skip
    both = (folder / "broker.key").read_text() + (folder / "broker.pem").read_text()
    (folder / "broker.both.pem").write_text(both)
    return folder


@pytest.fixture(scope="module")
def broker(certificates: Path) -> Iterator[ApacheKafka]:
    """A Kafka whose further listener SECURE wants all three."""
    if not apache.available():
        pytest.skip("Apache Kafka needs java (17 or newer) and mvn on the path")
    prefix = "listener.name.secure"
    login = f'PlainLoginModule required user_tocsin="{PASSWORD}";'
    settings = {
        f"{prefix}.ssl.keystore.type": "PEM",
        f"{prefix}.ssl.keystore.location": str(certificates / "broker.both.pem"),
        f"{prefix}.ssl.truststore.type": "PEM",
        f"{prefix}.ssl.truststore.location": str(certificates / "ca.pem"),
        f"{prefix}.ssl.client.auth": "required",
        f"{prefix}.sasl.enabled.mechanisms": ",".join(MECHANISMS),
        f"{prefix}.plain.sasl.jaas.config": f"org.apache.kafka.common.security.plain.{login}",
        f"{prefix}.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }
    with ApacheKafka(settings, listeners={"SECURE": "SASL_SSL"}) as running:
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        admin = AdminClient({"bootstrap.servers": running.bootstrap_servers})
        change = UserScramCredentialUpsertion("tocsin", credential, PASSWORD.encode())
        for answer in admin.alter_user_scram_credentials([change]).values():
            answer.result(30)
        running.create_topic("telemetry", 2)
        yield running


def configuration(folder: Path, broker: ApacheKafka, certificates: Path, mechanism: str) -> Path:
    kafka = Kafka(
        bootstrap_servers=broker.address("SECURE"),
        security_protocol="SASL_SSL",
        sasl_mechanism=mechanism,  # type: ignore[arg-type]
        sasl_username="tocsin",
        sasl_password=Secret(env="TOCSIN_TEST_PASSWORD"),
        ssl_ca_location=str(certificates / "ca.pem"),
        ssl_certificate_location=str(certificates / "client.pem"),
        ssl_key_location=str(certificates / "client.key"),
    )
    values = {key: value for key, value in msgspec.to_builtins(kafka).items() if value is not None}
    values["sasl_password"] = {"env": "TOCSIN_TEST_PASSWORD"}
    document = {
        "kafka": values,
        "worker": {"consumer_group": f"worker-{mechanism}"},
        "case_store": {"consumer_group": f"case-store-{mechanism}"},
    }
    path = folder / "tocsin.yaml"
    YAML().dump(document, path)
    return path


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_worker_and_sink_are_ready_on_a_broker_with_tls_and_a_password(
    tmp_path: Path,
    broker: ApacheKafka,
    certificates: Path,
    mechanism: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", PASSWORD)
    path = configuration(tmp_path, broker, certificates, mechanism)
    assert run_topics(path, create=True) == 0
    assert run_check(path, offline=False) == 0
    worker, case_store = free_ports(2)
    environment = {
        "TOCSIN_WORKER_ADMIN": f"{{host: 127.0.0.1, port: {worker}}}",
        "TOCSIN_WORKER_DATA_DIR": str(tmp_path / "worker"),
        "TOCSIN_CASE_STORE_LISTEN": f"{{host: 127.0.0.1, port: {case_store}}}",
        "TOCSIN_CASE_STORE_STORE": f"sqlite:///{tmp_path / 'cases.sqlite3'}",
    }
    children = Children(path, environment, tmp_path)
    children.start(("worker", "case-store"))
    try:
        for port in (worker, case_store):
            wait_until_ready(port, children)
    finally:
        children.stop()
    for part in ("worker", "case-store"):
        assert PASSWORD not in children.log(part).read_text()


def test_a_wrong_password_is_told_in_one_line(
    tmp_path: Path,
    broker: ApacheKafka,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", "a wrong one")
    path = configuration(tmp_path, broker, certificates, "PLAIN")
    assert run_check(path, offline=False) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mend")]
    assert "do address and credentials fit" in line
    assert "a wrong one" not in line


def wait_until_ready(port: int, children: Children) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children.check()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("not ready within 60 s")
