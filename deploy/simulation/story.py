"""What happens to the simulated system: its services, their telemetry, and what goes wrong."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from schemas.configuration import CaseStore as CaseStoreSection
from schemas.configuration import (
    Catalogue,
    Channels,
    Component,
    Configuration,
    Incidents,
    Recipient,
    Route,
    Secret,
    Service,
    Source,
    StatusPage,
    Topics,
    WebhookChannel,
    Windows,
    WorkerSection,
)
from schemas.configuration import Notifier as NotifierSection
from schemas.oncall import Escalation, MessageLimit, Step, Way
from schemas.silences import Maintenance
from streams.silences import ENDS_SOON_MS

STORIES = 64
"""Seeds share them, so that what a story leads to without any disturbance is worked out once."""
RAW = "telemetry"
START_MS = 1_700_000_000_000
"""Event time and wall time at which the simulation begins; a window begins there too."""
WINDOW_MS = 2_000
LATENESS_MS = 2_000
HISTORY_MS = 80_000
"""Told before the simulation begins, so that detection has learnt what is usual."""
_HOUR_MS = 3_600_000
LENGTH_MS = 36_000
"""How long telemetry comes, from the start."""
TAIL_MS = 8_000
"""Heartbeats alone come for so long after it."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Fault:
    """A service is out of order for a while, and so is what calls it."""

    services: tuple[str, ...]
    kind: str
    begins_ms: int
    ends_ms: int

    def is_on(self, service: str, at_ms: int) -> bool:
        """Whether the service shows it at a time."""
        return service in self.services and self.begins_ms <= at_ms < self.ends_ms


@dataclass(frozen=True, slots=True)
class Story:
    """Raw records by partition, each with when it was made, and the configuration."""

    number: int
    configuration: Configuration
    faults: tuple[Fault, ...]
    before: tuple[tuple[bytes, ...], ...]
    """What every partition holds when the simulation begins."""
    records: tuple[tuple[tuple[int, bytes], ...], ...] = field(repr=False)
    """What comes to every partition, and when it is sent, Unix ms."""

    @property
    def partitions(self) -> int:
        """Of the raw topic."""
        return len(self.records)


@lru_cache(maxsize=STORIES)
def story_of(number: int) -> Story:
    """The same story for the same number."""
    chance = random.Random(f"story {number}")  # noqa: S311 (nothing is kept secret by it)
    partitions = chance.choice((1, 2, 2, 3))
    teller = _Teller(chance, partitions, _faults(chance))
    before = teller.tell(START_MS - HISTORY_MS, START_MS)
    during = teller.tell(START_MS, START_MS + LENGTH_MS)
    return Story(
        number,
        _configuration(chance, _maintenance() if number % 4 == 0 else ()),
        teller.faults,
        tuple(tuple(value for _, value in partition) for partition in before),
        tuple(tuple(p) for p in during),
    )


def _faults(chance: random.Random) -> tuple[Fault, ...]:
    """One or two outages, at times overlapping; the second of a service apart from the first."""
    first = Fault(
        chance.choice((("shop", "cart"), ("cart",), ("shop",))),
        chance.choice(("errors", "errors", "full", "logs")),
        START_MS + chance.randrange(2_000, 5_000),
        START_MS + chance.randrange(10_000, 16_000),
    )
    if chance.random() < 0.6:
        return (first,)
    begins_ms = START_MS + chance.randrange(6_000, 20_000)
    second = Fault(("mail",), chance.choice(("errors", "silence")), begins_ms, begins_ms + 10_000)
    return first, second


