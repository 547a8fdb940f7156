"""`tocsin check`: is the configuration right, and can what it names be reached?"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiosmtplib
from rich.markup import escape
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from deploy.configuration import load
from deploy.configuration.references import secrets_in
from deploy.console import new_console
from deploy.credentials import SecretError, kafka_settings, resolve
from deploy.topics import TopicsError, inspect, show
from schemas.configuration import Configuration, EmailChannel

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
    console = new_console()
    services = len(configuration.catalogue.services)
    topics = ", ".join(source.topic for source in configuration.sources)
    console.print(f"[green]ok[/]    configuration: raw topics {topics}; {services} services")
    findings: list[Finding] = []
    if not offline:
        findings = [*_secrets(configuration), *asyncio.run(_reach(configuration))]
    for finding in findings:
        mark = "[red]mend[/]" if finding.mend else "[green]ok[/]  "
        text = f"{finding.what}: {finding.mend}" if finding.mend else finding.what
        console.print(f"{mark}  {escape(text)}", soft_wrap=True)
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
    """The brokers answer, raw topics exist, and tocsin's own are as they must be."""
    servers = configuration.kafka.bootstrap_servers
    raw = [source.topic for source in configuration.sources]
    try:
        settings = kafka_settings(configuration.kafka)
        present = inspect(settings, raw).partitions
        rows = show(configuration, settings)
    except (SecretError, TopicsError) as error:
        return [Finding("Kafka", str(error))]
    findings = [Finding(f"Kafka at {servers}")]
    for topic in raw:
        count = present.get(topic, 0)
        mend = "" if count else "does not exist; is its name right?"
        findings.append(Finding(f"raw topic {topic} ({count} partitions)", mend))
    missing = [row.topic.name for row in rows if row.state == "missing"]
    if missing and configuration.kafka.create_topics:
        findings.append(Finding(f"tocsin's own topics ({len(missing)} will be created)"))
    elif missing:
        mend = f"{', '.join(missing)} do not exist; create them with `tocsin topics --apply`"
        findings.append(Finding("tocsin's own topics", mend))
    findings += [Finding(row.topic.name, row.mend) for row in rows if row.state == "differs"]
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
