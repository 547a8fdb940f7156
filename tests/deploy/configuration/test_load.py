"""A configuration is read whole, and every mistake is named with file and line."""

from pathlib import Path

import pytest

from deploy.configuration import ConfigurationError, load


def write(folder: Path, text: str, name: str = "tocsin.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def mistakes_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        load(write(folder, text), {})
    return [str(mistake).replace(f"{folder}/", "") for mistake in error.value.mistakes]


def test_defaults_are_a_whole_configuration() -> None:
    assert load(None, {}).sources[0].topic == "telemetry"


def test_every_mistake_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
environment: production
kafka:
  bootstrap_server: kafka:9092
windows:
  window_seconds: -1
sources:
  - topic: app-logs
    kind: lgo
  - kind: log
notifier:
  channels:
    email: {sender: a@example.org, port: 99999}
"""
    assert mistakes_of(tmp_path, text) == [
        "tocsin.yaml:3 kafka.bootstrap_server: is not a known key; did you mean bootstrap_servers?",
        "tocsin.yaml:5 windows.window_seconds: -1 must be more than 0",
        "tocsin.yaml:8 sources[0].kind: 'lgo' is none of auto, metric, log, request, count",
        "tocsin.yaml:9 sources[1].topic: is missing",
        "tocsin.yaml:12 notifier.channels.email.host: is missing",
        "tocsin.yaml:12 notifier.channels.email.port: 99999 must be at most 65535",
    ]


def test_names_must_exist_where_they_are_used(tmp_path: Path) -> None:
    text = """\
kafka: {security_protocol: SASL_SSL, sasl_mechanism: PLAIN, sasl_username: tocsin}
notifier:
  recipients:
    - {name: ops, channel: "webhook:pager"}
  routes:
    - name: all
      recipients: [ops, boss]
  signing_secret: {env: A, file: b}
"""
    assert mistakes_of(tmp_path, text) == [
        "tocsin.yaml:1 kafka.sasl_password: is needed with sasl_mechanism PLAIN",
        "tocsin.yaml:4 notifier.recipients[0].channel: 'webhook:pager' is none of console",
        "tocsin.yaml:7 notifier.routes[0].recipients[1]: 'boss' is none of the recipients ops",
        "tocsin.yaml:8 notifier.signing_secret: "
        "a secret needs exactly one of env (a variable's name) or file (a path)",
    ]


def test_oauthbearer_needs_where_its_tokens_come_from(tmp_path: Path) -> None:
    text = """\
kafka:
  security_protocol: SASL_SSL
  sasl_mechanism: OAUTHBEARER
  sasl_oauthbearer_client_id: tocsin
  sasl_oauthbearer_token_endpoint_url: login.example.org
"""
    assert mistakes_of(tmp_path, text) == [
        "tocsin.yaml:1 kafka.sasl_oauthbearer_client_secret: "
        "is needed with sasl_mechanism OAUTHBEARER",
        "tocsin.yaml:5 kafka.sasl_oauthbearer_token_endpoint_url: "
        "must be an address that begins with https:// or http://",
    ]


def test_addresses_must_be_of_the_hosts_that_are_allowed(tmp_path: Path) -> None:
    text = """\
outgoing: {allowed_hosts: [hooks.example.org, "*.pagerduty.com", mail.example.org]}
incidents:
  playbooks:
    - {name: restart, webhook: "https://runbooks.example.org/restart"}
notifier:
  channels:
    email: {host: mail.example.org, sender: a@example.org}
    pagerduty: {shop: {routing_key: {env: A}}}
    webhooks:
      desk: {url: "https://hooks.example.org/a"}
      cloud: {url: "http://169.254.169.254/latest"}
"""
    assert mistakes_of(tmp_path, text) == [
        "tocsin.yaml:4 incidents.playbooks[0].webhook: runbooks.example.org is not in "
        "outgoing.allowed_hosts; add it there if it may be asked",
        "tocsin.yaml:11 notifier.channels.webhooks.cloud.url: 169.254.169.254 is not in "
        "outgoing.allowed_hosts; add it there if it may be asked",
    ]
    assert mistakes_of(tmp_path, text.partition("\n")[2]) == [
        "tocsin.yaml:10 notifier.channels.webhooks.cloud.url: 169.254.169.254 is never asked",
    ]


def test_each_part_needs_a_consumer_group_of_its_own(tmp_path: Path) -> None:
    text = "worker: {consumer_group: tocsin}\nnotifier:\n  consumer_group: tocsin\n"
    assert mistakes_of(tmp_path, text) == [
        "tocsin.yaml:1 worker.consumer_group: "
        "'tocsin' is also the group of notifier; each part needs its own",
        "tocsin.yaml:3 notifier.consumer_group: "
        "'tocsin' is also the group of worker; each part needs its own",
    ]


def test_recipients_need_a_name_of_their_own_and_an_address_where_one_is_written_to(
    tmp_path: Path,
) -> None:
    text = """\
notifier:
  channels: {slack: {token: {env: SLACK}}}
  recipients:
    - {name: ops, channel: slack}
    - {name: ops, channel: console}
  routes: [{name: all, recipients: [ops]}]
"""
    assert mistakes_of(tmp_path, text) == [
        "tocsin.yaml:4 notifier.recipients[0].address: is needed for channel slack",
        "tocsin.yaml:4 notifier.recipients[0].name: 'ops' is named more than once",
        "tocsin.yaml:5 notifier.recipients[1].name: 'ops' is named more than once",
    ]


def test_paths_and_windows_that_nothing_can_be_read_by_are_mistakes(tmp_path: Path) -> None:
    text = (
        "windows: {window_seconds: 0.0001}\n"
        "sources:\n"
        "  - topic: logs\n"
        "    fields:\n"
        "      time: a..b\n"
        "      service: '[x'\n"
    )
    assert mistakes_of(tmp_path, text) == [
        "tocsin.yaml:1 windows.window_seconds: must be at least 0.001, one millisecond",
        "tocsin.yaml:5 sources[0].fields.time: path 'a..b' has an empty segment",
        "tocsin.yaml:6 sources[0].fields.service: "
        "path '[x': a bracketed segment ends with ] before . or end",
    ]


def test_an_address_that_would_lead_nowhere_is_a_mistake(tmp_path: Path) -> None:
    text = (
        "notifier: {public_url: https://example.org/notifier}\n"
        "case_store: {public_url: https://example.org/cases}\n"
        "status_page: {public_url: status.example.org}\n"
    )
    assert mistakes_of(tmp_path, text) == [
        "tocsin.yaml:2 case_store.public_url: must have no path: /cases would not be found",
        "tocsin.yaml:3 status_page.public_url: "
        "must be an address that begins with https:// or http://",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kafka: [", "tocsin.yaml:1"),
        ("a: 1\na: 2\n", "tocsin.yaml:2: the key a stands twice"),
        ("- 1\n", "tocsin.yaml:1: must be a mapping, not a list"),
        ("sources: text\n", "tocsin.yaml:1 sources: must be a list, not text"),
        ("sources: []\n", "tocsin.yaml:1 sources: names no topic"),
    ],
)
def test_what_is_not_a_configuration_is_refused_in_one_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    (mistake,) = mistakes_of(tmp_path, text)
    assert mistake.startswith(expected)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml", {})


def test_the_environment_overrides_single_values(tmp_path: Path) -> None:
    path = write(tmp_path, "kafka: {bootstrap_servers: file:9092}\n")
    variables = {
        "TOCSIN_KAFKA_BOOTSTRAP_SERVERS": "env:9092",
        "TOCSIN_WORKER_CHECKPOINT_SECONDS": "2",
    }
    configuration = load(path, variables)
    assert configuration.kafka.bootstrap_servers == "env:9092"
    assert configuration.worker.checkpoint_seconds == 2
    with pytest.raises(ConfigurationError, match="TOCSIN_KAFKA_REPLICATION_FACTOR"):
        load(path, {"TOCSIN_KAFKA_REPLICATION_FACTOR": "many"})


def test_backstage_components_become_services(tmp_path: Path) -> None:
    write(
        tmp_path,
        """\
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: cart
  annotations: {tocsin/tier: "1", tocsin/public-name: Shopping cart, tocsin/regions: "eu, us"}
spec:
  type: service
  owner: group:default/shop
  dependsOn: [component:default/redis, resource:default/bucket]
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: {name: shop}
""",
        "catalog-info.yaml",
    )
    path = write(tmp_path, "catalogue: {include: [catalog-info.yaml]}\n")
    (cart,) = load(path, {}).catalogue.services
    assert (cart.name, cart.tier, cart.owner, cart.public_name) == (
        "cart",
        1,
        "shop",
        "Shopping cart",
    )
    assert cart.depends_on == ("redis",)
    assert cart.regions == ("eu", "us")


def test_a_service_named_twice_is_a_mistake_with_both_places(tmp_path: Path) -> None:
    text = "catalogue:\n  services:\n    - {name: cart}\n    - {name: cart, tier: 1}\n"
    (mistake,) = mistakes_of(tmp_path, text)
    assert mistake.startswith("tocsin.yaml:4: service 'cart' stands already in ")
    assert mistake.endswith("tocsin.yaml:3")


@pytest.mark.parametrize(
    ("grading", "says"),
    [
        ("matrix: [[P1, P2, P3]]", "needs 3 rows, one for each impact; it has 1"),
        (
            "matrix: [[P2, P1, P3], [P2, P3, P4], [P3, P4, P4]]",
            "severity must not rise where impact or urgency falls",
        ),
        ("customer_steps: [1000, 10]", "steps must rise from one to the next"),
    ],
)
def test_grading_rules_that_contradict_themselves_are_mistakes(
    tmp_path: Path, grading: str, says: str
) -> None:
    path = write(tmp_path, f"incidents:\n  grading:\n    {grading}\n")
    with pytest.raises(ConfigurationError, match=says):
        load(path, {})


@pytest.mark.parametrize(
    ("window", "says"),
    [
        ("matchers: [moon=full]", r"one of the names service, series"),
        ("matchers: [service=cart], rrule: NEVER", "maintenance 'upgrade'"),
        ("matchers: [service=cart], timezone: Mars/Olympus", "Mars/Olympus"),
    ],
)
def test_a_maintenance_window_that_is_none_is_a_mistake_with_its_line(
    tmp_path: Path, window: str, says: str
) -> None:
    when = "name: upgrade, start: 2026-11-24T22:00, hours: 2"
    path = write(tmp_path, f"incidents:\n  maintenance:\n    - {{{when}, {window}}}\n")
    with pytest.raises(ConfigurationError, match=says) as refused:
        load(path, {})
    assert f"{path}:3" in str(refused.value)


def test_every_way_to_a_recipient_and_every_address_of_a_channel_is_checked(tmp_path: Path) -> None:
    text = """\
notifier:
  channels:
    sms:
      provider: {url: sms.example.org}
    pagerduty:
      shop: {routing_key: {env: KEY}, base_url: "ftp://x"}
  recipients:
    - name: ada
      language: klingon
      channel: console
      page_by:
        - {channel: "sms:provider"}
      fall_back:
        - {channel: "pagerduty:other"}
  routes:
    - {name: all, recipients: [ada]}
"""
    wrong = "must be an address that begins with https:// or http://"
    known = "console, pagerduty:shop, sms:provider"
    path = "notifier.recipients[0]"
    assert mistakes_of(tmp_path, text) == [
        f"tocsin.yaml:4 notifier.channels.sms.provider.url: {wrong}",
        f"tocsin.yaml:6 notifier.channels.pagerduty.shop.base_url: {wrong}",
        f"tocsin.yaml:9 {path}.language: 'klingon' is no language; give a code such as de or pt_BR",
        f"tocsin.yaml:12 {path}.page_by[0].address: is needed for channel sms:provider",
        f"tocsin.yaml:14 {path}.fall_back[0].channel: 'pagerduty:other' is none of {known}",
    ]


def test_a_limit_that_nothing_can_reach_is_a_mistake(tmp_path: Path) -> None:
    limits = "limits: [{series: 'connections_open*', limit: .nan}]"
    services = "services: [{name: db, limits: {jobs: .inf}}]"
    path = write(tmp_path, f"detection:\n  {limits}\ncatalogue:\n  {services}\n")
    with pytest.raises(ConfigurationError) as raised:
        load(path)
    assert "2 detection.limits[0].limit: nan is no value" in str(raised.value)
    assert "4 catalogue.services[0].limits.jobs: inf is no value" in str(raised.value)
