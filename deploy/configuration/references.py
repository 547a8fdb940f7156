"""What types cannot say: names that must exist, secrets that must be one thing or the other."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

import msgspec

from deploy.configuration.addresses import wrong_addresses
from deploy.configuration.mistakes import Mistake
from deploy.configuration.people import wrong_people
from deploy.configuration.places import wrong_places
from schemas.configuration import Channels, Configuration, Secret
from schemas.oncall import Way
from sinks.notifier.language import known as known_language
from streams.mapping import parse_path
from streams.silences import SilenceError, Silences

Locate = Callable[[str], int]

_PASSWORD = ("sasl_username", "sasl_password")
NEEDED_BY_SASL = {
    "PLAIN": _PASSWORD,
    "SCRAM-SHA-256": _PASSWORD,
    "SCRAM-SHA-512": _PASSWORD,
    "OAUTHBEARER": (
        "sasl_oauthbearer_token_endpoint_url",
        "sasl_oauthbearer_client_id",
        "sasl_oauthbearer_client_secret",
    ),
}
"""The keys of `kafka` that each mechanism needs."""

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

WITH_PAGES = ("notifier", "case_store", "status_page")
PARTS = ("worker", *WITH_PAGES, "playbooks")


def broken_references(configuration: Configuration, file: str, line: Locate) -> list[Mistake]:
    """Every reference to something that does not exist, and every half-given setting."""
    found = [
        *_secrets(configuration),
        *_kafka(configuration),
        *_topics(configuration),
        *_fields(configuration),
        *_windows(configuration),
        *_groups(configuration),
        *_addresses(configuration),
        *_notifier(configuration),
        *wrong_addresses(configuration),
        *wrong_places(configuration),
        *_catalogue(configuration),
        *_limits(configuration),
        *_grading(configuration),
        *_maintenance(configuration),
        *_playbooks(configuration),
    ]
    return [Mistake(file, line(path), path, message) for path, message in found]


def secrets_in(section: Any, path: str = "") -> Iterator[tuple[str, Secret]]:
    """Every secret below a section, with its dotted path."""
    if isinstance(section, Secret):
        yield path, section
    elif isinstance(section, msgspec.Struct):
        for name in section.__struct_fields__:
            yield from secrets_in(getattr(section, name), f"{path}.{name}" if path else name)
    elif isinstance(section, dict):
        for key, value in section.items():
            yield from secrets_in(value, f"{path}.{key}")
    elif isinstance(section, tuple):
        for index, value in enumerate(section):
            yield from secrets_in(value, f"{path}[{index}]")


def _secrets(configuration: Configuration) -> Iterator[tuple[str, str]]:
    for path, secret in secrets_in(configuration):
        if (secret.env is None) == (secret.file is None):
            yield path, "a secret needs exactly one of env (a variable's name) or file (a path)"
        elif secret.env is not None and not VARIABLE.fullmatch(secret.env):
            # What stands there may be the secret itself, and is not repeated.
            yield (
                f"{path}.env",
                "is no name of an environment variable (letters, digits and _); write the name of "
                "the variable that holds the secret, without $",
            )


def _kafka(configuration: Configuration) -> Iterator[tuple[str, str]]:
    kafka = configuration.kafka
    if kafka.security_protocol.startswith("SASL"):
        if kafka.sasl_mechanism is None:
            yield (
                "kafka.sasl_mechanism",
                f"is needed with security_protocol {kafka.security_protocol}",
            )
        else:
            for name in NEEDED_BY_SASL[kafka.sasl_mechanism]:
                if getattr(kafka, name) is None:
                    yield f"kafka.{name}", f"is needed with sasl_mechanism {kafka.sasl_mechanism}"
    elif kafka.sasl_mechanism is not None:
        yield (
            "kafka.sasl_mechanism",
            f"has no effect with security_protocol {kafka.security_protocol}; "
            "use SASL_SSL or SASL_PLAINTEXT",
        )
    if (kafka.ssl_certificate_location is None) != (kafka.ssl_key_location is None):
        yield "kafka", "ssl_certificate_location and ssl_key_location go together"


def _limits(configuration: Configuration) -> Iterator[tuple[str, str]]:
    named = [
        (f"detection.limits[{index}].limit", rule.limit)
        for index, rule in enumerate(configuration.detection.limits)
    ]
    for index, service in enumerate(configuration.catalogue.services):
        path = f"catalogue.services[{index}].limits"
        named += [(f"{path}.{metric}", limit) for metric, limit in service.limits.items()]
    for path, limit in named:
        if not isfinite(limit):
            yield path, f"{limit} is no value that a gauge can reach"


def _grading(configuration: Configuration) -> Iterator[tuple[str, str]]:
    rules = configuration.incidents.grading
    path = "incidents.grading"
    if len(rules.matrix) != 3:
        yield f"{path}.matrix", f"needs 3 rows, one for each impact; it has {len(rules.matrix)}"
    columns = list(zip(*rules.matrix, strict=True))
    if any(list(line) != sorted(line) for line in (*rules.matrix, *columns)):
        yield f"{path}.matrix", "severity must not rise where impact or urgency falls"
    for name in ("service_steps", "customer_steps", "revenue_steps"):
        steps = getattr(rules, name)
        if list(steps) != sorted(set(steps)):
            yield f"{path}.{name}", "steps must rise from one to the next"


def _maintenance(configuration: Configuration) -> Iterator[tuple[str, str]]:
    planned = configuration.incidents.maintenance
    names = Counter(maintenance.name for maintenance in planned)
    for index, maintenance in enumerate(planned):
        path = f"incidents.maintenance[{index}]"
        if names[maintenance.name] > 1:
            yield f"{path}.name", f"{maintenance.name!r} is named more than once"
        try:
            Silences((maintenance,))
        except SilenceError as error:
            yield path, str(error)


def _playbooks(configuration: Configuration) -> Iterator[tuple[str, str]]:
    rules = configuration.incidents.playbooks
    names = Counter(playbook.name for playbook in rules)
    for index, playbook in enumerate(rules):
        path = f"incidents.playbooks[{index}]"
        if names[playbook.name] > 1:
            yield f"{path}.name", f"{playbook.name!r} is named more than once"
        if (playbook.webhook is None) == (not playbook.command):
            yield path, "needs exactly one of webhook (an address) and command (a list of words)"
        if playbook.time_limit_seconds > playbook.hold_seconds:
            yield f"{path}.time_limit_seconds", "must not be longer than hold_seconds"


def _topics(configuration: Configuration) -> Iterator[tuple[str, str]]:
    if not configuration.sources:
        yield "sources", "names no topic; at least one raw topic is needed"
    own = msgspec.structs.asdict(configuration.topics)
    own.pop("observation_shards")
    names = Counter([source.topic for source in configuration.sources] + list(own.values()))
    changes = configuration.case_store.changes_topic
    if changes is not None and names[changes]:
        yield "case_store.changes_topic", f"{changes!r} is a topic for something else"
    for index, source in enumerate(configuration.sources):
        if names[source.topic] > 1:
            yield f"sources[{index}].topic", f"{source.topic!r} is named more than once"
    for key, name in own.items():
        if names[name] > 1:
            yield f"topics.{key}", f"{name!r} is named more than once"


def _fields(configuration: Configuration) -> Iterator[tuple[str, str]]:
    for index, source in enumerate(configuration.sources):
        for name, path in msgspec.structs.asdict(source.fields).items():
            try:
                if path is not None:
                    parse_path(path)
            except ValueError as error:
                yield f"sources[{index}].fields.{name}", str(error)


def _windows(configuration: Configuration) -> Iterator[tuple[str, str]]:
    if round(configuration.windows.window_seconds * 1000) < 1:
        yield "windows.window_seconds", "must be at least 0.001, one millisecond"


def _groups(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """Parts in one group would be given each other's partitions, or refused by the broker."""
    names = {part: getattr(configuration, part).consumer_group for part in PARTS}
    counts = Counter(names.values())
    for part, name in names.items():
        if counts[name] > 1:
            others = [other for other in PARTS if other != part and names[other] == name]
            message = f"{name!r} is also the group of {', '.join(others)}; each part needs its own"
            yield f"{part}.consumer_group", message


