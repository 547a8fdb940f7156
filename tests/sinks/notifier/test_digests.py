"""Storms: limits, digests, quiet hours; nothing is dropped without a word."""

import itertools
from datetime import UTC, datetime

import msgspec

from schemas.configuration import Recipient, Route
from schemas.incidents import Delivery, IncidentEvent
from schemas.oncall import Hours, Inhibition, MessageLimit, QuietHours
from tests.sinks.examples import cpu_incident, event
from tests.sinks.notifier.conftest import Bench

ADA = Recipient(name="ada", channel="console")
LIMIT = MessageLimit(messages=4, per_seconds=300)


def opened(number: int, **changes: object) -> IncidentEvent:
    return event(cpu_incident(id=f"inc-{number:02}", severity="P3", **changes), "opened")


def ended(number: int) -> IncidentEvent:
    incident = cpu_incident(id=f"inc-{number:02}", severity="P3", version=2, state="resolved")
    return event(incident, "resolved")


def fates(bench: Bench) -> dict[str, str]:
    """The last step of every message."""
    made = [step for step in bench.kafka.deliveries() if step.status != "scheduled"]
    return {step.message_id: step.status for step in made}


def of_incidents(bench: Bench) -> list[Delivery]:
    """What was sent about an incident, alone or in a digest, without the digests themselves."""
    return [made for made in bench.kafka.deliveries("sent") if made.incident_id]


async def test_what_is_above_the_limit_comes_in_one_digest_and_is_accounted_for(
    bench: Bench,
) -> None:
    notifier = await bench.start(bench.configuration(recipients=(ADA,), limit=LIMIT))
    await bench.feed(notifier, *(opened(number) for number in range(30)))
    await bench.settle(notifier)
    assert len(of_incidents(bench)) == 2
    assert len(bench.kafka.deliveries("held")) == 28
    assert {made.detail for made in bench.kafka.deliveries("held")} == {"limit"}
    await bench.settle(notifier, 60)
    assert "28 messages" in bench.console.getvalue()
    assert len(of_incidents(bench)) == 30
    assert set(fates(bench).values()) == {"sent"}


async def test_a_digest_is_announced_asked_for_and_sent_in_the_log(bench: Bench) -> None:
    notifier = await bench.start(bench.configuration(recipients=(ADA,), limit=LIMIT))
    await bench.feed(notifier, *(opened(number) for number in range(5)))
    await bench.settle(notifier)
    (planned,) = bench.kafka.deliveries("scheduled")
    assert (planned.recipient, planned.incident_id) == ("ada", "")
    assert planned.due_ms == bench.clock.now_ms + 60_000
    await bench.settle(notifier, 60)
    steps = [made for made in bench.kafka.deliveries() if made.event_id.startswith("digest/ada/")]
    assert [made.status for made in steps] == ["scheduled", "asked", "sent"]
    assert "3 messages" in steps[-1].subject


async def test_no_span_holds_more_messages_than_the_limit(bench: Bench) -> None:
    notifier = await bench.start(bench.configuration(recipients=(ADA,), limit=LIMIT))
    sent, before = [], 0
    numbers = itertools.count()
    for _ in range(26):
        await bench.feed(notifier, *(opened(next(numbers)) for _ in range(3)))
        await bench.settle(notifier, 20)
        now = bench.console.getvalue().count(" → ada")
        sent += [bench.clock.now_ms] * (now - before)
        before = now
    assert len(sent) >= 8
    for at in sent:
        assert sum(at - 300_000 < other <= at for other in sent) <= LIMIT.messages


async def test_the_severe_come_before_what_is_less_so(bench: Bench) -> None:
    notifier = await bench.start(bench.configuration(recipients=(ADA,), limit=LIMIT))
    await bench.feed(notifier, *(opened(number) for number in range(5)))
    worst = event(cpu_incident(id="worst", severity="P1"), "opened")
    await bench.feed(notifier, worst)
    await bench.settle(notifier)
    assert bench.kafka.deliveries("sent")[-1].incident_id == "worst"
    await bench.settle(notifier, 60)
    held = [made.incident_id for made in bench.kafka.deliveries("held")]
    assert held == ["inc-02", "inc-03", "inc-04"]


async def test_how_it_went_on_is_not_told_before_that_it_began(bench: Bench) -> None:
    notifier = await bench.start(bench.configuration(recipients=(ADA,), limit=LIMIT))
    await bench.feed(notifier, *(opened(number) for number in range(4)), ended(3))
    await bench.settle(notifier)
    assert "Resolved" not in bench.console.getvalue()
    await bench.settle(notifier, 60)
    digest = bench.console.getvalue().split("messages about")[1]
    assert "Resolved: ts-order-service" in digest


