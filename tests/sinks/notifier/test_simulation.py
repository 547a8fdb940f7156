"""A notifier under a random life: crashes, repeats, acknowledgements, receivers in trouble and
time, from one seed."""

import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from schemas.configuration import Channels, Configuration, Recipient, Route, WebhookChannel
from schemas.incidents import Incident, IncidentEvent
from schemas.oncall import Cadence, Escalation, MessageLimit, Step, Way
from sinks.notifier import Notifier
from sinks.notifier.store import read_taken, read_trail
from sinks.notifier.verdicts import verdict
from tests.sinks.examples import cpu_incident, event
from tests.sinks.notifier.conftest import Bench
from tests.sinks.notifier.outages import HookPlace, place
from tests.sinks.notifier.receivers import Trouble

LIMIT = MessageLimit(messages=5, per_seconds=300)
PEOPLE = (
    Recipient(name="ada", channel="console"),
    Recipient(name="grace", channel="console"),
    Recipient(name="desk", channel="console", audience="support"),
    Recipient(name="kim", channel="webhook:first", fall_back=(Way(channel="webhook:second"),)),
    Recipient(name="lou", channel="webhook:second", limit=LIMIT),
)
TROUBLES: tuple[Trouble | None, ...] = (None, None, "down", "404", "500", "429", "late")


