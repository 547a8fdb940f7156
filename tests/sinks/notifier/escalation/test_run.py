"""Escalations of a notifier on its store: pages, acknowledgements, crashes, the clock in hand."""

from typing import Any

import msgspec
import pytest

from schemas.configuration import Channels, Configuration, Recipient, Route, Secret
from schemas.incidents import EventType, IncidentEvent
from schemas.oncall import Escalation, Layer, Override, Schedule, Step, Way
from tests.sinks.examples import cpu_incident, event
from tests.sinks.notifier.conftest import Bench, until
from tests.sinks.notifier.test_acknowledge import browser

PEOPLE = tuple(Recipient(name=name, channel="console") for name in ("ada", "grace", "linus"))
SHOP = Escalation(
    name="shop",
    steps=(Step(notify=("ada",)), Step(notify=("grace", "linus"), after_minutes=10)),
    repeats=1,
)
ROUTE = Route(name="severe", severities=("P1", "P2"), escalation="shop")


def configured(bench: Bench, policy: Escalation = SHOP, **more: Any) -> Configuration:
    fields: dict[str, Any] = {
        "recipients": PEOPLE,
        "routes": (ROUTE,),
        "escalations": (policy,),
    }
    return bench.configuration(**(fields | more))


def opened(**changes: object) -> IncidentEvent:
    return event(cpu_incident(**changes), "opened")


def after(
    first: IncidentEvent, kind: EventType, version: int, actor: str = "ada", **changes: object
) -> IncidentEvent:
    incident = msgspec.structs.replace(first.incident, version=version, **changes)
    return event(incident, kind, actor=actor)


def paged(bench: Bench) -> list[str]:
    return [made.recipient for made in bench.kafka.deliveries("sent")]


async def test_pages_come_step_by_step_and_end_after_the_last_repeat(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, opened())
    await bench.settle(notifier)
    assert paged(bench) == ["ada"]
    await bench.settle(notifier, 599)
    assert paged(bench) == ["ada"]
    await bench.settle(notifier, 1)
    assert paged(bench) == ["ada", "grace", "linus"]
    await bench.settle(notifier, 300)
    await bench.settle(notifier, 600)
    assert paged(bench) == ["ada", "grace", "linus"] * 2
    await bench.settle(notifier, 86_400)
    assert len(paged(bench)) == 6
    (given_up,) = bench.kafka.deliveries("failed")
    assert (given_up.recipient, given_up.failure) == ("shop", "gave_up")
    assert "nobody acknowledged" in given_up.detail


async def test_the_next_step_stands_in_the_log_before_it_comes(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, opened())
    await bench.settle(notifier)
    planned = bench.kafka.deliveries("scheduled")
    assert [(made.recipient, made.due_ms) for made in planned] == [
        ("ada", bench.clock.now_ms),
        ("grace", bench.clock.now_ms + 600_000),
        ("linus", bench.clock.now_ms + 600_000),
    ]


async def test_an_acknowledgement_stops_every_page_at_once_also_those_that_wait(
    bench: Bench,
) -> None:
    bench.secrets["DOWN"] = "json://127.0.0.1:1/"
    unreachable = Recipient(name="ada", channel="apprise:down")
    people = (unreachable, *PEOPLE[1:])
    channels = Channels(apprise={"down": Secret(env="DOWN")})
    notifier = await bench.start(configured(bench, recipients=people, channels=channels))
    first = opened()
    await bench.feed(notifier, first)
    await until(lambda: bench.kafka.deliveries("failed"))
    await bench.feed(notifier, after(first, "acknowledged", 2, acknowledged_by="grace"))
    await bench.settle(notifier, 3)
    tries = len(bench.kafka.deliveries("failed"))
    for seconds in (60, 600, 3600, 86_400):
        await bench.settle(notifier, seconds)
    assert len(bench.kafka.deliveries("failed")) == tries
    assert paged(bench) == []
    stopped = [made.detail for made in bench.kafka.deliveries("withheld")]
    assert "acknowledged by grace" in stopped