async def test_a_digest_survives_a_crash_and_comes_once(bench: Bench) -> None:
    configuration = bench.configuration(recipients=(ADA,), limit=LIMIT)
    notifier = await bench.start(configuration)
    await bench.feed(notifier, *(opened(number) for number in range(10)))
    await bench.settle(notifier)
    await bench.crash()
    bench.clock.advance(60)
    again = await bench.start(bench.configuration(recipients=(ADA,), limit=LIMIT))
    await bench.settle(again)
    await bench.settle(again, 3600)
    assert bench.console.getvalue().count("8 messages about") >= 1
    assert len({made.message_id for made in of_incidents(bench)}) == 10


async def test_quiet_hours_end_with_a_digest_but_the_urgent_comes_through(bench: Bench) -> None:
    night = QuietHours(hours=(Hours(start="22:00", until="07:00"),), severities=("P1",))
    sleeper = msgspec.structs.replace(ADA, quiet_hours=night, time_zone="Europe/Berlin")
    bench.clock.now_ms = round(datetime(2026, 11, 24, 22, 0, tzinfo=UTC).timestamp() * 1000)
    notifier = await bench.start(bench.configuration(recipients=(sleeper,)))
    await bench.feed(notifier, opened(1), event(cpu_incident(id="p1", severity="P1"), "opened"))
    await bench.settle(notifier)
    assert [made.incident_id for made in bench.kafka.deliveries("sent")] == ["p1"]
    (held,) = bench.kafka.deliveries("held")
    assert (held.detail, held.due_ms) == ("quiet_hours", bench.clock.now_ms + 8 * 3_600_000)
    await bench.settle(notifier, 8 * 3600 - 1)
    assert len(bench.kafka.deliveries("sent")) == 1
    await bench.settle(notifier, 1)
    assert len(of_incidents(bench)) == 2


async def test_an_end_is_told_whatever_was_muted_since(bench: Bench) -> None:
    notifier = await bench.start(bench.configuration(recipients=(ADA,)))
    await bench.feed(notifier, opened(1))
    await bench.settle(notifier)
    silent = msgspec.structs.replace(ended(1).incident, silenced_by="works")
    await bench.feed(notifier, opened(2, silenced_by="works"), event(silent, "resolved"), ended(2))
    await bench.settle(notifier)
    told = [(made.incident_id, made.event_id) for made in bench.kafka.deliveries("sent")]
    assert told == [("inc-01", "inc-01/1"), ("inc-01", "inc-01/2")]
    (withheld,) = bench.kafka.deliveries("withheld")
    assert (withheld.incident_id, withheld.detail) == ("inc-02", "silenced by works")


async def test_what_a_person_tells_those_who_know_of_it_is_no_alert_and_passes_a_silence(
    bench: Bench,
) -> None:
    route = Route(name="all", recipients=("desk",))
    desk = msgspec.structs.replace(ADA, name="desk", audience="support")
    notifier = await bench.start(bench.configuration(recipients=(desk,), routes=(route,)))
    begun = opened(1)
    await bench.feed(notifier, begun)
    await bench.settle(notifier)
    silent = msgspec.structs.replace(begun.incident, version=2, silenced_by="works")
    said = msgspec.structs.replace(event(silent, "public_message"), actor="grace")
    await bench.feed(notifier, said)
    await bench.settle(notifier)
    assert said.id in {made.event_id for made in bench.kafka.deliveries("sent")}


async def test_what_goes_on_after_its_silence_is_told_then(bench: Bench) -> None:
    notifier = await bench.start(bench.configuration(recipients=(ADA,)))
    quiet = opened(1, silenced_by="works")
    loud = msgspec.structs.replace(quiet.incident, version=2, silenced_by=None)
    await bench.feed(notifier, quiet, event(loud, "unsilenced"))
    await bench.settle(notifier)
    (sent,) = bench.kafka.deliveries("sent")
    assert sent.event_id == "inc-01/2"


async def test_what_follows_from_something_larger_is_inhibited_while_that_is_open(
    bench: Bench,
) -> None:
    rule = Inhibition(name="database", source=("db",), target=("ts-*",))
    notifier = await bench.start(bench.configuration(recipients=(ADA,), inhibitions=(rule,)))
    cause = event(cpu_incident(id="inc-db", severity="P2", services=("db",), opened_ms=1), "opened")
    await bench.feed(notifier, cause, opened(1))
    await bench.settle(notifier)
    (withheld,) = bench.kafka.deliveries("withheld")
    assert withheld.detail == "inhibited by database: inc-db is open"
    over = msgspec.structs.replace(cause.incident, version=2, state="resolved")
    await bench.feed(notifier, event(over, "resolved"), opened(2))
    await bench.settle(notifier)
    assert "inc-02" in {made.incident_id for made in bench.kafka.deliveries("sent")}


async def test_programs_have_no_limit_unless_they_are_given_one(bench: Bench) -> None:
    machine = Recipient(name="hook", channel="webhook:nowhere")
    notifier = await bench.start(
        bench.configuration(
            recipients=(machine, ADA),
            routes=(Route(name="all", recipients=("hook",)),),
            limit=LIMIT,
        )
    )
    await bench.feed(notifier, *(opened(number) for number in range(10)))
    asked = len(bench.kafka.deliveries("held"))
    assert asked == 0
