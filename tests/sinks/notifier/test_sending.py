"""Sending: order, retries that outlive the process, and receivers that misbehave."""

import time
from collections.abc import Callable

import msgspec
import pytest
from prometheus_client import REGISTRY

from schemas.configuration import (
    Channels,
    Configuration,
    EmailChannel,
    Recipient,
    Route,
    Secret,
    SlackChannel,
    WebhookChannel,
)
from schemas.incidents import IncidentEvent
from tests.sinks.examples import cpu_fault, cpu_incident, event, network_fault
from tests.sinks.notifier.conftest import Bench, until
from tests.sinks.notifier.receivers import Receiver, mailbox, receiver
from tests.sinks.notifier.slack_look_alike import SlackLookAlike, slack


def hooks(bench: Bench, *, give_up_after_seconds: float = 3600, **urls: str) -> Configuration:
    """One recipient a webhook, named as it is."""
    return hooks_to(bench, urls, give_up_after_seconds)


def hooks_to(
    bench: Bench, urls: dict[str, str], give_up_after_seconds: float = 3600
) -> Configuration:
    return bench.configuration(
        channels=Channels(webhooks={name: WebhookChannel(url=url) for name, url in urls.items()}),
        recipients=tuple(Recipient(name=name, channel=f"webhook:{name}") for name in urls),
        give_up_after_seconds=give_up_after_seconds,
    )


def has_failed(bench: Bench, times: int) -> Callable[[], bool]:
    return lambda: len(bench.kafka.deliveries("failed")) == times


def types(hook: Receiver) -> list[str]:
    return [msgspec.json.decode(body)["type"] for _, body in hook.requests]


async def test_a_failing_receiver_gets_the_same_id_again_later_each_time(bench: Bench) -> None:
    async with receiver() as hook:
        hook.script = [500, 500, 500]
        notifier = await bench.start(hooks(bench, desk=hook.url))
        await bench.feed(notifier, cpu_fault()[0])
        for attempt, seconds in enumerate((1.2, 2.3, 4.5), start=1):
            await until(has_failed(bench, attempt))
            bench.clock.advance(seconds - 0.3)
            notifier.wake()
            bench.clock.advance(0.3)
            notifier.wake()
        await until(lambda: bench.kafka.deliveries("sent"))
        assert len(set(hook.ids)) == 1
        assert len(hook.ids) == 4
        assert [made.attempt for made in bench.kafka.deliveries("failed")] == [1, 2, 3]
        assert bench.kafka.deliveries("sent")[0].attempt == 4


async def test_a_retry_waits_in_the_table_over_a_restart(bench: Bench) -> None:
    async with receiver() as hook:
        hook.script = [500]
        notifier = await bench.start(hooks(bench, desk=hook.url))
        await bench.feed(notifier, cpu_fault()[0])
        await until(lambda: bench.kafka.deliveries("failed"))
        await bench.crash()
        again = await bench.start(hooks(bench, desk=hook.url))
        bench.clock.advance(2)
        again.wake()
        await until(lambda: bench.kafka.deliveries("sent"))
        assert len(hook.ids) == 2
        assert hook.ids[0] == hook.ids[1]


async def test_retry_after_is_obeyed_for_the_whole_channel(bench: Bench) -> None:
    async with receiver() as hook:
        hook.script = [(429, {"Retry-After": "120"})]
        notifier = await bench.start(hooks(bench, desk=hook.url))
        await bench.feed(notifier, cpu_fault()[0])
        await until(lambda: bench.kafka.deliveries("failed"))
        await bench.feed(notifier, network_fault()[0])
        bench.clock.advance(119)
        notifier.wake()
        await until(lambda: len(bench.kafka.deliveries("asked")) == 2)
        assert len(hook.requests) == 1
        bench.clock.advance(1)
        notifier.wake()
        await until(lambda: len(bench.kafka.deliveries("sent")) == 2)
        assert bench.kafka.deliveries("failed")[0].failure == "rate_limited"


async def test_opened_and_resolved_arrive_both_and_in_order_after_an_outage(bench: Bench) -> None:
    async with receiver() as hook:
        hook.script = [503]
        notifier = await bench.start(hooks(bench, desk=hook.url))
        opened, _, _, resolved = cpu_fault()
        await bench.feed(notifier, opened)
        await until(lambda: bench.kafka.deliveries("failed"))
        await bench.feed(notifier, resolved)
        bench.clock.advance(5)
        notifier.wake()
        await until(lambda: len(bench.kafka.deliveries("sent")) == 2)
        assert types(hook) == ["incident.opened", "incident.opened", "incident.resolved"]