async def test_steps_that_an_acknowledgement_stops_are_called_off_in_the_log(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    first = opened()
    await bench.feed(notifier, first)
    await bench.settle(notifier, 60)
    planned = {made.message_id: made.recipient for made in bench.kafka.deliveries("scheduled")[1:]}
    await bench.feed(notifier, after(first, "acknowledged", 2, acknowledged_by="ada"))
    await bench.settle(notifier)
    off = bench.kafka.deliveries("called_off")
    assert {made.message_id: made.recipient for made in off} == planned
    assert {made.detail for made in off} == {"acknowledged by ada"}


async def test_the_link_stops_pages_without_waiting_for_the_worker(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, opened())
    await bench.settle(notifier)
    text = bench.console.getvalue()
    path = "/acknowledge/" + text.split("/acknowledge/")[1].split()[0]
    async with browser(notifier) as session:
        assert (await session.post(path, data={"name": "ada"})).status == 200
    for _ in range(5):
        await bench.settle(notifier, 3600)
    assert paged(bench) == ["ada"]


async def test_the_end_stops_pages_and_everyone_who_was_paged_hears_of_it(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    first = opened()
    await bench.feed(notifier, first)
    await bench.settle(notifier)
    await bench.feed(notifier, after(first, "resolved", 2, "tocsin", state="resolved"))
    await bench.settle(notifier, 3600)
    assert paged(bench) == ["ada", "ada"]
    assert "Resolved" in bench.console.getvalue()


async def test_a_page_goes_to_who_is_on_call_and_by_the_ways_of_pages(bench: Bench) -> None:
    schedule = Schedule(
        name="on call",
        layers=(Layer(people=("ada",), start="2020-01-06"),),
        overrides=(Override(person="grace", start="2025-11-24", until="2025-11-25"),),
    )
    bench.clock.now_ms = 1_763_989_200_000  # 2025-11-24 13:00
    pager = Recipient(
        name="grace",
        channel="console",
        page_by=(Way(channel="apprise:none"), Way(channel="console")),
    )
    policy = Escalation(name="shop", steps=(Step(notify=("on call",)),), repeats=0)
    configuration = configured(bench, policy, recipients=(PEOPLE[0], pager), schedules=(schedule,))
    notifier = await bench.start(configuration)
    await bench.feed(notifier, opened())
    await until(lambda: bench.kafka.deliveries("asked"))
    (asked,) = bench.kafka.deliveries("asked")
    assert (asked.recipient, asked.channel) == ("grace", "apprise:none")


async def test_a_step_with_nobody_on_call_is_said_and_the_next_one_comes_at_once(
    bench: Bench,
) -> None:
    empty = Schedule(name="on call")
    policy = Escalation(
        name="shop", steps=(Step(notify=("on call",)), Step(notify=("ada",), after_minutes=30))
    )
    notifier = await bench.start(configured(bench, policy, schedules=(empty,)))
    await bench.feed(notifier, opened())
    await bench.settle(notifier)
    assert paged(bench) == ["ada"]
    (gap,) = bench.kafka.deliveries("withheld")
    assert (gap.recipient, gap.detail) == (
        "on call",
        "step 1 of 2, round 1 of 2: nobody is on call",
    )


async def test_round_robin_goes_on_from_incident_to_incident(bench: Bench) -> None:
    step = Step(notify=("ada", "grace", "linus"), round_robin=True)
    policy = Escalation(name="shop", steps=(step,), repeats=0)
    notifier = await bench.start(configured(bench, policy))
    for number in range(4):
        await bench.feed(notifier, opened(id=f"inc-{number}"))
        await bench.settle(notifier)
    assert paged(bench) == ["ada", "grace", "linus", "ada"]


async def test_a_lapsed_acknowledgement_is_asked_back_and_pages_again_once(bench: Bench) -> None:
    policy = msgspec.structs.replace(SHOP, unacknowledge_after_minutes=60, remind_after_minutes=25)
    notifier = await bench.start(configured(bench, policy))
    first = opened()
    await bench.feed(notifier, first)
    await bench.settle(notifier)
    await bench.feed(notifier, after(first, "acknowledged", 2, acknowledged_by="ada"))
    await bench.settle(notifier)
    assert paged(bench) == ["ada"]
    await bench.settle(notifier, 1500)
    await bench.settle(notifier, 1500)
    assert paged(bench) == ["ada", "ada", "ada"]  # two reminders to whom has it
    assert bench.kafka.commands() == []
    await bench.settle(notifier, 600)
    (command,) = bench.kafka.commands()
    assert (command.type, command.actor) == ("unacknowledge", "tocsin")
    await bench.feed(notifier, after(first, "unacknowledged", 3, "tocsin", acknowledged_by=None))
    await bench.settle(notifier)
    assert paged(bench)[3:].count("ada") == 2  # told that nobody has it, and paged
    await bench.feed(notifier, after(first, "acknowledged", 4, "grace", acknowledged_by="grace"))
    for _ in range(30):
        await bench.settle(notifier, 600)
    assert len(bench.kafka.commands()) == 1


async def test_an_old_acknowledged_incident_does_not_page_after_a_long_stop(bench: Bench) -> None:
    policy = msgspec.structs.replace(SHOP, unacknowledge_after_minutes=60, remind_after_minutes=25)
    configuration = configured(bench, policy, stale_after_seconds=3600.0)
    bench.clock.now_ms = opened().time_ms
    notifier = await bench.start(configuration)
    first = opened()
    await bench.feed(notifier, first, after(first, "acknowledged", 2, acknowledged_by="ada"))
    await bench.settle(notifier)
    said = len(paged(bench))
    await bench.crash()
    bench.clock.advance(3 * 86_400)
    again = await bench.start(configured(bench, policy, stale_after_seconds=3600.0))
    for seconds in (0, 3600, 86_400):
        await bench.settle(again, seconds)
    assert len(paged(bench)) == said
    assert bench.kafka.commands() == []


@pytest.mark.parametrize("crashes", [1, 3])
async def test_escalations_survive_crashes_at_any_time(bench: Bench, crashes: int) -> None:
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, opened())
    await bench.settle(notifier)
    for _ in range(crashes):
        await bench.crash()
        bench.clock.advance(600 / crashes)
        notifier = await bench.start(configured(bench))
        await bench.settle(notifier)
    await until(lambda: "linus" in paged(bench), "the second step")
    asked = [made.message_id for made in bench.kafka.deliveries("asked")]
    assert len(set(asked)) == 3
    assert sorted(set(paged(bench))) == ["ada", "grace", "linus"]


async def test_an_incident_that_is_no_longer_severe_pages_nobody_more(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    first = opened()
    await bench.feed(notifier, first)
    await bench.settle(notifier)
    await bench.feed(notifier, after(first, "severity_changed", 2, "tocsin", severity="P4"))
    await bench.settle(notifier, 3600)
    assert paged(bench) == ["ada"]
    await bench.feed(notifier, after(first, "severity_changed", 3, "tocsin", severity="P1"))
    await bench.settle(notifier)
    assert paged(bench) == ["ada", "ada"]


async def test_who_was_told_by_a_route_is_not_paged_with_the_same_by_the_same_way(
    bench: Bench,
) -> None:
    route = msgspec.structs.replace(ROUTE, recipients=("ada",))
    notifier = await bench.start(configured(bench, routes=(route,)))
    await bench.feed(notifier, opened())
    await bench.settle(notifier)
    assert paged(bench) == ["ada"]
    assert [made.detail for made in bench.kafka.deliveries("withheld")] == [
        "the news to them is the page"
    ]
