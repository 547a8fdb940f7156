"""What people get wrong as they set tocsin up, and the one line that each of them reads."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.commands.check import run_check
from deploy.configuration import ConfigurationError, load

WRONG = {
    "kafka:\n\tbootstrap_servers: a:1\n": "2: is indented with a tab; YAML wants spaces",
    "kafka: [a\n": "2: expected ',' or ']', but got '<stream end>'",
    "kafka: {}\n---\nkafka: {}\n": " holds more than one YAML document",
    "- kafka\n": "1: must be a mapping, not a list",
    "kafak: {}\n": "1 kafak: is not a known key; did you mean kafka?",
    "kafka: {client: x}\n": "1 kafka.client: is not a known key; did you mean client_id?",
    "kafka: {}\nkafka: {client_id: hush}\n": "2: the key kafka stands twice in one mapping",
    "kafka:\n": "1 kafka: is empty; leave it out, or say something below it",
    "kafka: {bootstrap_servers: [a:1, b:1]}\n":
        "1 kafka.bootstrap_servers: must be text, not a list",
    "kafka: {bootstrap_servers: localhost}\n":
        "1 kafka.bootstrap_servers: must be host:port, or several of them parted by commas: "
        "kafka-1:9092,kafka-2:9092",
    "kafka: {bootstrap_servers: 'kafka://a:9092'}\n":
        "1 kafka.bootstrap_servers: must be host:port, or several of them parted by commas: "
        "kafka-1:9092,kafka-2:9092",
    "kafka: {create_topics: yes}\n":
        "1 kafka.create_topics: must be true or false, not text ('yes')",
    "kafka: {sasl_mechanism: scram-sha-512}\n":
        "1 kafka.sasl_mechanism: 'scram-sha-512' is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, "
        "OAUTHBEARER",
    "sources: [telemetry]\n": "1 sources[0]: must be a mapping, not text; it needs topic: …",
    "sources: {topic: t}\n": "1 sources: must be a list, not a mapping",
    "sources: [{topic: my topic}]\n":
        "1 sources[0].topic: 'my topic' is no topic's name: letters, digits, '.', '_' and '-', "
        "up to 249",
    "sources: [{topic: t, kind: metrics}]\n":
        "1 sources[0].kind: 'metrics' is none of auto, metric, log, request, count",
    "sources: [{topic: t, fields: {timestamp: ts}}]\n":
        "1 sources[0].fields.timestamp: is not a known key; did you mean time?",
    "sources: [{topic: t, fields: {time: 5}}]\n":
        "1 sources[0].fields.time: must be text, not a whole number (5)",
    "windows: {window_seconds: 10s}\n":
        "1 windows.window_seconds: must be a number, not text ('10s')",
    "windows: {window_seconds: 0}\n": "1 windows.window_seconds: 0 must be more than 0",
    "worker: {admin: {port: 90000}}\n": "1 worker.admin.port: 90000 must be at most 65535",
    "worker: {session_timeout_seconds: 120}\n":
        "1 worker.session_timeout_seconds: 120 must be at most 90",
    "catalogue: {services: [{name: a, tier: gold}]}\n":
        "1 catalogue.services[0].tier: must be a whole number, not text ('gold')",
    "catalogue: {include: [nothere.yaml]}\n":
        "1 catalogue.include: no file matches nothere.yaml",
    "catalogue:\n  services:\n  - name: a\n  - name: a\n":
        "4: service 'a' stands already in {file}:3",
    "case_store: {store: var/x.sqlite3}\n":
        "1 case_store.store: must be sqlite:///path/to/file or postgresql://user@host/database",
    "case_store: {store: 'mysql://u:hush@h/db'}\n":
        "1 case_store.store: must be sqlite:///path/to/file or postgresql://user@host/database",
    "case_store: {store: 'postgresql://u:hush@h/db'}\n":
        "1 case_store.store: holds a password; leave it out, and name where it is under "
        "case_store.store_password",
    "case_store: {store: 'sqlite:///', store_password: {env: A}}\n":
        "1 case_store.store: needs a file: sqlite:///path/to/file, or sqlite:////path from the "
        "root\n1 case_store.store_password: has no effect: SQLite has no passwords",
    "case_store: {token: hush-hush-hush}\n":
        "1 case_store.token: a secret never stands in the file; write {env: NAME_OF_A_VARIABLE} "
        "or {file: PATH}",
    "case_store: {token: {env: $CASE_TOKEN}}\n":
        "1 case_store.token.env: is no name of an environment variable (letters, digits and _); "
        "write the name of the variable that holds the secret, without $",
    "case_store: {token: {env: hush-hush}}\n":
        "1 case_store.token.env: is no name of an environment variable (letters, digits and _); "
        "write the name of the variable that holds the secret, without $",
    "notifier: {listen: {port: 9000}, admin: {port: 9000}}\n":
        "1 notifier.admin: is the address of notifier.listen; leave it out to serve both there",
    "notifier: {public_url: tocsin.example.org}\n":
        "1 notifier.public_url: must be an address that begins with https:// or http://",
    "notifier: {channels: {webhooks: {x: {url: hooks.example.org}}}}\n":
        "1 notifier.channels.webhooks.x.url: must be an address that begins with https:// or "
        "http://",
    "notifier: {channels: {email: {sender: a@example.org}}}\n":
        "1 notifier.channels.email.host: is missing",
    "notifier: {recipients: [{name: ada, channel: console}]}\n":
        "1 notifier.routes: is missing: without it everything goes to console, who is none of the "
        "recipients here; say who is told what, such as {name: all, recipients: [ada]}",
    "notifier: {routes: [{name: r, recipients: [bob]}]}\n":
        "1 notifier.routes[0].recipients[0]: 'bob' is none of the recipients console",
    "notifier: {routes: [{name: r, recipients: [console], severities: [P1, P5]}]}\n":
        "1 notifier.routes[0].severities[1]: 'P5' is none of P1, P2, P3, P4",
    "outgoing: {allowed_hosts: ['https://hooks.slack.com/services']}\n":
        "1 outgoing.allowed_hosts[0]: must be a host alone, without scheme, port and path: "
        "hooks.slack.com",
    "topics: {observation_shards: 0}\n": "1 topics.observation_shards: 0 must be at least 1",
}  # fmt: skip
"""A configuration and its mistakes, by their lines."""


@pytest.mark.parametrize("text", WRONG)
def test_it_is_one_line_with_place_and_way_out_and_without_secrets(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "tocsin.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load(path, {})
    said = str(raised.value).replace(f"{path}:", "", 1).replace(f"\n{path}:", "\n")
    assert said == WRONG[text].replace("{file}", str(path))
    assert "hush" not in said


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"TOCSIN_WORKER_CHECKPOINT_SECONDS": "soon"},
         "environment TOCSIN_WORKER_CHECKPOINT_SECONDS: must be a number, not text"),
        ({"TOCSIN_WORKER_CHECKPOINT_SECONDS": "0"},
         "environment TOCSIN_WORKER_CHECKPOINT_SECONDS: must be more than 0"),
        ({"TOCSIN_WORKER_CHECKPOINT_SECONDS": "[hush"},
         "environment TOCSIN_WORKER_CHECKPOINT_SECONDS: cannot be read as YAML; put quotes around "
         "it where it is a text"),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_named_and_not_repeated(
    variables: Mapping[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(None, variables)
    assert str(raised.value) == says


@pytest.mark.parametrize("value", ["p@ss: [word", "{x", "12345678", "a b"])
def test_the_variable_of_a_secret_holds_the_secret(value: str) -> None:
    secret = load(None, {"TOCSIN_CASE_STORE_TOKEN": value}).case_store.token
    assert secret is not None
    assert secret.env == "TOCSIN_CASE_STORE_TOKEN"


NOTES = {
    "worker: {admin: {port: 9000}}\nnotifier: {listen: {port: 9000}}\n":
        "note  ports: notifier.listen and worker.admin are all 127.0.0.1:9000; on one machine "
        "only one of them can start",
    "catalogue: {services: [{name: checkout, depends_on: [nobody]}]}\n":
        "note  service checkout: depends on nobody, which the catalogue does not have",
}  # fmt: skip


@pytest.mark.parametrize("text", NOTES)
def test_what_may_be_meant_is_noted(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tocsin.yaml"
    path.write_text(text, encoding="utf-8")
    assert run_check(path, offline=True) == 0
    assert NOTES[text] in capsys.readouterr().out


STOPS = {
    "notifier: {channels: {webhooks: {x: {url: 'https://example.org', secret: {env: WRONG}}}}}":
        "notifier: a secret that signs webhooks is not Base64; make one with "
        "`openssl rand -base64 32`",
    "notifier: {channels: {teams_secret: {env: WRONG}}}":
        "notifier: notifier.channels.teams_secret: is not base64; copy the token that Teams "
        "showed when the outgoing webhook was made",
    "notifier: {channels: {apprise: {x: {env: WRONG}}}}":
        "notifier: notifier.channels.apprise.x: is not one URL that Apprise can read; see its "
        "list of services",
    "worker: {data_dir: /etc/passwd}":
        "worker.data_dir in /etc/passwd: /etc/passwd is not a folder",
}  # fmt: skip


@pytest.mark.parametrize("text", STOPS)
def test_what_a_part_would_stop_at_is_said_before_it_is_started(
    tmp_path: Path,
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WRONG", "not-base64-and-no-address!")
    monkeypatch.setattr("deploy.commands.check._kafka", lambda _: [])
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tocsin.yaml"
    path.write_text(text + "\n", encoding="utf-8")
    assert run_check(path, offline=False) == 1
    assert f"mend  {STOPS[text]}" in capsys.readouterr().out