def _addresses(configuration: Configuration) -> Iterator[tuple[str, str]]:
    for part in WITH_PAGES:
        url = urlsplit(getattr(configuration, part).public_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            yield f"{part}.public_url", "must be an address that begins with https:// or http://"
        elif part == "case_store" and url.path.strip("/"):
            # Its pages lead to one another by paths from the root.
            yield f"{part}.public_url", f"must have no path: {url.path} would not be found"


WITH_ADDRESS = ("email", "slack", "sms", "voice")
"""Channels that must be told whom to reach."""


def channel_names(channels: Channels) -> Iterator[str]:
    """What recipients can name as their channel."""
    yield "console"
    for name in ("email", "slack"):
        if getattr(channels, name) is not None:
            yield name
    if channels.teams_bot is not None:
        yield "teams"
    for kind, named in (
        ("teams", channels.teams),
        ("webhook", channels.webhooks),
        ("sms", channels.sms),
        ("voice", channels.voice),
        ("pagerduty", channels.pagerduty),
        ("opsgenie", channels.opsgenie),
        ("apprise", channels.apprise),
    ):
        yield from (f"{kind}:{name}" for name in named)


def _each(ways: tuple[Way, ...]) -> Iterator[tuple[int, Way]]:
    return iter(enumerate(ways))


def _notifier(configuration: Configuration) -> Iterator[tuple[str, str]]:
    notifier = configuration.notifier
    channels = notifier.channels
    known = set(channel_names(channels))
    for index, recipient in enumerate(notifier.recipients):
        path = f"notifier.recipients[{index}]"
        ways = {
            path: (recipient.channel, recipient.address),
            **{f"{path}.page_by[{n}]": (w.channel, w.address) for n, w in _each(recipient.page_by)},
            **{
                f"{path}.fall_back[{n}]": (w.channel, w.address)
                for n, w in _each(recipient.fall_back)
            },
        }
        if not known_language(recipient.language):
            what = f"{recipient.language!r} is no language; give a code such as de or pt_BR"
            yield f"{path}.language", what
        for where, (channel, address) in ways.items():
            if channel not in known:
                yield f"{where}.channel", f"{channel!r} is none of {_listed(known)}"
            if (channel == "teams" or channel.partition(":")[0] in WITH_ADDRESS) and not address:
                yield f"{where}.address", f"is needed for channel {channel}"
    names = Counter(recipient.name for recipient in notifier.recipients)
    for index, recipient in enumerate(notifier.recipients):
        if names[recipient.name] > 1:
            path = f"notifier.recipients[{index}].name"
            yield path, f"{recipient.name!r} is named more than once"
    yield from wrong_people(configuration)


def _catalogue(configuration: Configuration) -> Iterator[tuple[str, str]]:
    services = {service.name for service in configuration.catalogue.services}
    for index, component in enumerate(configuration.status_page.components):
        for place, name in enumerate(component.services):
            if services and name not in services:
                path = f"status_page.components[{index}].services[{place}]"
                yield path, f"{name!r} is not a service of the catalogue"


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "(there are none)"
