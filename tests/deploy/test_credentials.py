"""Reading secrets, and what is said when one cannot be read."""

from pathlib import Path

import pytest

from deploy import logs
from deploy.credentials import SecretError, kafka_settings, resolve
from schemas.configuration import Kafka, Secret


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "correct horse")
    assert resolve(Secret(env="SMTP_PASSWORD"), "notifier.channels.email.password") == (
        "correct horse"
    )


def test_a_secret_from_a_file_loses_only_its_last_line_break(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" spaced \n")
    assert resolve(Secret(file=str(tmp_path / "token")), "case_store.token") == " spaced "


def test_a_secret_that_was_read_never_shows_in_a_log(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("battery-staple")
    resolve(Secret(file=str(tmp_path / "token")), "case_store.token")
    assert logs.redact("sent battery-staple along") == f"sent {logs.HIDDEN} along"


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (Secret(), "a.key: name exactly one of env and file"),
        (Secret(env="A", file="b"), "a.key: name exactly one of env and file"),
        (Secret(env="NOT_THERE"), "a.key: the environment variable NOT_THERE is not set; export"),
        (Secret(env="EMPTY"), "a.key: the environment variable EMPTY is empty"),
        (Secret(file="/no/such"), "a.key: the file /no/such cannot be read .No such file"),
    ],
)
def test_the_error_names_key_and_place_and_remedy(
    monkeypatch: pytest.MonkeyPatch, secret: Secret, words: str
) -> None:
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(SecretError, match=words):
        resolve(secret, "a.key")


def test_both_clients_get_the_password_and_no_print_out_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "correct horse")
    settings = kafka_settings(
        Kafka(
            bootstrap_servers="k1:9092,k2:9092",
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username="tocsin",
            sasl_password=Secret(env="KAFKA_PASSWORD"),
        )
    )
    assert settings.aiokafka["sasl_plain_password"] == "correct horse"
    assert settings.aiokafka["ssl_context"].check_hostname
    assert settings.confluent["sasl.password"] == "correct horse"
    assert settings.confluent["sasl.mechanism"] == "SCRAM-SHA-512"
    assert "correct horse" not in repr(settings)


def test_plain_text_needs_no_secret() -> None:
    settings = kafka_settings(Kafka())
    assert "ssl_context" not in settings.aiokafka
    assert settings.confluent["security.protocol"] == "PLAINTEXT"


def test_half_given_credentials_are_refused() -> None:
    with pytest.raises(SecretError, match=r"kafka\.sasl_password must be given"):
        kafka_settings(Kafka(security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN"))


def test_certificates_that_are_missing_or_broken_are_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"kafka\.ssl_ca_location: there is no file /no/ca"):
        kafka_settings(Kafka(security_protocol="SSL", ssl_ca_location="/no/ca"))
    broken = tmp_path / "ca.pem"
    broken.write_text("not a certificate")
    with pytest.raises(SecretError, match="must be PEM files"):
        kafka_settings(Kafka(security_protocol="SSL", ssl_ca_location=str(broken)))
