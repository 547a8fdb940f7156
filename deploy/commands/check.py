"""`tocsin check`: is the configuration right, and can what it names be reached?"""

import asyncio
import contextlib
import difflib
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiosmtplib
import msgspec
from confluent_kafka import KafkaException
from rich.markup import escape
from sqlalchemy.engine import make_url

from deploy.commands import moments
from deploy.commands.sample import Sample, mapped, sample
from deploy.commands.templates import broken_templates
from deploy.configuration import load
from deploy.configuration.places import shared_ports
from deploy.configuration.references import secrets_in
from deploy.console import new_console
from deploy.credentials import KafkaSettings, SecretError, kafka_settings, resolve
from deploy.processes import SINKS, made_for_check
from deploy.routing_tests import run_tests
from deploy.topics import TopicsError, inspect, show
from detectors.base import UnknownDetectorError
from detectors.registry import Registry
from schemas.configuration import Channels, Configuration, EmailChannel, Source
from schemas.times import DAY_MS, stamp
from sinks.notifier.oncall.files import Rosters
from sinks.outgoing import Outgoing
from sinks.redaction import redact_text

TIMEOUT_SECONDS = 5
GAP_DAYS = 28
SHOWN = 12
"""Names that one line lists at most."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `mend` and `note` are empty where it is in order.

    A note may be as it is wanted; what is to be mended is not.
    """

    what: str
    mend: str = ""
    note: str = ""


def run_check(config: Path | None, *, offline: bool) -> int:
    """Prints one line a finding; returns 1 if something must be mended, else 0.

    Raises `ConfigurationError` if the file itself has mistakes.
    """
    configuration = load(config)
    console = new_console()
    services = len(configuration.catalogue.services)
    topics = ", ".join(source.topic for source in configuration.sources)
    findings = [
        Finding(f"configuration: raw topics {topics}; services in the catalogue: {services}"),
        *_detectors(configuration),
        *_unsaid(configuration),
        *_templates(configuration),
        *_people(configuration),
    ]
    if not offline:
        findings += [*_secrets(configuration), *_here(configuration)]
        findings += asyncio.run(_reach(configuration))
    for finding in findings:
        mark = "[green]ok[/]  "
        if finding.mend or finding.note:
            mark = "[red]mend[/]" if finding.mend else "[yellow]note[/]"
        text = ": ".join(part for part in (finding.what, finding.mend or finding.note) if part)
        console.print(f"{mark}  {escape(redact_text(text))}", soft_wrap=True)
    return 1 if any(finding.mend for finding in findings) else 0


def _people(configuration: Configuration) -> Iterator[Finding]:
    """Routing tests hold, and somebody is on call in the weeks to come."""
    section = configuration.notifier
    if section.route_tests is not None:
        for name, wrong in run_tests(Path(section.route_tests), configuration):
            yield Finding(f"routing test {name}", wrong)
    now_ms = moments.now_ms()
    for roster in Rosters(section):
        gaps = roster.gaps(now_ms, now_ms + GAP_DAYS * DAY_MS)
        note = f"nobody is on call from {stamp(gaps[0].start_ms)} UTC" if gaps else ""
        yield Finding(f"on call by {roster.name} ({GAP_DAYS} days)", note=note)
        for stranger in roster.strangers(now_ms, now_ms + GAP_DAYS * DAY_MS):
            mend = f"{stranger} stands in a calendar and is no recipient's name or address"
            yield Finding(f"on call by {roster.name}", mend)
        for complaint in roster.complaints(now_ms, now_ms + GAP_DAYS * DAY_MS):
            mend = f"{complaint}; mend it where the calendar is written"
            yield Finding(f"on call by {roster.name}", mend)


def _detectors(configuration: Configuration) -> Iterator[Finding]:
    """Every rule names a detector that there is, with parameters that it takes."""
    for number, rule in enumerate(configuration.detection.rules):
        try:
            Registry(msgspec.structs.replace(configuration.detection, rules=(rule,)))
        except UnknownDetectorError as error:
            why = str(error).removeprefix("detection.rules[0]: ")
            yield Finding(f"detection.rules[{number}]", why)


def _templates(configuration: Configuration) -> Iterator[Finding]:
    """Every message can be written, and no customer reads anything internal."""
    wrong = dict.fromkeys(broken_templates(configuration))
    yield from (Finding(what, mend) for what, mend in wrong)
    if not wrong:
        yield Finding("templates: filled for recorded incidents, every audience and language")


