"""The notifier as a sink: what it takes in, says, keeps and repeats."""

import dataclasses

import pytest

from schemas.configuration import Recipient, Route
from sinks.database import StoreError
from sinks.notifier import outbox
from tests.sinks.examples import NO_EVENTS, cpu_fault, cpu_incident, dropped, event
from tests.sinks.notifier.conftest import TOPIC, Bench, until


async def test_an_incident_is_told_on_the_console_from_opened_to_resolved(bench: Bench) -> None:
    notifier = await bench.start()
    await bench.feed(notifier, *cpu_fault())
    await until(lambda: len(bench.kafka.deliveries("sent")) == 3, "three messages")
    text = bench.console.getvalue()
    assert text.index("[P2] ts-order-service is out of CPU") < text.index("ada is on it")
    assert text.index("ada is on it") < text.index("Resolved: ts-order-service")
    assert "/acknowledge/" in text


async def test_every_step_is_published_as_a_delivery_with_its_rule(bench: Bench) -> None:
    notifier = await bench.start()
    opened = cpu_fault()[0]
    await bench.feed(notifier, opened)
    await until(lambda: bench.kafka.deliveries("sent"))
    asked, sent = bench.kafka.deliveries()
    assert (asked.status, sent.status) == ("asked", "sent")
    assert asked.message_id == sent.message_id == outbox.message_id(opened.id, "console", "console")
    assert sent.rule == "everyone"
    assert sent.seconds_to_communicate == 75.0


async def test_repeated_records_and_repeated_events_change_nothing(bench: Bench) -> None:
    notifier = await bench.start()
    opened = bench.record(cpu_fault()[0])
    await notifier.apply([opened])
    await notifier.apply([opened])
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: bench.kafka.deliveries("sent"))
    await bench.feed(notifier, cpu_fault()[3])
    await until(lambda: len(bench.kafka.deliveries("sent")) == 2)
    assert [made.event_id for made in bench.kafka.deliveries("asked")] == [
        "inc-cpu-01/1",
        "inc-cpu-01/4",
    ]
    assert await notifier.positions() == {(TOPIC, 0): 3}


async def test_positions_survive_a_restart(bench: Bench) -> None:
    notifier = await bench.start()
    await bench.feed(notifier, cpu_fault()[0])
    await bench.crash()
    again = await bench.start()
    assert await again.positions() == {(TOPIC, 0): 1}


async def test_events_of_an_old_log_are_withheld_and_not_sent(bench: Bench) -> None:
    bench.clock.now_ms = cpu_fault()[-1].time_ms
    notifier = await bench.start(bench.configuration(stale_after_seconds=3600))
    await notifier.apply([bench.record(made, age_seconds=7200) for made in cpu_fault()])
    fresh = event(cpu_incident(id="inc-new"), "opened")
    await bench.feed(notifier, fresh)
    await until(lambda: bench.kafka.deliveries("sent"))
    assert {made.incident_id for made in bench.kafka.deliveries("sent")} == {"inc-new"}
    withheld = bench.kafka.deliveries("withheld")
    assert [made.detail for made in withheld] == ["the event is too old to be news"]


async def test_what_a_first_start_finds_in_the_past_is_withheld_but_what_people_say_is_not(
    bench: Bench,
) -> None:
    support = Recipient(name="support", channel="console", audience="support")
    opened = event(cpu_incident(), "opened")
    said = event(cpu_incident(version=2), "public_message", actor="ada")
    bench.clock.now_ms = opened.time_ms + 2 * 3_600_000
    configuration = bench.configuration(
        recipients=(support,),
        routes=(Route(name="all", recipients=("support",), events=("opened", "public_message")),),
        stale_after_seconds=3600,
    )
    notifier = await bench.start(configuration)
    await bench.feed(notifier, opened, said)
    await until(lambda: bench.kafka.deliveries("sent"))
    assert [made.event_id for made in bench.kafka.deliveries("withheld")] == [opened.id]
    assert [made.event_id for made in bench.kafka.deliveries("sent")] == [said.id]


async def test_a_record_that_is_no_event_is_passed_over(bench: Bench) -> None:
    notifier = await bench.start()
    before = dropped("notifier")
    await notifier.apply(
        [dataclasses.replace(bench.record(cpu_fault()[0]), value=value) for value in NO_EVENTS]
    )
    assert dropped("notifier") - before == {"no_value": 1, "malformed": len(NO_EVENTS) - 1}
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: bench.kafka.deliveries("sent"))
    assert await notifier.positions() == {(TOPIC, 0): len(NO_EVENTS) + 1}


async def test_nobody_is_told_of_an_incident_of_another_environment(bench: Bench) -> None:
    notifier = await bench.start()
    elsewhere = event(cpu_incident(id="inc-staging", environment="staging"), "opened")
    before = dropped("notifier")
    await bench.feed(notifier, elsewhere, cpu_fault()[0])
    await until(lambda: bench.kafka.deliveries("sent"))
    assert dropped("notifier") - before == {"other_environment": 1}
    assert {made.incident_id for made in bench.kafka.deliveries()} == {"inc-cpu-01"}


async def test_deliveries_wait_in_the_store_while_kafka_is_away(bench: Bench) -> None:
    bench.kafka.down = True
    notifier = await bench.start()
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: "out of CPU" in bench.console.getvalue())
    await bench.crash()
    bench.kafka.down = False
    await bench.start()
    await until(lambda: [made.status for made in bench.kafka.deliveries()] == ["asked", "sent"])


async def test_a_store_that_cannot_be_opened_is_named_with_the_reason(bench: Bench) -> None:
    bench.store = "sqlite:////proc/nowhere/notifier.sqlite3"
    with pytest.raises(StoreError, match=r"notifier\.store: .*nowhere.* cannot be opened: "):
        await bench.make().start()
