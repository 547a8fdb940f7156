"""Splits and merges as those outside live through them: told once, and over when it is over."""

import msgspec

from schemas.configuration import Configuration, Recipient, Route
from schemas.incidents import EventType, Incident, IncidentEvent
from tests.sinks.examples import cpu_incident, event
from tests.sinks.notifier.conftest import Bench

ADA = Recipient(name="ada", channel="console")
DESK = Recipient(name="desk", channel="console", audience="support")
SHOP = Recipient(name="shop", channel="console", audience="customer", segment="retail")


def configured(bench: Bench) -> Configuration:
    routes = (Route(name="all", recipients=("ada", "desk", "shop")),)
    return bench.configuration(recipients=(ADA, DESK, SHOP), routes=routes)


def incident(name: str, *services: str, **changes: object) -> Incident:
    return cpu_incident(id=name, services=services, **{"severity": "P1", **changes})


def then(before: IncidentEvent, kind: EventType, **changes: object) -> IncidentEvent:
    version = before.version + 1
    after = msgspec.structs.replace(before.incident, version=version, **changes)
    return event(after, kind, actor="ada" if kind == "resolved" else "tocsin")


def told(bench: Bench, recipient: str) -> list[str]:
    made = [each for each in bench.kafka.deliveries("sent") if each.recipient == recipient]
    return [each.incident_id for each in made]


def kept_from(bench: Bench, recipient: str) -> list[tuple[str, str]]:
    made = [each for each in bench.kafka.deliveries("withheld") if each.recipient == recipient]
    return [(each.incident_id, each.detail) for each in made]


def family(*, shares: bool) -> tuple[IncidentEvent, IncidentEvent, IncidentEvent]:
    """An incident, the same without what was taken out of it, and that."""
    origin = event(incident("INC-A", "ts-order-service", "ts-travel-service"), "opened")
    stays = origin.incident.services if shares else ("ts-travel-service",)
    part = event(incident("INC-B", "ts-order-service", split_from="INC-A"), "opened")
    return origin, then(origin, "updated", services=stays), part


async def test_a_split_tells_customers_nothing_new_and_engineers_of_both(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await bench.feed(notifier, *family(shares=True))
    await bench.settle(notifier)
    assert told(bench, "shop") == ["INC-A"]
    assert kept_from(bench, "shop") == [("INC-B", "told with INC-A")]
    assert told(bench, "ada") == ["INC-A", "INC-B"]


async def test_of_a_split_the_first_end_is_none_for_customers_and_the_last_is(
    bench: Bench,
) -> None:
    notifier = await bench.start(configured(bench))
    _, origin, part = made = family(shares=True)
    await bench.feed(notifier, *made, then(origin, "resolved", state="resolved"))
    await bench.settle(notifier)
    assert told(bench, "shop") == ["INC-A"]
    assert kept_from(bench, "shop")[-1] == ("INC-A", "it goes on in INC-B")
    await bench.feed(notifier, then(part, "resolved", state="resolved"))
    await bench.settle(notifier)
    assert told(bench, "shop") == ["INC-A", "INC-B"]
    assert told(bench, "desk").count("INC-A") == 2


async def test_if_the_part_ends_first_the_origin_tells_customers_of_the_end(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    _, origin, part = made = family(shares=True)
    await bench.feed(notifier, *made, then(part, "resolved", state="resolved"))
    await bench.settle(notifier)
    assert kept_from(bench, "shop")[-1] == ("INC-B", "it goes on in INC-A")
    await bench.feed(notifier, then(origin, "resolved", state="resolved"))
    await bench.settle(notifier)
    assert told(bench, "shop") == ["INC-A", "INC-A"]


async def test_a_part_with_a_name_of_its_own_is_over_for_customers_by_itself(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    _, _, part = made = family(shares=False)
    await bench.feed(notifier, *made, then(part, "resolved", state="resolved"))
    await bench.settle(notifier)
    assert told(bench, "shop") == ["INC-A", "INC-B"]


async def test_what_is_merged_is_not_called_over_but_goes_on_for_those_who_knew(
    bench: Bench,
) -> None:
    notifier = await bench.start(configured(bench))
    one = event(incident("INC-1", "ts-order-service"), "opened")
    other = event(incident("INC-2", "cartservice"), "opened")
    await bench.feed(notifier, one, other)
    await bench.settle(notifier)
    assert told(bench, "shop") == ["INC-1"]  # the other has no public name
    merged = then(one, "resolved", state="resolved", merged_into="INC-2")
    grown = then(other, "updated", services=("cartservice", "ts-order-service"))
    await bench.feed(notifier, merged, grown)
    await bench.settle(notifier)
    assert told(bench, "shop") == ["INC-1"]
    assert ("INC-1", "it goes on in INC-2") in kept_from(bench, "desk")
    text = next(part for part in bench.console.getvalue().split("\n[") if "merged it into" in part)
    assert "ada merged it into INC-2; it goes on there." in text
    assert "reopened and you are told" not in text
    await bench.feed(notifier, then(grown, "resolved", state="resolved"))
    await bench.settle(notifier)
    assert told(bench, "shop") == ["INC-1", "INC-2"]
    assert told(bench, "desk")[-1] == "INC-2"


async def test_what_was_promised_is_kept_by_the_incident_in_which_it_goes_on(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    one = event(incident("INC-1", "ts-order-service"), "opened")
    other = event(incident("INC-2", "ts-travel-service", severity="P3"), "opened")
    await bench.feed(notifier, one, other)
    await bench.settle(notifier)
    first, second = bench.kafka.deliveries("scheduled")
    assert (first.due_ms or 0) < (second.due_ms or 0)
    await bench.feed(notifier, then(one, "resolved", state="resolved", merged_into="INC-2"))
    await bench.settle(notifier)
    (moved,) = bench.kafka.deliveries("scheduled")[2:]
    assert (moved.incident_id, moved.due_ms) == ("INC-2", first.due_ms)
    off = [(made.incident_id, made.detail) for made in bench.kafka.deliveries("called_off")]
    assert sorted(off) == [("INC-1", "kept by INC-2 from now on"), ("INC-2", "sooner")]
    before = len(told(bench, "shop"))
    await bench.settle(notifier, 40 * 60)
    assert told(bench, "shop")[before:] == ["INC-2"]  # that nothing has changed


async def test_a_family_is_known_after_a_crash(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    _, origin, part = made = family(shares=True)
    await bench.feed(notifier, *made)
    await bench.settle(notifier)
    await bench.crash()
    again = await bench.start(configured(bench))
    await bench.feed(again, then(origin, "resolved", state="resolved"))
    await bench.feed(again, then(part, "resolved", state="resolved"))
    await bench.settle(again)
    assert told(bench, "shop") == ["INC-A", "INC-B"]