def _unsaid(configuration: Configuration) -> Iterator[Finding]:
    """What works, but not as most would expect, since nothing was said about it."""
    notifier = configuration.notifier
    if all(recipient.channel == "console" for recipient in notifier.recipients):
        note = "messages go to the console alone; name people under notifier.recipients"
        yield Finding("notifier", note=note)
    if configuration.case_store.token is None:
        note = "its pages are read-only; to answer incidents there, set case_store.token"
        yield Finding("case store", note=note)
    for shared in shared_ports(configuration):
        yield Finding("ports", note=f"{shared}; on one machine only one of them can start")
    services = configuration.catalogue.services
    known = {service.name for service in services}
    for service in services:
        if strange := [name for name in service.depends_on if name not in known]:
            note = f"depends on {', '.join(strange)}, which the catalogue does not have"
            yield Finding(f"service {service.name}", note=note)
    public = any(service.public_name for service in configuration.catalogue.services)
    if not public and not configuration.status_page.components:
        note = "it shows nothing; give services a public_name under catalogue.services"
        yield Finding("status page", note=note)


def _secrets(configuration: Configuration) -> Iterator[Finding]:
    """Every secret that is named can be read."""
    for path, secret in secrets_in(configuration):
        try:
            resolve(secret, path)
        except SecretError as error:
            yield Finding("secret", str(error))
        else:
            yield Finding(f"secret {path}")


def _here(configuration: Configuration) -> Iterator[Finding]:
    """What a part would stop at as it starts, and what of this machine it needs."""
    for part, sink in SINKS.items():
        try:
            made_for_check(configuration, sink)
        except SecretError:
            continue  # said already, where secrets are looked at
        except ValueError as error:
            yield Finding(part, str(error))
    yield _folder("worker.data_dir", Path(configuration.worker.data_dir))
    for playbook in configuration.incidents.playbooks:
        if playbook.command and shutil.which(playbook.command[0]) is None:
            note = f"there is no program {playbook.command[0]} on this machine"
            yield Finding(f"playbook {playbook.name}", note=note)


def _folder(name: str, folder: Path) -> Finding:
    """A folder that is there, or that can be made."""
    existing = next(p for p in [folder, *folder.absolute().parents] if p.exists())
    if not existing.is_dir():
        return Finding(f"{name} in {folder}", f"{existing} is not a folder")
    if not os.access(existing, os.W_OK):
        return Finding(
            f"{name} in {folder}", note=f"{existing} cannot be written by whoever checks"
        )
    return Finding(f"{name} in {folder}")


async def _reach(configuration: Configuration) -> list[Finding]:
    """What is elsewhere, all at once, since each may take its whole time-out."""
    tasks: list[Awaitable[list[Finding]]] = [asyncio.to_thread(_kafka, configuration)]
    channels = configuration.notifier.channels
    if channels.email is not None:
        tasks.append(_one("e-mail server", channels.email.host, lambda: _smtp(channels.email)))
    if channels.slack is not None:
        tasks.append(_url("Slack", channels.slack.base_url))
    tasks += [_url(what, url) for what, url in _addresses(channels)]
    for name, store in (
        ("notifier.store", configuration.notifier.store),
        ("case_store.store", configuration.case_store.store),
        ("status_page.store", configuration.status_page.store),
    ):
        tasks.append(_store(name, store))
    return [finding for found in await asyncio.gather(*tasks) for finding in found]


def _addresses(channels: Channels) -> Iterator[tuple[str, str]]:
    """Where messages go by HTTP, each with what it is called."""
    for name, hook in channels.webhooks.items():
        yield f"webhook {name}", hook.url
    for kind, phones in (("sms", channels.sms), ("voice", channels.voice)):
        yield from ((f"{kind} {name}", phone.url) for name, phone in phones.items())
    for name, duty in channels.pagerduty.items():
        yield f"PagerDuty {name}", duty.base_url
    for name, genie in channels.opsgenie.items():
        yield f"Opsgenie {name}", genie.base_url
    bot = channels.teams_bot
    for what in ("service_url", "graph_url", "login_url", "keys_url") if bot else ():
        yield f"Teams bot {what}", getattr(bot, what)
    for name, team in channels.teams.items():
        with contextlib.suppress(SecretError):  # said already, where secrets are looked at
            yield f"Teams {name}", resolve(team.url, f"notifier.channels.teams.{name}.url")


