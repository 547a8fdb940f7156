"""Pages that wait for a dead receiver when somebody takes the incident are never delivered."""

import pytest
from prometheus_client import REGISTRY

from schemas.configuration import Configuration, Recipient, Route
from schemas.oncall import Escalation, Step
from sinks.notifier import Notifier
from sinks.notifier.store import read_trail
from sinks.notifier.verdicts import verdict
from tests.sinks.notifier.conftest import Bench, until
from tests.sinks.notifier.escalation.test_run import after, opened
from tests.sinks.notifier.outages import PLACES, Place, place
from tests.sinks.notifier.receivers import Trouble
from tests.sinks.notifier.test_acknowledge import browser
from tests.sinks.notifier.test_hour import SECRETS, half_an_hour

GRACE = Recipient(name="grace", channel="console")
POLICY = Escalation(
    name="shop", steps=(Step(notify=("desk", "grace")), Step(notify=("desk",), after_minutes=5))
)
WAYS_TO_ACKNOWLEDGE = ("link", "event")


def configured(bench: Bench, receiver: Place, *, told_by_route: bool = False) -> Configuration:
    """Pages to two, one of whom a dead receiver keeps them from; `told_by_route` both are, too."""
    told = ("desk", "grace") if told_by_route else ()
    return bench.configuration(
        channels=receiver.channels,
        recipients=(receiver.reader, GRACE),
        routes=(Route(name="severe", recipients=told, severities=("P1", "P2"), escalation="shop"),),
        escalations=(POLICY,),
        give_up_after_seconds=86_400,
    )


async def acknowledge(bench: Bench, notifier: Notifier, how: str) -> None:
    if how == "event":
        await bench.feed(notifier, after(opened(), "acknowledged", 3, acknowledged_by="grace"))
        return
    path = "/acknowledge/" + bench.console.getvalue().split("/acknowledge/")[1].split()[0]
    async with browser(notifier) as session:
        assert (await session.post(path, data={"name": "grace"})).status == 200


def withheld(channel: str) -> float:
    labels = {"channel": channel, "result": "withheld"}
    return REGISTRY.get_sample_value("tocsin_notifications_total", labels) or 0


@pytest.mark.parametrize("how", WAYS_TO_ACKNOWLEDGE)
@pytest.mark.parametrize("trouble", ["500", "429"])
@pytest.mark.parametrize(
    "name", ["webhook", *(pytest.param(n, marks=pytest.mark.slow) for n in ("email", *PLACES))]
)
async def test_no_page_reaches_a_receiver_that_comes_back_after_the_acknowledgement(
    bench: Bench, name: str, trouble: Trouble, how: str
) -> None:
    async with place(name) as receiver:
        bench.secrets |= SECRETS | {"FLOW": f"{getattr(receiver, 'url', '')}/flow"}
        receiver.trouble = trouble
        channel = receiver.reader.channel
        before = withheld(channel)
        notifier = await bench.start(configured(bench, receiver))
        await bench.feed(notifier, opened())
        await until(lambda: bench.kafka.deliveries("failed"), "a failed attempt", seconds=60)
        await until(lambda: "/acknowledge/" in bench.console.getvalue(), "grace's page")
        await acknowledge(bench, notifier, how)
        receiver.trouble = None
        await half_an_hour(bench, notifier)
        await until(lambda: bench.kafka.deliveries("withheld"), "the record")
        await bench.settle(notifier)
        (off,) = bench.kafka.deliveries("withheld")
        assert (off.recipient, off.detail) == ("desk", "acknowledged by grace")
        asked = {m.message_id: m for m in bench.kafka.deliveries("asked") if m.recipient == "desk"}
        page = asked.pop(off.message_id)
        assert receiver.told(page) not in receiver.arrived()
        assert set(asked) <= {made.message_id for made in bench.kafka.deliveries("sent")}
        assert withheld(channel) == before + 1
        assert await outcome_of(notifier, "desk") == "withheld"


@pytest.mark.parametrize("how", WAYS_TO_ACKNOWLEDGE)
async def test_news_that_is_the_page_is_taken_back_like_one(bench: Bench, how: str) -> None:
    async with place("webhook") as receiver:
        receiver.trouble = "500"
        notifier = await bench.start(configured(bench, receiver, told_by_route=True))
        await bench.feed(notifier, opened())
        await until(lambda: bench.kafka.deliveries("failed"), "a failed attempt", seconds=60)
        await until(lambda: "/acknowledge/" in bench.console.getvalue(), "grace's page")
        await until(lambda: len(bench.kafka.deliveries("withheld")) == 2, "the pages")
        asked = {m.message_id for m in bench.kafka.deliveries("asked") if m.recipient == "desk"}
        await acknowledge(bench, notifier, how)
        receiver.trouble = None
        await half_an_hour(bench, notifier)
        assert asked.isdisjoint(receiver.arrived())
        assert await outcome_of(notifier, "desk") == "withheld"


async def outcome_of(notifier: Notifier, person: str) -> str:
    first = opened()
    async with notifier._database.reading() as connection:
        trail = await read_trail(connection, first.incident_id)
    return verdict(first.id, person, trail, lambda: ("no route",)).outcome


@pytest.mark.parametrize("how", WAYS_TO_ACKNOWLEDGE)
async def test_what_was_taken_back_stays_so_over_a_crash(bench: Bench, how: str) -> None:
    async with place("webhook") as receiver:
        receiver.trouble = "429"
        notifier = await bench.start(configured(bench, receiver))
        await bench.feed(notifier, opened())
        await until(lambda: bench.kafka.deliveries("failed"), "a failed attempt", seconds=60)
        await until(lambda: "/acknowledge/" in bench.console.getvalue(), "grace's page")
        page = bench.kafka.deliveries("failed")[0].message_id
        await acknowledge(bench, notifier, how)
        await bench.crash()
        again = await bench.start(configured(bench, receiver))
        receiver.trouble = None
        await half_an_hour(bench, again)
        await bench.settle(again)
        assert page not in receiver.arrived()
        assert await outcome_of(again, "desk") == "withheld"
