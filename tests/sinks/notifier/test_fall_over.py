"""A dead channel: the next way is taken, and says so. A receiver in trouble: nothing is lost."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from schemas.configuration import Channels, Configuration, Recipient, WebhookChannel
from schemas.incidents import IncidentEvent
from schemas.oncall import Way
from sinks.notifier import dispatch
from sinks.notifier.channels import Retry
from sinks.notifier.channels.webhook import Webhook
from tests.sinks.examples import cpu_fault, cpu_incident, event, network_fault
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
    await run_for(bench, notifier, failures=4)  # what follows need not find out for itself
    await until(lambda: len(bench.kafka.deliveries("sent")) == 2)
    assert types(alive) == ["incident.opened", "incident.resolved"]


async def test_messages_need_not_find_out_one_by_one_that_a_channel_is_dead(
    bench: Bench, dead: Receiver, alive: Receiver
) -> None:
    notifier = await bench.start(two_ways(bench, dead.url, alive.url))
    await bench.feed(notifier, *storm(1))
    await run_for(bench, notifier, failures=3)
    tried = len(dead.requests)
    await bench.feed(notifier, *storm(30, first=1))
    await until(lambda: len(bench.kafka.deliveries("sent")) == 31)
    assert len(dead.requests) == tried
    bench.clock.advance(31)  # then one finds out whether it works again
    dead.script.clear()
    await bench.feed(notifier, *storm(1, first=31))
    await until(lambda: len(bench.kafka.deliveries("sent")) == 32)
    assert len(dead.requests) == tried + 1


async def test_who_has_another_way_does_not_wait_out_a_long_retry_after(
    bench: Bench, dead: Receiver, alive: Receiver
) -> None:
    dead.script = [(429, {"Retry-After": "600"}), *[500] * 1000]
    notifier = await bench.start(two_ways(bench, dead.url, alive.url))
    await bench.feed(notifier, *storm(1))
    await until(lambda: bench.kafka.deliveries("sent"))
    await bench.feed(notifier, *storm(3, first=1))
    await until(lambda: len(bench.kafka.deliveries("sent")) == 4)
    assert len(dead.requests) == 1  # it asked to be left alone, and is
    assert {made.failure for made in bench.kafka.deliveries("failed")} == {"rate_limited"}


async def test_a_shorter_wish_to_be_left_alone_does_not_shorten_a_longer_one(bench: Bench) -> None:
    async with receiver() as hook:
        hook.script = [(429, {"Retry-After": "120"}), (429, {})]
        desk = Recipient(name="desk", channel="webhook:desk")
        channels = Channels(webhooks={"desk": WebhookChannel(url=hook.url)})
        notifier = await bench.start(bench.configuration(channels=channels, recipients=(desk,)))
        await bench.feed(notifier, *storm(2))
        await until(lambda: len(bench.kafka.deliveries("failed")) == 2)
        async with notifier._database.reading() as connection:
            until_ms = await dispatch.paused_until_ms(connection, "webhook:desk")
        assert until_ms == bench.clock() + 120_000


async def test_what_waits_for_its_next_attempt_goes_as_soon_as_the_channel_works(
    bench: Bench,
) -> None:
    async with receiver() as hook:
        hook.script = [500] * 1000
        desk = Recipient(name="desk", channel="webhook:desk")
        channels = Channels(webhooks={"desk": WebhookChannel(url=hook.url)})
        notifier = await bench.start(bench.configuration(channels=channels, recipients=(desk,)))
        await bench.feed(notifier, *storm(5))
        await run_for(bench, notifier, failures=40)  # the next attempts are minutes away
        hook.script.clear()
        await bench.feed(notifier, *storm(1, first=5))
        await until(lambda: len(bench.kafka.deliveries("sent")) == 6)


def storm(count: int, first: int = 0) -> list[IncidentEvent]:
    return [
        event(cpu_incident(id=f"inc-{n}", severity="P3"), "opened")
        for n in range(first, first + count)
    ]


@pytest.mark.parametrize(
    "said", ["9" * 400, "1.5", "soon", "Mon, 01 Jan 0001 00:00:00 -0000", "-3", ""]
)
async def test_a_retry_after_that_makes_no_sense_stops_nothing(bench: Bench, said: str) -> None:
    async with receiver() as hook:
        hook.script = [(429, {"Retry-After": said})]
        desk = Recipient(name="desk", channel="webhook:desk")
        channels = Channels(webhooks={"desk": WebhookChannel(url=hook.url)})
        notifier = await bench.start(
            bench.configuration(channels=channels, recipients=(desk,), give_up_after_seconds=2e5)
        )
        await bench.feed(notifier, *storm(1))
        await until(lambda: bench.kafka.deliveries("failed"))
        bench.clock.advance(86_401)
        notifier.wake()
        await until(lambda: bench.kafka.deliveries("sent"))


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
