"""Every part works on a Kafka that wants TLS, a client certificate, and a password or a token."""

import json
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from joserfc import jwt
from joserfc.jwk import RSAKey
from ruamel.yaml import YAML

from deploy.brokers import apache
from deploy.brokers.apache import ApacheKafka
from deploy.commands.check import run_check
from deploy.commands.topics import run_topics
from deploy.demo.children import Children, free_ports
from schemas.configuration import Kafka

PASSWORD = "for this test alone"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
TOKEN_SECONDS = 8
"""How long a token is good; the broker closes connections whose token has ended."""

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


class Issuer(BaseHTTPRequestHandler):
    """A server of tokens: for the right secret one that is good for a few seconds."""

    key = RSAKey.generate_key(2048, {"kid": "k-1"})
    issued = 0

    def do_GET(self) -> None:
        """The keys by which tokens can be verified."""
        public = self.key.as_dict(private=False) | {"use": "sig", "alg": "RS256"}
        self._answer(200, {"keys": [public]})

    def do_POST(self) -> None:
        """A token by client credentials, in the body or, as librdkafka does, in the header."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        basic = self.headers.get("Authorization", "").removeprefix("Basic ")
        user, _, secret = b64decode(basic).decode().partition(":")
        given = (form.get("client_id", user), form.get("client_secret", secret))
        if given != ("tocsin", PASSWORD) or form["scope"] != "kafka":
            self._answer(401, {"error": "invalid_client"})
            return
        type(self).issued += 1
        now = int(time.time())
        claims = {"sub": "tocsin", "aud": "kafka", "iss": "test", "iat": now,
                  "exp": now + TOKEN_SECONDS, "scope": "kafka"}  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "k-1"}, claims, self.key)
        self._answer(200, {"access_token": token, "expires_in": TOKEN_SECONDS,
                           "token_type": "Bearer"})  # fmt: skip

    def _answer(self, status: int, said: dict[str, object]) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The address of a server of tokens; their keys are at the same."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def broker(certificates: Path, issuer: str) -> Iterator[ApacheKafka]:
    """A Kafka whose listener SECURE wants TLS, a client certificate and a login of any mechanism,
    and MUTUAL a client certificate alone."""
    if not apache.available():
        pytest.skip("Apache Kafka needs java (17 or newer) and mvn on the path")
    prefix = "listener.name.secure"
    login = f'PlainLoginModule required user_tocsin="{PASSWORD}";'
    oauth = "org.apache.kafka.common.security.oauthbearer"
    settings = {
        f"{prefix}.oauthbearer.sasl.jaas.config": f"{oauth}.OAuthBearerLoginModule required;",
        f"{prefix}.oauthbearer.sasl.server.callback.handler.class": (
            f"{oauth}.OAuthBearerValidatorCallbackHandler"
        ),
        f"{prefix}.oauthbearer.connections.max.reauth.ms": "3600000",
        "sasl.oauthbearer.jwks.endpoint.url": issuer,
        "sasl.oauthbearer.expected.audience": "kafka",
        "sasl.oauthbearer.expected.issuer": "test",
        f"{prefix}.sasl.enabled.mechanisms": ",".join(MECHANISMS),
        f"{prefix}.plain.sasl.jaas.config": f"org.apache.kafka.common.security.plain.{login}",
    }
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    for size in (256, 512):
        settings[f"{prefix}.scram-sha-{size}.sasl.jaas.config"] = scram
    for listener in (prefix, "listener.name.mutual"):
        settings |= {
            f"{listener}.ssl.keystore.type": "PEM",
            f"{listener}.ssl.keystore.location": str(certificates / "broker.both.pem"),
            f"{listener}.ssl.truststore.type": "PEM",
            f"{listener}.ssl.truststore.location": str(certificates / "ca.pem"),
            f"{listener}.ssl.client.auth": "required",
        }
    listeners = {"SECURE": "SASL_SSL", "MUTUAL": "SSL"}
    with pytest.MonkeyPatch.context() as patch:
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={issuer}"
        patch.setenv("JAVA_TOOL_OPTIONS", allowed)
        with ApacheKafka(settings, listeners=listeners) as running:
            admin = AdminClient({"bootstrap.servers": running.bootstrap_servers})
            for kind in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
                credential = ScramCredentialInfo(kind, 4096)
                change = UserScramCredentialUpsertion("tocsin", credential, PASSWORD.encode())
                for answer in admin.alter_user_scram_credentials([change]).values():
                    answer.result(30)
            running.create_topic("telemetry", 2)
            yield running


def login_of(mechanism: str, issuer: str) -> dict[str, Any]:
    """What of `kafka` signs in by a mechanism; by the certificate alone if it is empty."""
    secret = {"env": "TOCSIN_TEST_PASSWORD"}
    if not mechanism:
        return {"security_protocol": "SSL"}
    sasl = {"security_protocol": "SASL_SSL", "sasl_mechanism": mechanism}
    if mechanism == "OAUTHBEARER":
        return sasl | {
            "sasl_oauthbearer_token_endpoint_url": issuer,
            "sasl_oauthbearer_client_id": "tocsin",
            "sasl_oauthbearer_client_secret": secret,
            "sasl_oauthbearer_scope": "kafka",
        }
    return sasl | {"sasl_username": "tocsin", "sasl_password": secret}


def configuration(
    folder: Path, broker: ApacheKafka, certificates: Path, mechanism: str, issuer: str
) -> Path:
    kafka = Kafka(
        bootstrap_servers=broker.address("SECURE" if mechanism else "MUTUAL"),
        ssl_ca_location=str(certificates / "ca.pem"),
        ssl_certificate_location=str(certificates / "client.pem"),
        ssl_key_location=str(certificates / "client.key"),
    )
    values = {key: value for key, value in msgspec.to_builtins(kafka).items() if value is not None}
    document = {
        "kafka": values | login_of(mechanism, issuer),
        "worker": {"consumer_group": f"worker-{mechanism}"},
        "case_store": {"consumer_group": f"case-store-{mechanism}"},
    }
    path = folder / "tocsin.yaml"
    YAML().dump(document, path)
    return path


@pytest.mark.parametrize("mechanism", ["", *MECHANISMS])
def test_worker_and_sink_are_ready_on_a_broker_with_tls_and_a_login(
    tmp_path: Path,
    broker: ApacheKafka,
    certificates: Path,
    issuer: str,
    mechanism: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", PASSWORD)
    path = configuration(tmp_path, broker, certificates, mechanism, issuer)
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
        if mechanism == "OAUTHBEARER":
            issued = Issuer.issued
            time.sleep(2 * TOKEN_SECONDS)  # what it is about: tokens end meanwhile
            for port in (worker, case_store):
                wait_until_ready(port, children)
            assert Issuer.issued > issued
    finally:
        children.stop()
    for part in ("worker", "case-store"):
        assert PASSWORD not in children.log(part).read_text()


@pytest.mark.parametrize("mechanism", ["PLAIN", "OAUTHBEARER"])
def test_a_wrong_password_is_told_in_one_line(
    tmp_path: Path,
    broker: ApacheKafka,
    certificates: Path,
    issuer: str,
    mechanism: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", "a wrong one")
    path = configuration(tmp_path, broker, certificates, mechanism, issuer)
    assert run_check(path, offline=False) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mend")]
    hint = "do client id, secret and scope fit?" if mechanism == "OAUTHBEARER" else "do address and"
    assert hint in line
    assert "a wrong one" not in line


def wait_until_ready(port: int, children: Children) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        children.check()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("not ready within 120 s")
