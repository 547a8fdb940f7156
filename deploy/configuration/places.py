"""Places that a configuration names: brokers, topics, hosts, stores and ports."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import msgspec

from schemas.configuration import Configuration, Listen
from sinks.drivers import DRIVERS

Found = Iterator[tuple[str, str]]

WITH_STORE: Final = ("notifier", "case_store", "status_page", "playbooks")
TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
BROKER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")


def wrong_places(configuration: Configuration) -> Found:
    """Places that are none, by their paths."""
    yield from _brokers(configuration)
    yield from _topics(configuration)
    yield from _hosts(configuration)
    for part in WITH_STORE:
        section = getattr(configuration, part)
        yield from _store(f"{part}.store", section.store, section.store_password is not None)
        yield from _ports(part, section.listen, section.admin)


def _brokers(configuration: Configuration) -> Found:
    servers = configuration.kafka.bootstrap_servers.split(",")
    if not all(BROKER.fullmatch(server.strip()) for server in servers):
        yield (
            "kafka.bootstrap_servers",
            "must be host:port, or several of them parted by commas: kafka-1:9092,kafka-2:9092",
        )


def _topics(configuration: Configuration) -> Found:
    names = {f"sources[{i}].topic": each.topic for i, each in enumerate(configuration.sources)}
    own = msgspec.structs.asdict(configuration.topics)
    own.pop("observation_shards")
    names |= {f"topics.{key}": name for key, name in own.items()}
    if configuration.case_store.changes_topic is not None:
        names["case_store.changes_topic"] = configuration.case_store.changes_topic
    for path, name in names.items():
        if not TOPIC.fullmatch(name) or name in (".", ".."):
            yield path, f"{name!r} is no topic's name: letters, digits, '.', '_' and '-', up to 249"


def _hosts(configuration: Configuration) -> Found:
    for index, host in enumerate(configuration.outgoing.allowed_hosts):
        alone = urlsplit(host if "//" in host else f"//{host}").hostname or ""
        if host.lower() != alone and not _is_address(host):
            path = f"outgoing.allowed_hosts[{index}]"
            meant = f": {alone}" if alone else ""
            yield path, f"must be a host alone, without scheme, port and path{meant}"


def _is_address(host: str) -> bool:
    """Whether it is an IPv6 address, whose colons are no port's."""
    return re.fullmatch(r"\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?", host) is not None


_SQLITE_FILE: Final = re.compile(r"sqlite:///[\w./-]+")
"""What most stores are, and surely right."""


def _store(path: str, text: str, has_password: bool) -> Found:
    """What is wrong with the URL of a store; never says it, as it may hold a password."""
    if _SQLITE_FILE.fullmatch(text) and not has_password:
        return
    # Not with the rest: a worker, which has no store, starts half a second earlier without it.
    from sqlalchemy.engine import make_url  # noqa: PLC0415
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        url = make_url(text)
        known = url.get_backend_name() in DRIVERS
    except ArgumentError:
        known = False
    if not known:
        yield path, "must be sqlite:///path/to/file or postgresql://user@host/database"
    elif url.password is not None:
        yield path, f"holds a password; leave it out, and name where it is under {path}_password"
    elif url.get_backend_name() == "sqlite":
        if url.host or url.database in (None, "", ":memory:"):
            yield path, "needs a file: sqlite:///path/to/file, or sqlite:////path from the root"
        if has_password:
            yield f"{path}_password", "has no effect: SQLite has no passwords"


def _ports(part: str, listen: Listen, admin: Listen | None) -> Found:
    if admin is not None and admin == listen and listen.port:
        yield f"{part}.admin", f"is the address of {part}.listen; leave it out to serve both there"


def shared_ports(configuration: Configuration) -> Iterator[str]:
    """Addresses that two parts want, which is right only if they run on different machines."""
    wanted: dict[tuple[str, int], set[str]] = defaultdict(set)
    sections = {part: getattr(configuration, part) for part in WITH_STORE}
    listens = [("worker.admin", configuration.worker.admin)]
    for part, section in sections.items():
        listens += [(f"{part}.listen", section.listen)]
        listens += [(f"{part}.admin", section.admin)] if section.admin is not None else []
    for name, listen in listens:
        if listen.port:
            wanted[listen.host, listen.port].add(name)
    for (host, port), names in wanted.items():
        if len(names) > 1:
            yield f"{' and '.join(sorted(names))} are all {host}:{port}"
