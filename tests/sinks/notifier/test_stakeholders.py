"""Stakeholders by rule: role, segment, region, own subscription; who wants nothing more."""

import pytest

from schemas.configuration import Recipient, Route
from schemas.incidents import Impact, IncidentEvent
from schemas.oncall import Subscription
from sinks.notifier.routing import Moment, Router
from sinks.notifier.stakeholders import OWN_SUBSCRIPTION
from sinks.notifier.store import subscribe_again, unsubscribe
from tests.sinks.examples import cpu_incident, event
from tests.sinks.notifier.conftest import CATALOGUE, Bench


def opened(**changes: object) -> IncidentEvent:
    return event(cpu_incident(**changes), "opened")


def told(
    event_: IncidentEvent, *people: Recipient, routes: tuple[Route, ...] = (), on_call: str = ""
) -> dict[str, str]:
    router = Router(
        routes, {each.name: each for each in people}, CATALOGUE, frozenset({"shop on call"})
    )
    decisions = router.decide_at(
        event_,
        Moment(told={}),
        lambda name: on_call if on_call and name == "shop on call" else None,
    )
    return {each.recipient.name: each.rule for each in decisions}


def someone(name: str = "ada", **more: object) -> Recipient:
    return Recipient(name=name, channel="console", **more)  # type: ignore[arg-type]


def test_a_role_reaches_everybody_who_has_it() -> None:
    people = (
        someone("ada", roles=("lead",)),
        someone("grace", roles=("lead", "shop")),
        someone("x"),
    )
    route = Route(name="leads", roles=("lead",))
    assert told(opened(), *people, routes=(route,)) == {"ada": "leads", "grace": "leads"}


def test_a_schedule_reaches_who_is_on_call_once() -> None:
    route = Route(name="on call", recipients=("shop on call", "ada"))
    assert told(opened(), someone(), routes=(route,), on_call="ada") == {"ada": "on call"}
    assert (
        told(opened(), someone("x"), routes=(Route(name="n", recipients=("shop on call",)),)) == {}
    )


@pytest.mark.parametrize(
    ("field", "wanted", "expected"),
    [
        ("segments", ("business",), 1),
        ("segments", ("public sector",), 0),
        ("regions", ("eu-west", "us-east"), 1),
        ("regions", ("us-east",), 0),
    ],
)
def test_a_route_can_be_of_segments_and_regions(
    field: str, wanted: tuple[str, ...], expected: int
) -> None:
    route = Route(name="some", recipients=("ada",), **{field: wanted})  # type: ignore[arg-type]
    assert len(told(opened(), someone(), routes=(route,))) == expected


def test_what_the_incident_says_it_touches_counts_more_than_the_catalogue() -> None:
    route = Route(name="some", recipients=("ada",), regions=("us-east",))
    impact = Impact(regions=("us-east",))
    assert told(opened(impact=impact), someone(), routes=(route,)) == {"ada": "some"}


def test_a_recipient_of_another_region_is_left_out() -> None:
    route = Route(name="all", recipients=("here", "there", "anywhere"))
    people = (
        someone("here", region="eu-west"),
        someone("there", region="us-east"),
        someone("anywhere"),
    )
    assert set(told(opened(), *people, routes=(route,))) == {"here", "anywhere"}


def test_a_subscription_tells_without_any_route() -> None:
    mine = someone(subscriptions=(Subscription(services=("ts-order-*",), severities=("P1", "P2")),))
    assert told(opened(), mine) == {"ada": OWN_SUBSCRIPTION}
    assert told(opened(severity="P3"), mine) == {}
    assert told(opened(services=("other",)), mine) == {}


async def test_who_has_unsubscribed_is_told_nothing_and_why_says_so(bench: Bench) -> None:
    notifier = await bench.start()
    async with notifier._database.writing() as connection:
        await unsubscribe(connection, "console", bench.clock())
    await bench.feed(notifier, opened())
    await bench.settle(notifier)
    (withheld,) = bench.kafka.deliveries()
    assert (withheld.status, withheld.detail) == ("withheld", "unsubscribed")
    async with notifier._database.writing() as connection:
        await subscribe_again(connection, "console")
    await bench.feed(notifier, opened(id="inc-2"))
    await bench.settle(notifier)
    assert [made.incident_id for made in bench.kafka.deliveries("sent")] == ["inc-2"]