def _kafka(configuration: Configuration) -> list[Finding]:
    """The brokers answer, raw topics exist, and tocsin's own are as they must be."""
    servers = configuration.kafka.bootstrap_servers
    raw = [source.topic for source in configuration.sources]
    try:
        settings = kafka_settings(configuration.kafka, Outgoing.of(configuration.outgoing))
        cluster = inspect(settings, raw)
        rows = show(configuration, settings)
    except (SecretError, TopicsError) as error:
        return [Finding("", str(error))]
    findings = [Finding(f"Kafka at {servers}")]
    for source in configuration.sources:
        count = cluster.partitions.get(source.topic, 0)
        if count:
            findings.append(_raw(configuration, settings, source, count))
        else:
            findings.append(Finding(f"raw topic {source.topic}", _absent(source, cluster.names)))
    missing = [row.topic.name for row in rows if row.state == "missing"]
    if missing and configuration.kafka.create_topics:
        findings.append(Finding(f"tocsin's own topics ({len(missing)} will be created)"))
    elif missing:
        mend = f"{', '.join(missing)} do not exist; create them with `tocsin topics --apply`"
        findings.append(Finding("tocsin's own topics", mend))
    else:
        findings.append(Finding(f"tocsin's own topics ({len(rows)})"))
    findings += [Finding(row.topic.name, row.mend) for row in rows if row.state == "differs"]
    return findings


def _absent(source: Source, names: frozenset[str]) -> str:
    alike = difflib.get_close_matches(source.topic, sorted(names), 1)
    meant = f"did you mean {alike[0]}?" if alike else "is its name right, and may this user see it?"
    return f"does not exist; {meant}"


def _raw(
    configuration: Configuration, settings: KafkaSettings, source: Source, count: int
) -> Finding:
    """A raw topic is there, and its last records can be used."""
    what = f"raw topic {source.topic} ({count} partition{'s' if count > 1 else ''})"
    try:
        return _sampled(what, source, sample(configuration, settings, source, count))
    except KafkaException as error:
        return Finding(what, f"cannot be read ({error.args[0].str()}): may this user read it?")


def _sampled(what: str, source: Source, seen: Sample) -> Finding:
    if not seen.records:
        return Finding(what, note="holds no record yet, so its fields could not be tried")
    having = f"; such a record has {_some(seen.fields)}" if seen.fields else ""
    if bad := seen.bad.total():
        why = f"{seen.bad.most_common(1)[0][0]}{having}"
        if bad == seen.records:
            return Finding(what, f"none of the last {bad} records can be used: {why}")
        return Finding(what, note=f"{bad} of the last {seen.records} records cannot be used: {why}")
    absent = {name: path for name, path in mapped(source).items() if name not in seen.found}
    if absent:
        paths = ", ".join(f"{path} (fields.{name})" for name, path in absent.items())
        note = f"none of the last {seen.records} records has {paths}; they have "
        return Finding(what, note=note + _some(seen.fields))
    of = f"{', '.join(sorted(seen.kinds))} of {_some(sorted(seen.services))}"
    return Finding(f"{what}: {of if seen.services else 'heartbeats'}")


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


async def _smtp(channel: EmailChannel | None) -> None:
    assert channel is not None
    client = aiosmtplib.SMTP(
        hostname=channel.host,
        port=channel.port,
        timeout=TIMEOUT_SECONDS,
        use_tls=channel.security == "tls",
        start_tls=channel.security == "starttls",
    )
    async with client:
        if channel.username and channel.password:
            password = resolve(channel.password, "notifier.channels.email.password")
            await client.login(channel.username, password)


async def _one(what: str, where: str, reach: Callable[[], Awaitable[None]]) -> list[Finding]:
    try:
        await asyncio.wait_for(reach(), TIMEOUT_SECONDS)
    except (OSError, TimeoutError, aiosmtplib.SMTPException, SecretError) as error:
        reason = str(error) or type(error).__name__
        return [Finding(f"{what} at {where}", f"cannot be reached ({reason})")]
    return [Finding(f"{what} at {where}")]


async def _url(what: str, url: str) -> list[Finding]:
    """Opens a connection and sends nothing: a receiver must not be told of a mere check."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return await _one(what, parts.hostname or url, lambda: _connect(parts.hostname or "", port))


async def _connect(host: str, port: int) -> None:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    await writer.wait_closed()


async def _store(name: str, url: str) -> list[Finding]:
    """A database server answers; an SQLite file's folder can be written."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return [_folder(name, Path(parsed.database or ".").parent)]
    host, port = parsed.host or "localhost", parsed.port or 5432
    return await _one(name, host, lambda: _connect(host, port))
