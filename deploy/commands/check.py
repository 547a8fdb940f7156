"""`tocsin check`: is the configuration right, and can what it names be reached?"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiosmtplib
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.markup import escape
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from deploy.configuration import load
from deploy.credentials import SecretError, kafka_settings, resolve
from deploy.topics import plan
from schemas.configuration import Configuration, EmailChannel, Secret

TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `mend` is empty where it is in order."""

    what: str
    mend: str = ""


def run_check(config: Path | None, *, offline: bool) -> int:
    """Prints one line a finding; returns 1 if something must be mended, else 0.

    Raises `ConfigurationError` if the file itself has mistakes.
    """
    configuration = load(config)
    console = Console(soft_wrap=True)
    services = len(configuration.catalogue.services)
    topics = ", ".join(source.topic for source in configuration.sources)
    console.print(f"[green]ok[/]    configuration: raw topics {topics}; {services} services")
    findings = list(_secrets(configuration))
    if not offline:
        findings += asyncio.run(_reach(configuration))
    for finding in findings:
        mark = "[red]mend[/]" if finding.mend else "[green]ok[/]  "
        text = f"{finding.what}: {finding.mend}" if finding.mend else finding.what
        console.print(f"{mark}  {escape(text)}")
    return 1 if any(finding.mend for finding in findings) else 0


def _secrets(configuration: Configuration) -> Iterator[Finding]:
    """Every secret that is named can be read."""
    for path, secret in secrets_in(configuration):
        try:
            resolve(secret, path)
        except SecretError as error:
            yield Finding("secret", str(error))
        else:
            yield Finding(f"secret {path}")


def secrets_in(section: object, path: str = "") -> Iterator[tuple[str, Secret]]:
    """Every secret below a section, with its dotted path."""
    if isinstance(section, Secret):
        yield path, section
    elif isinstance(section, dict):
        for key, value in section.items():
            yield from secrets_in(value, f"{path}.{key}")
    elif hasattr(section, "__struct_fields__"):
        for name in section.__struct_fields__:
            yield from secrets_in(getattr(section, name), f"{path}.{name}" if path else name)


async def _reach(configuration: Configuration) -> list[Finding]:
    """What is elsewhere, all at once, since each may take its whole time-out."""
    tasks: list[Awaitable[list[Finding]]] = [asyncio.to_thread(_kafka, configuration)]
    channels = configuration.notifier.channels
    if channels.email is not None:
        tasks.append(_one("e-mail server", channels.email.host, lambda: _smtp(channels.email)))
    if channels.slack is not None:
        tasks.append(_url("Slack", channels.slack.base_url))
    tasks += [_url(f"webhook {name}", hook.url) for name, hook in channels.webhooks.items()]
    for name, store in (
        ("notifier.store", configuration.notifier.store),
        ("case_store.store", configuration.case_store.store),
        ("status_page.store", configuration.status_page.store),
    ):
        tasks.append(_store(name, store))
    return [finding for found in await asyncio.gather(*tasks) for finding in found]


def _kafka(configuration: Configuration) -> list[Finding]:
    """The brokers answer, raw topics exist, and so do tocsin's own."""
    servers = configuration.kafka.bootstrap_servers
    try:
        settings = dict(kafka_settings(configuration.kafka).confluent)
        client = AdminClient({**settings, "log_level": 0})
        present = client.list_topics(timeout=TIMEOUT_SECONDS).topics
    except SecretError as error:
        return [Finding("Kafka", str(error))]
    except KafkaException as error:
        reason = error.args[0].str()
        hint = "is bootstrap_servers right, and do security_protocol and credentials fit?"
        return [Finding(f"Kafka at {servers}", f"does not answer ({reason}); {hint}")]
    findings = [Finding(f"Kafka at {servers}")]
    for source in configuration.sources:
        count = len(present[source.topic].partitions) if source.topic in present else 0
        mend = "" if count else "does not exist; is its name right?"
        findings.append(Finding(f"raw topic {source.topic} ({count} partitions)", mend))
    missing = [topic.name for topic in plan(configuration) if topic.name not in present]
    if missing and not configuration.kafka.create_topics:
        mend = f"{', '.join(missing)} do not exist; create them with `tocsin topics --apply`"
        findings.append(Finding("tocsin's own topics", mend))
    elif missing:
        findings.append(Finding(f"tocsin's own topics ({len(missing)} will be created)"))
    else:
        findings.append(Finding("tocsin's own topics"))
    return findings


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
    try:
        parsed = make_url(url)
    except ArgumentError:
        return [Finding(name, f"{url!r} is not a database URL, such as sqlite:///var/x.sqlite3")]
    if parsed.get_backend_name() == "sqlite":
        folder = Path(parsed.database or ".").parent
        existing = next(p for p in [folder, *folder.absolute().parents] if p.exists())
        mend = "" if existing.is_dir() else f"{existing} is not a folder"
        return [Finding(f"{name} in {folder}", mend)]
    host, port = parsed.host or "localhost", parsed.port or 5432
    return await _one(name, host, lambda: _connect(host, port))