class _Teller:
    """Makes the records of a stretch of time."""

    def __init__(self, chance: random.Random, partitions: int, faults: tuple[Fault, ...]) -> None:
        self.chance = chance
        self.partitions = partitions
        self.faults = faults
        self._homes = {
            service: chance.randrange(partitions) for service in ("shop", "cart", "mail")
        }

    def tell(self, from_ms: int, until_ms: int) -> list[list[tuple[int, bytes]]]:
        """Per partition, records with when they are sent, in that order."""
        sent: list[list[tuple[int, int, bytes]]] = [[] for _ in range(self.partitions)]
        for start_ms in range(from_ms, until_ms, WINDOW_MS):
            for at_ms, record in self._window(start_ms):
                self._send(sent, at_ms, record, is_history=until_ms <= START_MS)
            for partition in sent:
                partition.append((start_ms + WINDOW_MS - 1, 0, _encode({"time": start_ms + 1_999})))
        if until_ms > START_MS:
            for at_ms in range(until_ms, until_ms + TAIL_MS + 1, WINDOW_MS):
                for partition in sent:
                    partition.append((at_ms, 0, _encode({"time": at_ms})))
        return [[(ms, value) for ms, _, value in sorted(p)] for p in sent]

    def _send(
        self,
        sent: list[list[tuple[int, int, bytes]]],
        at_ms: int,
        record: dict[str, Any],
        *,
        is_history: bool,
    ) -> None:
        chance = self.chance
        home = self._homes[record["service"]] if "metric" in record else None
        partition = chance.randrange(self.partitions) if home is None else home
        value = _encode({"time": at_ms, **record})
        place = sent[partition]
        place.append((at_ms, len(place), value))
        if is_history or chance.random() > 0.03:
            return
        trouble = chance.choice(("again", "late", "malformed"))
        if trouble == "again":  # a producer that did not hear that its record had come
            place.append((at_ms, len(place), value))
        elif trouble == "late":
            place.append((at_ms + chance.choice((1_500, 9_000)), len(place), value))
        else:
            place.append((at_ms, len(place), value[:-3]))

    def _window(self, start_ms: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for service, caller in (("shop", None), ("cart", "shop"), ("mail", None)):
            if self._has(service, "silence", start_ms):
                continue
            for part in range(4):
                at_ms = start_ms + part * WINDOW_MS // 4 + self.chance.randrange(100)
                yield at_ms, self._requests(service, caller, at_ms)
            if service == "cart":
                at_ms = start_ms + self.chance.randrange(WINDOW_MS)
                full = self._has(service, "full", at_ms)
                value = 1.0 if full else 0.2 + round(self.chance.random() * 0.1, 3)
                yield at_ms, {"service": service, "metric": "cpu_usage_ratio", "value": value}
            if self._has(service, "logs", start_ms):
                body = "cannot reach the database of orders"
                yield start_ms + 700, {"service": service, "severity": "ERROR", "body": body}

    def _requests(self, service: str, caller: str | None, at_ms: int) -> dict[str, Any]:
        """What the service counted in half a second."""
        count = self.chance.randrange(8, 14)
        fails = self._has(service, "errors", at_ms) or self._has(service, "logs", at_ms)
        errors = count - self.chance.randrange(2) if fails else 0
        told: dict[str, Any] = {"service": service, "requests": count, "errors": errors}
        return told if caller is None else {**told, "caller": caller}

    def _has(self, service: str, kind: str, at_ms: int) -> bool:
        return any(f.kind == kind and f.is_on(service, at_ms) for f in self.faults)


def _maintenance() -> tuple[Maintenance, ...]:
    """Two windows: one that ends while the simulation runs, and one that is then near its end."""
    minute = datetime.fromtimestamp(START_MS // 60_000 * 60, UTC)
    first_ms = round(minute.timestamp() * 1000)
    long_ago, soon_ms = minute - timedelta(hours=1), START_MS + 15_000 + ENDS_SOON_MS
    return (
        Maintenance(
            name="upgrade",
            matchers=("service=mail",),
            start=f"{minute:%Y-%m-%dT%H:%M}",
            hours=(START_MS + 21_000 - first_ms) / _HOUR_MS,
            author="ada",
        ),
        Maintenance(
            name="backup",
            matchers=("service=mail", "kind=latency"),
            start=f"{long_ago:%Y-%m-%dT%H:%M}",
            hours=(soon_ms - first_ms) / _HOUR_MS + 1,
            author="grace",
        ),
    )


def _configuration(chance: random.Random, windows: tuple[Maintenance, ...]) -> Configuration:
    return Configuration(
        environment="simulation",
        topics=Topics(observation_shards=chance.choice((1, 2))),
        sources=(Source(topic=RAW),),
        windows=Windows(
            window_seconds=WINDOW_MS / 1000,
            allowed_lateness_seconds=LATENESS_MS / 1000,
            idle_timeout_seconds=20,
        ),
        incidents=Incidents(
            correlation_gap_seconds=12,
            resolve_after_quiet_seconds=chance.choice((8, 12)),
            reopen_within_seconds=6,
            close_after_seconds=8,
            maintenance=windows,
        ),
        catalogue=Catalogue(
            services=(
                Service(
                    name="shop",
                    tier=1,
                    depends_on=("cart",),
                    public_name="Shop",
                    segments=("retail",),
                    customers=5000,
                    revenue_per_hour=20_000,
                ),
                Service(name="cart", tier=1, public_name="Cart", customers=2000),
                Service(name="mail", tier=3, public_name="E-mail"),
            )
        ),
        worker=WorkerSection(checkpoint_seconds=5),
        notifier=_notifier(chance),
        case_store=CaseStoreSection(token=Secret(env="TOKEN")),
        status_page=StatusPage(
            components=(
                Component(name="Shop", services=("shop", "cart")),
                Component(name="E-mail", services=("mail",)),
            )
        ),
    )


def _notifier(chance: random.Random) -> NotifierSection:
    spare = (Way(channel="webhook:desk"),) if chance.random() < 0.5 else ()
    return NotifierSection(
        signing_secret=Secret(env="LINKS"),
        give_up_after_seconds=600,
        channels=Channels(
            webhooks={
                name: WebhookChannel(url=f"https://{name}.example.org")
                for name in ("pager", "desk")
            }
        ),
        recipients=(
            Recipient(name="ada", channel="webhook:pager", fall_back=spare),
            Recipient(name="grace", channel="webhook:pager"),
            Recipient(name="desk", channel="webhook:desk", audience="support"),
        ),
        routes=(
            Route(name="pages", severities=("P1", "P2", "P3", "P4"), escalation="on-call"),
            Route(name="desk", recipients=("desk",)),
        ),
        escalations=(
            Escalation(
                name="on-call",
                steps=(Step(notify=("ada",)), Step(notify=("grace",), after_minutes=0.2)),
                repeats=0,
                severities=("P1", "P2", "P3", "P4"),
            ),
        ),
        limit=MessageLimit(messages=chance.choice((0, 0, 5)), per_seconds=15),
    )