async def test_it_gives_up_after_the_stated_time_and_says_so(bench: Bench) -> None:
    async with receiver() as hook:
        hook.script = [500] * 50
        notifier = await bench.start(hooks(bench, give_up_after_seconds=10, desk=hook.url))
        await bench.feed(notifier, cpu_fault()[0])
        await until(lambda: bench.kafka.deliveries("failed"))
        bench.clock.advance(10)
        notifier.wake()
        await until(lambda: bench.kafka.deliveries("failed")[-1].failure == "gave_up")
        assert "HTTP 500" in bench.kafka.deliveries("failed")[-1].detail
        assert len(hook.requests) == 2


async def test_a_refusal_is_not_tried_again_and_the_next_message_goes_out(bench: Bench) -> None:
    async with receiver() as hook:
        hook.script = [404]
        notifier = await bench.start(hooks(bench, desk=hook.url))
        await bench.feed(notifier, cpu_fault()[0])
        await until(lambda: bench.kafka.deliveries("failed"))
        await bench.feed(notifier, network_fault()[0])
        await until(lambda: bench.kafka.deliveries("sent"))
        assert bench.kafka.deliveries("failed")[0].failure == "refused"
        assert len(set(hook.ids)) == 2


async def test_a_receiver_that_hangs_keeps_no_other_channel_waiting(bench: Bench) -> None:
    async with receiver() as stuck, receiver() as quick:
        stuck.script = ["hang"] * 10
        notifier = await bench.start(hooks(bench, stuck=stuck.url, quick=quick.url))
        await bench.feed(notifier, cpu_fault()[0], network_fault()[0])
        await until(lambda: len(bench.kafka.deliveries("sent")) == 2, seconds=2)
        await until(lambda: len(stuck.requests) == 2, seconds=2)
        assert {made.recipient for made in bench.kafka.deliveries("sent")} == {"quick"}


async def test_taken_but_not_answered_is_sent_again_under_the_same_id(bench: Bench) -> None:
    async with receiver() as hook:
        hook.script = ["hang"]
        notifier = await bench.start(hooks(bench, desk=hook.url))
        await bench.feed(notifier, cpu_fault()[0])
        await until(lambda: hook.requests)
        await bench.crash()
        again = await bench.start(hooks(bench, desk=hook.url))
        again.wake()
        await until(lambda: bench.kafka.deliveries("sent"))
        assert len(hook.ids) == 2
        assert len(set(hook.ids)) == 1


async def test_a_crash_before_anything_is_sent_loses_nothing(bench: Bench) -> None:
    async with receiver() as hook:
        configuration = hooks(bench, desk=hook.url)
        notifier = await bench.start(configuration)
        await notifier.apply([bench.record(made) for made in cpu_fault()])
        await bench.crash()
        await bench.start(hooks(bench, desk=hook.url))
        await until(lambda: len(bench.kafka.deliveries("sent")) == 3)
        kinds = list(dict.fromkeys(types(hook)))
        assert kinds == ["incident.opened", "incident.acknowledged", "incident.resolved"]


async def test_slack_keeps_one_thread_an_incident_over_a_restart(bench: Bench) -> None:
    async with slack() as team:
        configuration = to_slack(bench, team)
        opened, _, _, resolved = cpu_fault()
        notifier = await bench.start(configuration)
        await bench.feed(notifier, opened)
        await until(lambda: bench.kafka.deliveries("sent"))
        await notifier.stop()
        bench._running.clear()
        again = await bench.start(configuration)
        await bench.feed(again, resolved)
        await until(lambda: len(bench.kafka.deliveries("sent")) == 2)
        first, second = team.posted
        assert "thread_ts" not in first
        assert second["thread_ts"] == first["ts"]


async def test_a_card_whose_edit_hangs_keeps_nothing_from_being_noted_as_sent(
    bench: Bench,
) -> None:
    async with slack() as team:
        team.hangs_at = "chat.update"
        opened, _, _, resolved = cpu_fault()
        notifier = await bench.start(to_slack(bench, team))
        await bench.feed(notifier, opened, resolved)
        await until(lambda: "chat.update" in team.calls, "the edit")
        await until(lambda: len(bench.kafka.deliveries("sent")) == 2, "that both are noted")
        await bench.crash()
        again = await bench.start(to_slack(bench, team))
        await bench.settle(again)
        assert len(team.posted) == 2


def to_slack(bench: Bench, team: SlackLookAlike) -> Configuration:
    return bench.configuration(
        channels=Channels(slack=SlackChannel(token=Secret(env="SLACK"), base_url=team.url)),
        recipients=(Recipient(name="ops", channel="slack", address="#ops"),),
    )


