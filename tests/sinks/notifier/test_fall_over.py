"""A dead channel: the next way is taken, and says so. A receiver in trouble: nothing is lost."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from schemas.configuration import Channels, Configuration, Recipient, WebhookChannel
from schemas.incidents import IncidentEvent
from schemas.oncall import Way
from sinks.notifier.channels import Retry
from sinks.notifier.channels.webhook import Webhook
from tests.sinks.examples import cpu_fault, network_fault
from tests.sinks.notifier.conftest import Bench, until
from tests.sinks.notifier.receivers import Receiver, receiver
from tests.sinks.notifier.test_sending import types
from tests.sinks.notifier.test_webhook import message, now_ms

HOUR_SECONDS = 3600


@pytest_asyncio.fixture
async def dead() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        made.script = [500] * 1000
        yield made


@pytest_asyncio.fixture
async def alive() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


def two_ways(bench: Bench, first: str, second: str, language: str = "en") -> Configuration:
    desk = Recipient(
        name="desk",
        channel="webhook:first",
        fall_back=(Way(channel="webhook:second"),),
        language=language,
    )
    channels = Channels(
        webhooks={"first": WebhookChannel(url=first), "second": WebhookChannel(url=second)}
    )
    return bench.configuration(channels=channels, recipients=(desk,))


async def run_for(bench: Bench, notifier: object, *, failures: int) -> None:
    """Moves the clock on until so many attempts have failed."""

    def step() -> bool:
        bench.clock.advance(1)
        notifier.wake()  # type: ignore[attr-defined]
        return len(bench.kafka.deliveries("failed")) >= failures

    await until(step)


async def test_a_dead_channel_falls_over_to_the_next_one_and_says_so(
    bench: Bench, dead: Receiver, alive: Receiver
) -> None:
    notifier = await bench.start(two_ways(bench, dead.url, alive.url, language="de"))
    await bench.feed(notifier, cpu_fault()[0])
    await run_for(bench, notifier, failures=3)
    await until(lambda: bench.kafka.deliveries("sent"))
    (sent,) = bench.kafka.deliveries("sent")
    assert sent.channel == "webhook:second"
    assert "weil webhook nicht funktioniert hat." in alive.requests[0][1].decode()
    assert [step.channel for step in bench.kafka.deliveries("asked")] == [
        "webhook:first",
        "webhook:second",
    ]
    assert len(dead.requests) == 3


async def test_what_follows_waits_for_what_fell_over(
    bench: Bench, dead: Receiver, alive: Receiver
) -> None:
    notifier = await bench.start(two_ways(bench, dead.url, alive.url))
    opened, _, _, resolved = cpu_fault()
    await bench.feed(notifier, opened, resolved)
    await run_for(bench, notifier, failures=6)
    await until(lambda: len(bench.kafka.deliveries("sent")) == 2)
    assert types(alive) == ["incident.opened", "incident.resolved"]


async def test_credentials_that_are_not_accepted_fall_over_at_once(
    bench: Bench, dead: Receiver, alive: Receiver
) -> None:
    dead.script = [401]
    notifier = await bench.start(two_ways(bench, dead.url, alive.url))
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: bench.kafka.deliveries("sent"))
    assert [step.failure for step in bench.kafka.deliveries("failed")] == ["auth"]


async def test_a_receiver_that_wants_an_hour_of_peace_is_passed_over(
    bench: Bench, dead: Receiver, alive: Receiver
) -> None:
    dead.script = [(429, {"Retry-After": "3600"})]
    notifier = await bench.start(two_ways(bench, dead.url, alive.url))
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: bench.kafka.deliveries("sent"))
    assert bench.kafka.deliveries("failed")[0].failure == "rate_limited"


async def test_a_message_of_a_channel_that_was_removed_goes_the_next_way(
    bench: Bench, dead: Receiver, alive: Receiver
) -> None:
    notifier = await bench.start(two_ways(bench, dead.url, alive.url))
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: bench.kafka.deliveries("failed"))
    await notifier.stop()
    bench._running.clear()
    desk = Recipient(name="desk", channel="webhook:second")
    only = Channels(webhooks={"second": WebhookChannel(url=alive.url)})
    await bench.start(bench.configuration(channels=only, recipients=(desk,)))
    await until(lambda: bench.kafka.deliveries("sent"))
    assert bench.kafka.deliveries("sent")[0].channel == "webhook:second"


async def test_a_fall_over_survives_a_crash(bench: Bench, dead: Receiver, alive: Receiver) -> None:
    alive.script = ["hang"]
    notifier = await bench.start(two_ways(bench, dead.url, alive.url))
    await bench.feed(notifier, cpu_fault()[0])
    await run_for(bench, notifier, failures=3)
    await until(lambda: alive.requests)
    await bench.crash()
    again = await bench.start(two_ways(bench, dead.url, alive.url))
    again.wake()
    await until(lambda: bench.kafka.deliveries("sent"))
    assert len(dead.requests) == 3
    assert len(set(alive.ids)) == 1


def events() -> list[IncidentEvent]:
    return [*cpu_fault(), *network_fault()]


@pytest.mark.parametrize("trouble", [503, 500, 429])
async def test_after_an_hour_of_trouble_each_message_has_come_once_and_in_order(
    bench: Bench, trouble: int
) -> None:
    async with receiver() as hook:
        desk = Recipient(name="desk", channel="webhook:desk")
        channels = Channels(webhooks={"desk": WebhookChannel(url=hook.url)})
        hook.script = [trouble] * 10_000
        notifier = await bench.start(
            bench.configuration(channels=channels, recipients=(desk,), give_up_after_seconds=86_400)
        )
        await bench.feed(notifier, *events())
        ended_ms = bench.clock() + HOUR_SECONDS * 1000

        def an_hour_later() -> bool:
            bench.clock.advance(30)
            notifier.wake()
            return bench.clock() >= ended_ms

        await until(an_hour_later)
        hook.script.clear()
        tried = len(hook.requests)
        asked = bench.kafka.deliveries("asked")

        def all_sent() -> bool:
            bench.clock.advance(30)
            notifier.wake()
            return len(bench.kafka.deliveries("sent")) == len(asked)

        await until(all_sent)
        taken = hook.ids[tried:]
        assert sorted(taken) == sorted(step.message_id for step in asked)
        for incident in {step.incident_id for step in asked}:
            of_incident = [s.message_id for s in asked if s.incident_id == incident]
            assert [key for key in taken if key in of_incident] == of_incident


async def test_what_was_taken_after_the_time_was_up_is_known_by_its_key() -> None:
    async with receiver() as hook:
        hook.script = ["late"]
        channel = Webhook(hook.url, None, now_ms, timeout_seconds=0.1)
        with pytest.raises(Retry):
            await channel.send(message())
        hook.release.set()
        await channel.send(message())
        await channel.close()
    assert len(hook.ids) == 2
    assert len(set(hook.ids)) == 1