class Life:
    """Incidents that open, are acknowledged and let go, and end, in an order from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.incidents: dict[str, Incident] = {}
        self.log: list[IncidentEvent] = []

    def step(self) -> IncidentEvent:
        known = [each for each in self.incidents.values() if each.state != "resolved"]
        if not known or self.random.random() < 0.4:
            name = f"inc-{len(self.incidents)}"
            made = cpu_incident(id=name, severity=self.random.choice(["P1", "P2", "P3"]))
            return self._say(made, "opened")
        incident = self.random.choice(known)
        incident = msgspec.structs.replace(incident, version=incident.version + 1)
        kind = self.random.choice(["acknowledged", "unacknowledged", "resolved", "updated"])
        if kind == "acknowledged":
            incident = msgspec.structs.replace(incident, acknowledged_by="grace")
        elif kind == "unacknowledged":
            incident = msgspec.structs.replace(incident, acknowledged_by=None)
        elif kind == "resolved":
            incident = msgspec.structs.replace(incident, state="resolved")
        return self._say(incident, kind)

    def _say(self, incident: Incident, kind: str) -> IncidentEvent:
        self.incidents[incident.id] = incident
        actor = "grace" if "acknowledged" in kind else "tocsin"
        made = event(incident, kind, actor=actor)  # type: ignore[arg-type]
        self.log.append(made)
        return made


@asynccontextmanager
async def hooks() -> AsyncIterator[tuple[HookPlace, HookPlace]]:
    """Two receivers that can be put into trouble."""
    async with place("webhook") as first, place("webhook") as second:
        assert isinstance(first, HookPlace)
        assert isinstance(second, HookPlace)
        yield first, second


def configured(bench: Bench, first: HookPlace, second: HookPlace) -> Configuration:
    policy = Escalation(
        name="shop",
        steps=(Step(notify=("ada",)), Step(notify=("grace",), after_minutes=5)),
        repeats=1,
    )
    routes = (
        Route(name="pages", severities=("P1", "P2"), escalation="shop"),
        Route(name="desk", recipients=("desk",)),
        Route(name="hooks", recipients=("kim", "lou")),
    )
    return bench.configuration(
        channels=Channels(
            webhooks={
                "first": WebhookChannel(url=f"{first.url}/hook"),
                "second": WebhookChannel(url=f"{second.url}/hook"),
            }
        ),
        recipients=PEOPLE,
        routes=routes,
        escalations=(policy,),
        limit=LIMIT,
        cadence=Cadence(minutes={"P1": 10}),
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_nobody_is_paged_for_what_somebody_has_and_all_is_accounted_for(
    bench: Bench, seed: int
) -> None:
    async with hooks() as places:
        life = Life(seed)
        notifier = await bench.start(configured(bench, *places))
        seen: list[tuple[int, int]] = []
        for _ in range(25):
            life.random.choice(places).trouble = life.random.choice(TROUBLES)
            made = life.step()
            await bench.feed(notifier, made)
            if life.random.random() < 0.3:
                await bench.feed(notifier, life.random.choice(life.log))  # a repeat
            await bench.settle(notifier)
            seen.append((bench.clock.now_ms, bench.console.getvalue().count("→ ada")))
            assert_nobody_is_paged_in_vain(bench, life, seed)
            if life.random.random() < 0.15:
                await bench.crash()
                notifier = await bench.start(configured(bench, *places))
            await bench.settle(notifier, life.random.choice([1, 30, 200]))
            seen.append((bench.clock.now_ms, bench.console.getvalue().count("→ ada")))
        for incident in list(life.incidents.values()):
            if incident.state != "resolved":
                ended = msgspec.structs.replace(
                    incident, version=incident.version + 1, state="resolved"
                )
                await bench.feed(notifier, event(ended, "resolved"))
        for each in places:
            each.trouble = None
        for _ in range(60):
            await bench.settle(notifier, 60)
        assert_within_the_limit(seen, seed)
        assert_no_flood_after_trouble(bench, seed)
        await assert_accounted_for(notifier, life, seed)
        assert_all_that_is_called_sent_arrived(bench, places, seed)


def assert_nobody_is_paged_in_vain(bench: Bench, life: Life, seed: int) -> None:
    """No page was asked for at a time at which somebody had the incident."""
    versions = {each.id: each for each in life.log}
    with sqlite3.connect(bench.file) as store:
        pages = store.execute(
            "SELECT event_id, recipient FROM notifier_message WHERE kind = 'page'"
        ).fetchall()
    for event_id, recipient in pages:
        incident = versions[event_id].incident
        assert incident.acknowledged_by is None, f"seed {seed}: {event_id} to {recipient}"
        assert incident.state != "resolved", f"seed {seed}: {event_id} to {recipient}"


def assert_within_the_limit(seen: list[tuple[int, int]], seed: int) -> None:
    """What came within any span that begins and ends at a look is within the limit."""
    for start_ms, before in seen:
        for end_ms, after in seen:
            if 0 <= end_ms - start_ms < LIMIT.per_seconds * 1000:
                assert after - before <= LIMIT.messages, f"seed {seed}: from {start_ms}"


def assert_no_flood_after_trouble(bench: Bench, seed: int) -> None:
    """What waited for a receiver counts against the limit of who reads there as it comes."""
    sent = {
        made.message_id: made.time_ms
        for made in bench.kafka.deliveries("sent")
        if made.recipient == "lou" and made.detail != "in a digest"
    }
    assert sent
    for start_ms in sent.values():
        end_ms = start_ms + LIMIT.per_seconds * 1000
        count = sum(start_ms <= at_ms < end_ms for at_ms in sent.values())
        assert count <= LIMIT.messages, f"seed {seed}: {count} from {start_ms}"


def assert_all_that_is_called_sent_arrived(
    bench: Bench, places: tuple[HookPlace, HookPlace], seed: int
) -> None:
    sent = {
        made.message_id
        for made in bench.kafka.deliveries("sent")
        if made.channel.startswith("webhook") and made.detail != "in a digest"
    }
    assert sent <= {key for each in places for key in each.arrived()}, f"seed {seed}"


async def assert_accounted_for(notifier: Notifier, life: Life, seed: int) -> None:
    """Everything that was asked for has come, or was kept from somebody for a reason."""
    outcomes: Counter[str] = Counter()
    last: dict[tuple[str, str], list[str]] = {}
    async with notifier._database.reading() as connection:
        for name in life.incidents:
            trail = await read_trail(connection, name)
            for taken in await read_taken(connection, name):
                for person in PEOPLE:
                    made = verdict(taken.event_id, person.name, trail, lambda: ("no rule",))
                    outcomes[made.outcome] += 1
                    refused = made.outcome == "failed" and taken.type == "resolved"
                    if made.outcome == "delivered" or refused:
                        last.setdefault((name, person.name), []).append(taken.type)
                    assert made.outcome not in ("on_its_way", "held"), f"seed {seed}: {made}"
    assert outcomes["delivered"] > 10
    for who, heard in last.items():
        assert heard[-1] == "resolved", f"seed {seed}: {who} heard {heard}"