async def test_mail_of_an_incident_is_one_thread_for_each_person(bench: Bench) -> None:
    async with mailbox() as box:
        configuration = bench.configuration(
            channels=Channels(
                email=EmailChannel(
                    host="127.0.0.1", port=box.port, sender="t@example.org", security="none"
                )
            ),
            recipients=(
                Recipient(name="ada", channel="email", address="ada@example.org"),
                Recipient(
                    name="kim", channel="email", address="kim@example.org", audience="customer"
                ),
            ),
        )
        notifier = await bench.start(configuration)
        opened, _, _, resolved = cpu_fault()
        await bench.feed(notifier, opened, resolved)
        await until(lambda: len(bench.kafka.deliveries("sent")) == 4)
        for address in ("ada@example.org", "kim@example.org"):
            first, second = (mail for mail in box.mails if mail["To"] == address)
            assert second["In-Reply-To"] == first["Message-ID"]
            assert second["References"].split() == [first["References"], first["Message-ID"]]
        kim = [mail.as_string() for mail in box.mails if mail["To"] == "kim@example.org"]
        assert not any("ts-order" in mail or "acknowledge" in mail for mail in kim)


async def test_an_update_that_was_not_sent_gives_way_to_a_newer_one(bench: Bench) -> None:
    async with receiver() as hook:
        hook.script = [503]
        recipient = Recipient(name="desk", channel="webhook:desk", audience="manager")
        configuration = bench.configuration(
            channels=Channels(webhooks={"desk": WebhookChannel(url=hook.url)}),
            recipients=(recipient,),
            routes=(Route(name="all", recipients=("desk",), events=("opened", "updated")),),
        )
        notifier = await bench.start(configuration)
        await bench.feed(notifier, event(cpu_incident(), "opened"))
        await until(lambda: bench.kafka.deliveries("failed"))
        await bench.feed(notifier, *(update(version) for version in (2, 3, 4)))
        bench.clock.advance(3)
        notifier.wake()
        await until(lambda: len(bench.kafka.deliveries("sent")) == 2)
        assert bench.kafka.deliveries("sent")[-1].event_id == "inc-cpu-01/4"
        assert [made.event_id for made in bench.kafka.deliveries("withheld")] == [
            "inc-cpu-01/2",
            "inc-cpu-01/3",
        ]


def update(version: int) -> IncidentEvent:
    return event(cpu_incident(version=version), "updated")


async def test_messages_for_a_channel_that_was_removed_end_as_failed(bench: Bench) -> None:
    async with receiver() as hook:
        hook.script = [500]
        notifier = await bench.start(hooks(bench, desk=hook.url))
        await bench.feed(notifier, cpu_fault()[0])
        await until(lambda: bench.kafka.deliveries("failed"))
        await notifier.stop()
        bench._running.clear()
        await bench.start()
        await until(lambda: len(bench.kafka.deliveries("failed")) == 2)
        assert "no longer configured" in bench.kafka.deliveries("failed")[-1].detail


async def test_what_was_done_is_counted(bench: Bench) -> None:
    def sent() -> float:
        labels = {"channel": "console", "result": "sent"}
        return REGISTRY.get_sample_value("tocsin_notifications_total", labels) or 0

    def told() -> float:
        name = "tocsin_time_to_communicate_seconds_count"
        return REGISTRY.get_sample_value(name, {"channel": "console", "audience": "engineer"}) or 0

    before, told_before = sent(), told()
    notifier = await bench.start()
    await bench.feed(notifier, cpu_fault()[0], cpu_fault()[3])
    await until(lambda: len(bench.kafka.deliveries("sent")) == 2)
    assert sent() == before + 2
    assert told() == told_before + 1


@pytest.mark.parametrize("channels", [1, 3])
async def test_stopping_ends_soon_even_while_receivers_hang(bench: Bench, channels: int) -> None:
    async with receiver() as hook:
        hook.script = ["hang"] * 10
        urls = {f"desk{number}": hook.url for number in range(channels)}
        notifier = await bench.start(hooks_to(bench, urls))
        await bench.feed(notifier, cpu_fault()[0])
        await until(lambda: len(hook.requests) == channels)
        began = time.monotonic()
        await notifier.stop()
        bench._running.clear()
        assert time.monotonic() - began < 1.5


@pytest.mark.slow
async def test_a_strict_slack_gets_every_message_once_and_in_order(bench: Bench) -> None:
    async with slack() as team:
        team.is_strict = True  # one message a second in a channel; what comes sooner is refused
        configuration = to_slack(bench, team)
        notifier = await bench.start(configuration)
        await bench.feed(notifier, *cpu_fault())

        def all_sent() -> bool:
            bench.clock.advance(1)
            notifier.wake()
            return len(bench.kafka.deliveries("sent")) == 3

        await until(all_sent)
        asked = [step.message_id for step in bench.kafka.deliveries("asked")]
        assert [post["client_msg_id"] for post in team.posted] == asked
        assert {post["thread_ts"] for post in team.posted[1:]} == {team.posted[0]["ts"]}
        assert len(team.edited) == 2
