"""Every event and person has exactly one verdict, whatever has happened."""

from collections.abc import Sequence
from functools import partial
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.configuration import Recipient, Route
from schemas.incidents import Delivery, DeliveryStatus, FailureClass
from schemas.oncall import MessageLimit
from sinks.notifier import Notifier
from sinks.notifier.desk import Order
from sinks.notifier.outbox import Placed
from sinks.notifier.routing import Moment, Router
from sinks.notifier.store import read_taken, read_trail
from sinks.notifier.verdicts import Outcome, verdict, why_not
from tests.sinks.examples import cpu_fault, cpu_incident, event, network_fault
from tests.sinks.notifier.conftest import CATALOGUE, Bench
from tests.sinks.notifier.test_routing import cases

OUTCOMES = frozenset(get_args(Outcome))


def step(message: str, status: DeliveryStatus, **more: object) -> Delivery:
    fields: dict[str, object] = {
        "message_id": message,
        "event_id": "inc/1",
        "incident_id": "inc",
        "status": status,
        "time_ms": 1000,
        "recipient": "ada",
        "audience": "engineer",
        "channel": "console",
        "rule": "all",
    }
    return Delivery(**(fields | more))  # type: ignore[arg-type]


def outcome(*steps: Delivery) -> Outcome:
    return verdict("inc/1", "ada", steps, lambda: ("no route",)).outcome


def test_the_last_step_decides() -> None:
    assert outcome() == "not_concerned"
    assert outcome(step("a", "asked")) == "on_its_way"
    assert outcome(step("a", "asked"), step("a", "failed", failure="unreachable")) == "on_its_way"
    assert outcome(step("a", "asked"), step("a", "failed", failure="gave_up")) == "failed"
    assert outcome(step("a", "held", detail="limit")) == "held"
    assert outcome(step("a", "held"), step("a", "sent", detail="in a digest")) == "delivered"
    assert outcome(step("a", "withheld", detail="silenced by works")) == "withheld"
    assert outcome(step("a", "sent"), step("a", "acknowledged")) == "delivered"
    taken_back = [step("a", "asked"), step("a", "withheld", detail="acknowledged by grace")]
    assert outcome(*taken_back, step("a", "failed", failure="unreachable")) == "withheld"
    assert outcome(*taken_back, step("a", "sent")) == "delivered"


def test_a_way_that_was_left_for_one_that_failed_is_no_longer_tried() -> None:
    left = [
        step("a", "asked", channel="slack"),
        step("a", "failed", channel="slack", failure="auth"),
    ]
    other = step("b", "asked", channel="email", detail="after slack failed")
    assert outcome(*left, other) == "on_its_way"
    refused = step("b", "failed", channel="email", failure="refused")
    assert outcome(*left, other, refused) == "failed"
    assert outcome(*left, other, step("b", "sent", channel="email")) == "delivered"


def test_of_a_page_and_the_news_the_better_counts() -> None:
    assert outcome(step("news", "sent"), step("page", "withheld")) == "delivered"
    assert outcome(step("page", "scheduled")) == "not_concerned"


def test_steps_have_the_names_one_asks_for() -> None:
    made = verdict(
        "inc/1",
        "ada",
        [
            step("a", "held", detail="limit"),
            step("b", "held", detail="quiet_hours"),
            step("c", "withheld", detail="inhibited by db: inc-2 is open"),
            step("d", "withheld", detail="silenced by works"),
            step("e", "withheld", detail="overtaken by a later message"),
            step("f", "asked"),
            step("f", "sent"),
            step("f", "accepted"),
            step("f", "acknowledged"),
        ],
        tuple,
    )
    assert [each.step for each in made.steps] == [
        "throttled",
        "quiet hours",
        "inhibited",
        "silenced",
        "grouped",
        "routed",
        "sent",
        "delivered",
        "acknowledged",
    ]


statuses = st.sampled_from(get_args(DeliveryStatus))
failures = st.sampled_from([None, *get_args(FailureClass)])
trails = st.lists(
    st.builds(
        lambda message, status, failure, who, version: step(
            message, status, failure=failure, recipient=who, event_id=f"inc/{version}"
        ),
        st.sampled_from("abc"),
        statuses,
        failures,
        st.sampled_from(["ada", "grace"]),
        st.integers(1, 3),
    ),
    max_size=12,
)


