"""Reads secrets from where the configuration says they are, and makes client settings of them."""

import asyncio
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError
from aiokafka.helpers import create_ssl_context

from schemas.configuration import Configuration, Kafka, Secret
from sinks.oauth import ClientCredentials, TokenError
from sinks.outgoing import Outgoing
from sinks.redaction import hide


class SecretError(Exception):
    """A secret, key or certificate cannot be read. Says which and where, never its value."""


def resolve(secret: Secret, key: str) -> str:
    """The value of `secret`; `key` is its dotted name in the configuration, for the error.

    The value is hidden from this process's logs from then on. Raises `SecretError`.
    """
    if (secret.env is None) == (secret.file is None):
        raise SecretError(f"{key}: name exactly one of env and file")
    value = _from_env(secret.env, key) if secret.env is not None else _from_file(secret.file, key)
    hide(value)
    return value


def _from_env(name: str, key: str) -> str:
    value = os.environ.get(name)
    if not value:
        state = "empty" if value == "" else "not set"
        raise SecretError(
            f"{key}: the environment variable {name} is {state}; export it before the start, "
            f"or name a file instead"
        )
    return value


def _from_file(name: str | None, key: str) -> str:
    assert name is not None
    try:
        value = Path(name).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise SecretError(
            f"{key}: the file {name} cannot be read ({why}); "
            f"mount it where this process can read it, or name an environment variable instead"
        ) from None
    if not value:
        raise SecretError(f"{key}: the file {name} is empty; write the secret into it")
    return value


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Connection settings by the names of each client; kept out of any print-out of this object.

    `aiokafka` has `bootstrap_servers`, `client_id`, `security_protocol` and, where needed,
    `ssl_context`, `sasl_mechanism`, `sasl_plain_username` and `sasl_plain_password` or
    `sasl_oauth_token_provider`. `confluent` has the same under librdkafka's names.
    """

    bootstrap_servers: str
    aiokafka: Mapping[str, Any] = field(repr=False)
    confluent: Mapping[str, Any] = field(repr=False)

    def sign_in(self) -> None:
        """Has a token fetched, if there are any, for the reason why there is none: a client of
        librdkafka says after 10 s that it has none. Raises `SecretError`."""
        try:
            if (fetch := self.confluent.get("oauth_cb")) is not None:
                fetch("")
        except TokenError as error:
            raise SecretError(f"Kafka at {self.bootstrap_servers}: {error}") from error


def kafka_settings(kafka: Kafka, outgoing: Outgoing | None = None) -> KafkaSettings:
    """Connection settings with the secrets read. Raises `SecretError`.

    `outgoing` says where a token endpoint may be.
    """
    ours: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "client_id": kafka.client_id,
        "security_protocol": kafka.security_protocol,
    }
    theirs: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "client.id": kafka.client_id,
        "security.protocol": kafka.security_protocol,
    }
    if "SASL" in kafka.security_protocol:
        _add_sasl(kafka, ours, theirs, outgoing)
    if "SSL" in kafka.security_protocol:
        _add_ssl(kafka, ours, theirs)
    return KafkaSettings(kafka.bootstrap_servers, ours, theirs)


def for_command(configuration: Configuration) -> dict[str, Any]:
    """What a command's own client of librdkafka needs, which prints nothing by itself: the errors
    that it raises say enough. Raises `SecretError`, also where no token is to be had."""
    settings = kafka_settings(configuration.kafka, Outgoing.of(configuration.outgoing))
    settings.sign_in()
    return {**settings.confluent, "log_level": 0}


def _add_sasl(
    kafka: Kafka, ours: dict[str, Any], theirs: dict[str, Any], outgoing: Outgoing | None
) -> None:
    if kafka.sasl_mechanism is None:
        raise _missing(kafka, "sasl_mechanism")
    ours["sasl_mechanism"] = theirs["sasl.mechanism"] = kafka.sasl_mechanism
    if kafka.sasl_mechanism == "OAUTHBEARER":
        _add_oauth(kafka, ours, theirs, outgoing)
        return
    if not (kafka.sasl_username and kafka.sasl_password):
        raise _missing(kafka, "sasl_mechanism", "sasl_username", "sasl_password")
    password = resolve(kafka.sasl_password, "kafka.sasl_password")
    ours |= {"sasl_plain_username": kafka.sasl_username, "sasl_plain_password": password}
    theirs |= {"sasl.username": kafka.sasl_username, "sasl.password": password}


def _add_oauth(
    kafka: Kafka, ours: dict[str, Any], theirs: dict[str, Any], outgoing: Outgoing | None
) -> None:
    url, client_id = kafka.sasl_oauthbearer_token_endpoint_url, kafka.sasl_oauthbearer_client_id
    if not (url and client_id and kafka.sasl_oauthbearer_client_secret):
        raise _missing(
            kafka,
            "sasl_oauthbearer_token_endpoint_url",
            "sasl_oauthbearer_client_id",
            "sasl_oauthbearer_client_secret",
        )
    key = "kafka.sasl_oauthbearer_client_secret"
    secret = resolve(kafka.sasl_oauthbearer_client_secret, key)
    authority = kafka.https_ca_location
    if authority is not None and not Path(authority).is_file():
        raise SecretError(f"kafka.https_ca_location: there is no file {authority}")
    tokens = ClientCredentials(
        url,
        client_id,
        secret,
        kafka.sasl_oauthbearer_scope,
        authority=authority,
        outgoing=outgoing,
    )
    extensions = kafka.sasl_oauthbearer_extensions
    ours["sasl_oauth_token_provider"] = TokenProvider(tokens, extensions)
    # librdkafka could fetch tokens by itself, but from wherever a name or a redirect leads, and it
    # prints what the server answers.
    theirs["oauth_cb"] = partial(_token_for_librdkafka, tokens, extensions)


def _missing(kafka: Kafka, *names: str) -> SecretError:
    keys = [f"kafka.{name}" for name in names]
    listed = " and ".join([", ".join(keys[:-1]), keys[-1]]) if len(keys) > 1 else keys[0]
    return SecretError(
        f"kafka.security_protocol is {kafka.security_protocol}: {listed} must be given"
    )


def _token_for_librdkafka(
    tokens: ClientCredentials, extensions: Mapping[str, str], _config: str
) -> tuple[str, float, str, dict[str, str]]:
    """A token, when it ends (Unix seconds), the principal, which is not used, and extensions.

    Called in a thread of the client's. Raises `TokenError`.
    """
    token = asyncio.run(tokens.token())
    return token, time.time() + tokens.seconds_left, "", dict(extensions)


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    """Tokens as aiokafka asks for them, at each connection that it makes."""

    def __init__(self, tokens: ClientCredentials, extensions: Mapping[str, str]) -> None:
        self._tokens = tokens
        self._extensions = dict(extensions)

    async def token(self) -> str:
        """A token that is good now. Raises KafkaConnectionError, so that it is tried again."""
        try:
            return await self._tokens.token()
        except TokenError as error:
            raise KafkaConnectionError(str(error)) from error

    def extensions(self) -> dict[str, str]:
        """What is sent beside the token."""
        return self._extensions


def _add_ssl(kafka: Kafka, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    password = None
    if kafka.ssl_key_password is not None:
        password = resolve(kafka.ssl_key_password, "kafka.ssl_key_password")
    certificates = {
        "ssl.ca.location": kafka.ssl_ca_location,
        "ssl.certificate.location": kafka.ssl_certificate_location,
        "ssl.key.location": kafka.ssl_key_location,
    }
    for name, path in certificates.items():
        if path is not None and not Path(path).is_file():
            key = f"kafka.{name.replace('.', '_')}"
            raise SecretError(f"{key}: there is no file {path}; give the path of a PEM file")
    try:
        ours["ssl_context"] = create_ssl_context(
            cafile=kafka.ssl_ca_location,
            certfile=kafka.ssl_certificate_location,
            keyfile=kafka.ssl_key_location,
            password=password,
        )
    except (ssl.SSLError, OSError) as error:
        raise SecretError(
            f"kafka.ssl_*: the certificates cannot be loaded ({error}); they must be PEM files, "
            f"and an encrypted key needs kafka.ssl_key_password"
        ) from error
    theirs |= {name: path for name, path in certificates.items() if path is not None}
    if password is not None:
        theirs["ssl.key.password"] = password
