"""A receiver that is in trouble for an hour, with the notifier killed in the middle of it: each
message comes once where repeats can be told, in order, and none is lost."""

import asyncio
from collections.abc import Sequence

import pytest

from schemas.configuration import Configuration
from schemas.incidents import Delivery
from sinks.notifier import Notifier
from sinks.notifier.channels.pagerduty import PagerDuty
from sinks.notifier.channels.phone import Phone
from sinks.notifier.channels.slack import Slack
from sinks.notifier.channels.teams_bot import TeamsBot
from tests.sinks.examples import cpu_fault, network_fault
from tests.sinks.notifier.conftest import Bench, until
from tests.sinks.notifier.outages import PLACES, Place, place
from tests.sinks.notifier.receivers import Trouble

STEP_SECONDS = 30
HALF_HOUR_STEPS = 60
SECRETS = {
    "SMS": "t0ken",
    "DUTY": "R0KEY",
    "GENIE": "G0KEY",
    "BOT": "bot-pass-word",
}


@pytest.fixture(autouse=True)
def _pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace is tried elsewhere; here it would only take time."""
    for channel in (Slack, TeamsBot, Phone, PagerDuty):
        monkeypatch.setattr(channel, "messages", 50.0)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["down", "500", "429", "late"])
@pytest.mark.parametrize("name", ["email", *PLACES])
async def test_after_an_hour_of_trouble_nothing_is_lost_doubled_or_out_of_order(
    bench: Bench, name: str, trouble: Trouble
) -> None:
    async with place(name) as receiver:
        bench.secrets |= SECRETS | {"FLOW": f"{getattr(receiver, 'url', '')}/flow"}
        configuration = configured(bench, receiver)
        first, second = cpu_fault(), network_fault()
        receiver.trouble = trouble
        notifier = await bench.start(configuration)
        await bench.feed(notifier, first[0], second[0])
        await until(lambda: bench.kafka.deliveries("failed"), "a failed attempt", seconds=60)
        await half_an_hour(bench, notifier)
        await bench.feed(notifier, *first[1:])
        await bench.crash()
        notifier = await bench.start(configured(bench, receiver))
        await bench.feed(notifier, *first[1:], *second[1:])
        await half_an_hour(bench, notifier)
        assert receiver.asked > 0
        receiver.trouble = None
        asked = expected(bench.kafka.deliveries("asked"))
        assert len(asked) == 6  # of each incident the beginning, who has it, and the end
        await all_sent(bench, notifier, asked)
        arrived = receiver.arrived()
        assert_whole(receiver, trouble, asked, arrived)


def configured(bench: Bench, receiver: Place) -> Configuration:
    return bench.configuration(
        channels=receiver.channels, recipients=(receiver.reader,), give_up_after_seconds=86_400
    )


async def half_an_hour(bench: Bench, notifier: Notifier) -> None:
    """Moves the clock on, and lets what is due be tried."""
    for _ in range(HALF_HOUR_STEPS):
        bench.clock.advance(STEP_SECONDS)
        notifier.wake()
        await asyncio.sleep(0.01)


async def all_sent(bench: Bench, notifier: Notifier, asked: Sequence[Delivery]) -> None:
    wanted = {made.message_id for made in asked}

    def are_sent() -> bool:
        bench.clock.advance(STEP_SECONDS)
        notifier.wake()
        return wanted <= {made.message_id for made in bench.kafka.deliveries("sent")}

    await until(are_sent, "that all is sent", seconds=120)


def expected(asked: Sequence[Delivery]) -> list[Delivery]:
    """What was asked for, once: a crash publishes again what was not known to be published."""
    return list({made.message_id: made for made in asked}.values())


def assert_whole(
    receiver: Place, trouble: Trouble, asked: Sequence[Delivery], arrived: list[str]
) -> None:
    """Nothing is lost; of each incident all is in order; nothing is doubled that can be told."""
    wanted = [receiver.told(made) for made in asked]
    assert set(arrived) == set(wanted)
    if receiver.knows_repeats or trouble != "late":
        assert len(arrived) == len(wanted)
    for incident in {made.incident_id for made in asked}:
        mine = [receiver.told(made) for made in asked if made.incident_id == incident]
        assert [told for told in dict.fromkeys(arrived) if told in mine] == mine
