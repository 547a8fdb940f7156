"""Promised updates and changes of shift: kept, reminded of, escalated, told."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from prometheus_client import REGISTRY

from schemas.configuration import Configuration, Recipient, Route
from schemas.incidents import EventType, IncidentEvent, Proposal
from schemas.oncall import Cadence, Layer, Schedule
from tests.sinks.examples import cpu_incident, event
from tests.sinks.notifier.conftest import Bench

ADA = Recipient(name="ada", channel="console")
BOSS = Recipient(name="boss", channel="console", audience="manager")
DESK = Recipient(name="desk", channel="console", audience="support")
SHOP = Recipient(name="shop", channel="console", audience="customer")
MINUTE = 60


def configured(bench: Bench, **more: Any) -> Configuration:
    people = (ADA, BOSS, DESK, SHOP)
    routes = (Route(name="all", recipients=("ada", "desk", "shop")),)
    fields: dict[str, Any] = {
        "recipients": people,
        "routes": routes,
        "cadence": Cadence(escalate_to=("boss",)),
    }
    return bench.configuration(**(fields | more))


def step(version: int, kind: EventType, actor: str = "tocsin", **changes: object) -> IncidentEvent:
    return event(cpu_incident(version=version, severity="P1", **changes), kind, actor=actor)


def sent(bench: Bench) -> list[tuple[str, str]]:
    return [(made.recipient, made.rule) for made in bench.kafka.deliveries("sent")]


def promises(result: str) -> float:
    labels = {"severity": "P1", "result": result}
    return REGISTRY.get_sample_value("tocsin_promises_total", labels) or 0.0


async def test_a_promise_is_reminded_of_then_kept_by_no_change_and_at_last_escalated(
    bench: Bench,
) -> None:
    missed, kept = promises("missed"), promises("kept_by_no_change")
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, step(1, "opened"))
    await bench.settle(notifier)
    assert sent(bench) == [("ada", "all"), ("desk", "all"), ("shop", "all")]
    await bench.settle(notifier, 25 * MINUTE)
    assert sent(bench)[3:] == [("ada", "cadence")]
    await bench.settle(notifier, 5 * MINUTE)
    assert sent(bench)[4:] == [("desk", "cadence"), ("shop", "cadence")]
    assert promises("kept_by_no_change") == kept + 1
    (command,) = bench.kafka.commands()
    assert (command.type, command.actor) == ("no_change", "tocsin")
    await bench.feed(notifier, step(2, "no_change"))  # as the log then says
    await bench.settle(notifier)
    assert len(sent(bench)) == 6
    for _ in range(12):
        await bench.settle(notifier, 5 * MINUTE)
    assert sent(bench)[6:] == [
        ("ada", "cadence"),
        ("desk", "cadence"),
        ("shop", "cadence"),
        ("ada", "cadence"),
        ("ada", "cadence"),
        ("boss", "cadence"),
    ]
    assert promises("missed") == missed + 1


def steps_of_promises(bench: Bench) -> list[tuple[str, str]]:
    made = [step for step in bench.kafka.deliveries() if step.channel == "cadence"]
    return [(step.status, step.detail) for step in made]


async def test_each_promise_stands_in_the_log_with_what_became_of_it(bench: Bench) -> None:
    bench.clock.now_ms = round(datetime(2026, 11, 24, 9, 0, tzinfo=UTC).timestamp() * 1000)
    notifier = await bench.start(configured(bench, cadence=Cadence(no_change_limit=1)))
    await bench.feed(notifier, step(1, "opened"))
    await bench.settle(notifier, 20 * MINUTE)
    await bench.feed(notifier, step(2, "public_message", "ada", public_message="We are on it."))
    for _ in range(12):
        await bench.settle(notifier, 5 * MINUTE)
    await bench.feed(notifier, step(3, "no_change", "ada"))
    await bench.settle(notifier, 5 * MINUTE)
    await bench.feed(notifier, step(4, "resolved", state="resolved"))
    await bench.settle(notifier)
    assert steps_of_promises(bench) == [
        ("scheduled", "next update by 09:30:00 UTC"),
        ("kept", "there is news"),
        ("scheduled", "next update by 09:50:00 UTC"),
        ("kept", "tocsin said that nothing has changed"),
        ("scheduled", "next update by 10:20:00 UTC"),
        ("missed", "nobody has spoken; told: ada"),
        ("scheduled", "next update by 10:50:00 UTC"),
        ("kept", "there is news"),
    ]
    due = [made.due_ms for made in bench.kafka.deliveries("scheduled")]
    assert due == sorted(due, key=lambda at: at or 0)


async def test_a_promise_that_a_graver_severity_replaces_is_called_off_in_the_log(
    bench: Bench,
) -> None:
    quiet = (Route(name="all", recipients=("desk",), events=("opened",)),)
    notifier = await bench.start(configured(bench, routes=quiet))
    first = event(cpu_incident(version=1, severity="P3"), "opened")
    await bench.feed(notifier, first)
    await bench.settle(notifier, 5 * MINUTE)
    await bench.feed(notifier, step(2, "severity_changed"))
    await bench.settle(notifier)
    statuses = [status for status, _ in steps_of_promises(bench)]
    assert statuses == ["scheduled", "called_off", "scheduled"]
    assert steps_of_promises(bench)[1][1] == "the incident is P1 now: sooner"


async def test_whoever_speaks_keeps_the_promise_and_makes_another(bench: Bench) -> None:
    kept = promises("kept")
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, step(1, "opened"))
    await bench.settle(notifier, 20 * MINUTE)
    await bench.feed(notifier, step(2, "public_message", "ada", public_message="We are on it."))
    await bench.settle(notifier)
    assert promises("kept") == kept + 1
    before = len(sent(bench))
    await bench.settle(notifier, 24 * MINUTE)
    assert len(sent(bench)) == before
    await bench.settle(notifier, 1 * MINUTE)
    assert sent(bench)[before:] == [("ada", "cadence")]


async def test_a_person_can_say_that_nothing_has_changed(bench: Bench) -> None:
    kept = promises("kept")
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, step(1, "opened"))
    await bench.settle(notifier, 20 * MINUTE)
    before = len(sent(bench))
    await bench.feed(notifier, step(2, "no_change", "ada"))
    await bench.settle(notifier)
    assert [name for name, _ in sent(bench)[before:]] == ["desk", "shop"]
    assert promises("kept") == kept + 1


async def test_the_message_says_the_time_that_is_kept(bench: Bench) -> None:
    bench.clock.now_ms = round(datetime(2026, 11, 24, 9, 0, tzinfo=UTC).timestamp() * 1000)
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, step(1, "opened"))
    await bench.settle(notifier)
    told = bench.console.getvalue().split("→ shop")[1]
    assert re.search(r"\b09:30\b", told), told


async def test_where_words_are_reviewed_nothing_is_said_by_itself(bench: Bench) -> None:
    configuration = configured(bench)
    incidents = msgspec.structs.replace(configuration.incidents, review_severities=("P1",))
    notifier = await bench.start(msgspec.structs.replace(configuration, incidents=incidents))
    await bench.feed(notifier, step(1, "opened", approved_by="grace"))
    await bench.settle(notifier)
    before = len(sent(bench))
    await bench.settle(notifier, 25 * MINUTE)
    await bench.settle(notifier, 5 * MINUTE)
    assert sent(bench)[before:] == [("ada", "cadence"), ("ada", "cadence"), ("boss", "cadence")]


async def test_the_end_ends_the_promise(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, step(1, "opened"), step(2, "resolved", state="resolved"))
    await bench.settle(notifier)
    before = len(sent(bench))
    for _ in range(20):
        await bench.settle(notifier, 30 * MINUTE)
    assert len(sent(bench)) == before


async def test_promises_survive_a_crash(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, step(1, "opened"))
    await bench.settle(notifier)
    await bench.crash()
    bench.clock.advance(25 * MINUTE)
    again = await bench.start(configured(bench))
    await bench.settle(again)
    assert ("ada", "cadence") in sent(bench)


async def test_a_proposal_is_shown_to_those_who_can_approve_it_but_not_to_its_author(
    bench: Bench,
) -> None:
    routes = (Route(name="all", recipients=("ada", "boss")),)
    notifier = await bench.start(configured(bench, routes=routes))
    proposal = Proposal(kind="public_message", text="Orders are slow.", by="ada")
    await bench.feed(
        notifier,
        step(1, "opened"),
        step(2, "proposed", "ada", proposal=proposal, awaits_review=True),
    )
    await bench.settle(notifier)
    assert sent(bench) == [("ada", "all"), ("boss", "all"), ("boss", "review")]


async def test_customers_wait_for_a_review_and_are_told_once_it_is_approved(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, step(1, "opened", visibility="internal", awaits_review=True))
    await bench.settle(notifier)
    assert "shop" not in [name for name, _ in sent(bench)]
    assert [made.detail for made in bench.kafka.deliveries("withheld")] == ["waits for review"]
    await bench.feed(notifier, step(2, "approved", "boss", approved_by="boss"))
    await bench.settle(notifier)
    assert [name for name, rule in sent(bench) if rule == "all"] == ["ada", "desk", "shop"]


async def test_a_change_of_shift_is_told_to_both_with_what_is_open(bench: Bench) -> None:
    bench.clock.now_ms = round(datetime(2026, 3, 30, 6, 59, tzinfo=UTC).timestamp() * 1000)
    layer = Layer(people=("ada", "boss"), start="2026-03-23")
    schedule = Schedule(name="on call", time_zone="Europe/Berlin", layers=(layer,))
    quiet = Cadence(minutes={})
    notifier = await bench.start(configured(bench, schedules=(schedule,), cadence=quiet))
    await bench.feed(notifier, step(1, "opened"))
    await bench.settle(notifier)
    await bench.settle(notifier, MINUTE)  # 09:00 in summer time, which has just begun
    said = bench.console.getvalue()
    assert re.search(r"off call[^\n]*→ ada\n", said), said
    assert re.search(r"on call[^\n]*→ boss\n", said), said
    assert "inc-cpu-01" in said.split("→ boss")[1]
    steps = [step for step in bench.kafka.deliveries() if step.event_id.startswith("hand_over/")]
    began = [(step.status, step.recipient) for step in steps]
    assert began[0] == ("scheduled", "on call")
    assert {("asked", "ada"), ("sent", "ada"), ("asked", "boss"), ("sent", "boss")} <= set(began)
    assert all(step.incident_id == "" for step in steps)
    before = len(said)
    await bench.settle(notifier, 3600)
    assert len(bench.console.getvalue()) == before