@given(trails)
def test_any_trail_gives_each_event_and_person_one_verdict(trail: list[Delivery]) -> None:
    pairs = [(f"inc/{version}", who) for version in (1, 2, 3) for who in ("ada", "grace", "eve")]
    found = {
        (made.event_id, made.recipient): made.outcome
        for made in (verdict(*pair, trail, lambda: ("no route",)) for pair in pairs)
    }
    assert list(found) == pairs
    assert set(found.values()) <= OUTCOMES
    shown = sum(len(verdict(*pair, trail, tuple).steps) for pair in pairs)
    assert shown == len(trail)  # no step is told of twice or of nobody


@settings(deadline=None)
@given(cases())
def test_who_is_not_decided_about_has_a_reason_from_every_route(
    case: tuple[Router, object, dict[str, str], bool],
) -> None:
    router, made, told, stale = case
    decided = {
        decision.recipient.name
        for decision in router.decide_at(made, Moment(told=told, stale=stale), lambda _: None)  # type: ignore[arg-type]
    }
    for name, recipient in router.recipients.items():
        if name in decided:
            continue
        reasons = why_not(router, made, recipient, told, lambda _: None)  # type: ignore[arg-type]
        assert reasons
        assert not any("it would tell them now" in reason for reason in reasons)


async def test_a_notifiers_trail_leaves_nobody_and_nothing_out(bench: Bench) -> None:
    people = (
        Recipient(name="ada", channel="console"),
        Recipient(name="boss", channel="console", audience="manager"),
        Recipient(name="retail", channel="console", audience="customer", segment="retail"),
        Recipient(name="nobody", channel="console"),
    )
    routes = (
        Route(name="all", recipients=("ada", "retail")),
        Route(name="bosses", recipients=("boss",), severities=("P1",)),
    )
    notifier = await bench.start(
        bench.configuration(
            recipients=people, routes=routes, limit=MessageLimit(messages=2, per_seconds=60)
        )
    )
    asked_for = orders_of(notifier)
    storm = [event(cpu_incident(id=f"inc-{n}", severity="P3"), "opened") for n in range(20)]
    events = [*cpu_fault(), *network_fault(), *storm]
    await bench.feed(notifier, *events)
    for _ in range(5):
        await bench.settle(notifier, 60)
    router = Router(routes, {each.name: each for each in people}, CATALOGUE)
    found = {}
    async with notifier._database.reading() as connection:
        for made in events:
            trail = await read_trail(connection, made.incident_id)
            taken = [each.event_id for each in await read_taken(connection, made.incident_id)]
            assert taken.count(made.id) == 1
            for person in people:
                reasons = partial(why_not, router, made, person, {}, lambda _: None)
                given_ = verdict(made.id, person.name, trail, reasons)
                assert (made.id, person.name) not in found
                found[(made.id, person.name)] = given_
    assert len(found) == len(events) * len(people)
    assert all(given_.steps or given_.reasons for given_ in found.values())
    concerned = {pair for pair, made in found.items() if made.outcome != "not_concerned"}
    assert concerned == asked_for  # whoever was decided about has a verdict that says so
    assert not any(found[pair].reasons == ("",) for pair in concerned)
    assert {found[(made.id, "ada")].outcome for made in storm} == {"delivered"}
    assert {found[(made.id, "nobody")].outcome for made in events} == {"not_concerned"}


def orders_of(notifier: Notifier) -> set[tuple[str, str]]:
    """Every event and person about whom something is decided from now on."""
    assert notifier._intake is not None
    desk, seen = notifier._intake._desk, set[tuple[str, str]]()
    take = desk.take

    async def noting(connection: AsyncConnection, orders: Sequence[Order]) -> list[Placed]:
        seen.update((order.ask.event.id, order.ask.recipient.name) for order in orders)
        return await take(connection, orders)

    desk.take = noting  # type: ignore[method-assign]
    return seen
