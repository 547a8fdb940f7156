"""The author of a silence hears that it ends, and nobody is woken by that."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from schemas.configuration import (
    Channels,
    Configuration,
    PagerDutyChannel,
    Recipient,
    Route,
    Secret,
)
from schemas.oncall import Hours, Layer, QuietHours, Schedule, Way
from schemas.silences import Silence, SilenceEvent
from sinks.notifier import Notifier
from sinks.notifier.channels.console import Console
from sinks.notifier.messages import SilenceNotice
from sinks.notifier.silences import extend_command
from sinks.notifier.words import Writer
from sinks.sink import Record
from tests.sinks.notifier.conftest import CATALOGUE, NOW_MS, Bench

TOPIC = "tocsin.silence-events.v1"
MINUTE_MS = 60_000
GOLDEN = Path(__file__).parent / "golden"
ZONES = {"en": "UTC", "de": "Europe/Berlin", "fr": "Europe/Paris"}

ADA = Recipient(name="ada", channel="console")
GRACE = Recipient(name="grace", channel="console")
TEAM = Recipient(name="team", channel="console")
BOSS = Recipient(name="boss", channel="console", audience="manager")
ORDERS = Route(name="orders", services=("ts-order-*",), recipients=("team", "boss"))
ALL = Route(name="all", recipients=("grace",))


def silence(**changes: Any) -> Silence:
    known: dict[str, Any] = {
        "id": "silence-1a2b3c4d",
        "matchers": ("service=ts-order-service", "kind!=latency"),
        "starts_ms": NOW_MS - 60 * MINUTE_MS,
        "ends_ms": NOW_MS + 15 * MINUTE_MS,
        "author": "ada",
        "comment": "new database",
    }
    return Silence(**(known | changes))


def ending(of: Silence | None = None, **changes: Any) -> SilenceEvent:
    known: dict[str, Any] = {"incidents": ("INC-1", "INC-2"), "still_open": ("INC-2",)}
    known |= {"type": "ending", "environment": "production", "time_ms": NOW_MS}
    return SilenceEvent(silence=of or silence(), services=("ts-order-service",), **known | changes)


def ended(of: Silence | None = None, **changes: Any) -> SilenceEvent:
    over = of or silence()
    known: dict[str, Any] = {"type": "ended", "time_ms": over.ends_ms}
    return ending(over, **(known | changes))


def configured(bench: Bench, *more: Recipient, **changes: Any) -> Configuration:
    recipients = (*more, *(r for r in (ADA, GRACE, TEAM, BOSS) if r.name not in named(more)))
    known: dict[str, Any] = {"recipients": recipients, "routes": (ORDERS, ALL)}
    known |= {"stale_after_seconds": 3600}
    return bench.configuration(**(known | changes))


def named(recipients: tuple[Recipient, ...]) -> set[str]:
    return {recipient.name for recipient in recipients}


async def feed(
    bench: Bench, notifier: Notifier, *events: SilenceEvent, age_seconds: float = 0
) -> None:
    records = []
    for event in events:
        value = msgspec.json.encode(event)
        written_ms = bench.clock() - int(age_seconds * 1000)
        records.append(Record(TOPIC, 0, bench.offset, written_ms, event.silence.id.encode(), value))
        bench.offset += 1
    await notifier.apply(records)
    await bench.settle(notifier)


def fates(bench: Bench) -> list[tuple[str, str, str]]:
    """Who was told or not, by which rule and in the end how."""
    last = {step.message_id: step for step in bench.kafka.deliveries() if step.channel != "x"}
    return [
        (s.recipient, s.rule, s.detail if s.status in ("withheld", "held") else s.status)
        for s in last.values()
        if s.event_id.startswith("silence/")
    ]


async def test_the_author_hears_a_while_before_the_end_and_at_the_end(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await feed(bench, notifier, ending())
    said = bench.console.getvalue()
    assert "Your silence ends at 16:15 UTC: new database" in said
    assert "tocsin silence --extend silence-1a2b3c4d --for 1h" in said
    bench.clock.advance(15 * 60)
    await feed(bench, notifier, ended())
    assert "has ended: new database (1 incident is still open)" in bench.console.getvalue()
    assert fates(bench) == [("ada", "author of the silence", "sent")] * 2
    assert all(step.incident_id == "" for step in bench.kafka.deliveries())


async def test_a_repeat_and_a_crash_tell_nothing_twice(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await feed(bench, notifier, ending(), ending())
    assert bench.console.getvalue().count("Your silence") == 1
    steps = len(bench.kafka.deliveries())
    await bench.crash()
    again = await bench.start(configured(bench))
    bench.offset -= 1
    await feed(bench, again, ending())  # the same record once more
    await feed(bench, again, ending())  # and as the worker would write it again
    assert bench.console.getvalue().count("Your silence") == 1
    assert len(bench.kafka.deliveries()) == steps


async def test_an_author_is_found_by_an_address_too(bench: Bench) -> None:
    ada = Recipient(name="Ada L.", channel="console", address="Ada@example.org")
    notifier = await bench.start(configured(bench, ada))
    await feed(bench, notifier, ended(silence(author="ada@EXAMPLE.org"), time_ms=NOW_MS))
    assert fates(bench) == [("Ada L.", "author of the silence", "sent")]


async def test_for_an_author_who_is_no_contact_the_engineers_of_the_services_hear(
    bench: Bench,
) -> None:
    """By the first route that names any: not by all routes, and not managers."""
    notifier = await bench.start(configured(bench))
    await feed(bench, notifier, ending(silence(author="bob")))
    assert fates(bench) == [("team", "orders", "sent")]
    assert "the author cannot be told directly" in bench.console.getvalue()


async def test_who_is_on_call_for_the_services_stands_in(bench: Bench) -> None:
    since = datetime.fromtimestamp(NOW_MS / 1000, UTC).date().isoformat()
    shifts = Schedule(name="shop", layers=(Layer(people=("grace",), start=since),))
    configuration = configured(
        bench,
        routes=(Route(name="shop", recipients=("shop",)),),
        schedules=(shifts,),
    )
    notifier = await bench.start(configuration)
    await feed(bench, notifier, ending(silence(author="bob")))
    assert fates(bench) == [("grace", "shop", "sent")]


async def test_a_route_that_only_pages_is_passed_over(bench: Bench) -> None:
    pager = Recipient(name="pager", channel="pagerduty:shop")
    configuration = configured(
        bench,
        pager,
        routes=(Route(name="pages", recipients=("pager",)), ALL),
        channels=Channels(pagerduty={"shop": PagerDutyChannel(routing_key=Secret(env="HOOK"))}),
    )
    notifier = await bench.start(configuration)
    await feed(bench, notifier, ending(silence(author="bob")))
    assert fates(bench) == [("grace", "all", "sent")]


async def test_that_nobody_can_be_told_is_in_the_log(bench: Bench) -> None:
    notifier = await bench.start(configured(bench, routes=()))
    await feed(bench, notifier, ending(silence(author="bob")))
    ((who, _, why),) = fates(bench)
    assert (who, why[:19]) == ("bob", "no recipient is bob")


@pytest.mark.parametrize(("incidents", "told"), [((), []), (("INC-1",), ["team"])])
async def test_of_a_planned_window_others_hear_if_it_held_something_back(
    bench: Bench, incidents: tuple[str, ...], told: list[str]
) -> None:
    notifier = await bench.start(configured(bench))
    window = silence(id="upgrade/2026-01-01T00:00:00.000Z", author="configuration")
    await feed(bench, notifier, ending(window, planned=True, incidents=incidents, still_open=()))
    assert [who for who, _, fate in fates(bench) if fate == "sent"] == told
    if told:
        said = bench.console.getvalue()
        assert "tocsin silence --match service=ts-order-service --match 'kind!=latency'" in said


async def test_who_ended_it_themselves_is_not_told_so_and_who_did_not_is(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await feed(bench, notifier, ended(time_ms=NOW_MS, ended_by="ada"))
    other = ended(silence(id="s2"), time_ms=NOW_MS, ended_by="grace")
    await feed(bench, notifier, other)
    assert [fate for _, _, fate in fates(bench)] == ["they ended it themselves", "sent"]
    assert "grace ended it on" in bench.console.getvalue()


@pytest.mark.parametrize("channel", ["sms:twilio", "voice:twilio", "pagerduty:x", "opsgenie:x"])
async def test_nobody_is_woken(bench: Bench, channel: str) -> None:
    """Not over a channel that wakes: over the next one, or those hear who stand in."""
    ada = Recipient(name="ada", channel=channel, address="1")
    back = msgspec.structs.replace(ada, fall_back=(Way(channel="console"),))
    for recipient, fate in ((ada, "every way to them could wake them"), (back, "sent")):
        notifier = Notifier(
            configured(bench, recipient),
            resolve=bench.resolve,
            publish=bench.kafka.publish,
            now_ms=bench.clock,
            settle_seconds=0,
            channels={"console": Console(bench.console)},
        )
        await notifier.start()
        await feed(bench, notifier, ending(silence(id=fate)))
        await notifier.stop()
        assert ("ada", "author of the silence", fate) in fates(bench)
        told_instead = [fate for who, _, fate in fates(bench) if who == "team"]
        assert told_instead == ["sent"]  # the first time alone


async def test_quiet_hours_hold_it_back_and_what_is_overtaken_is_not_told_late(
    bench: Bench,
) -> None:
    """Of two that waited for the morning only the later one is told; a digest holds it."""
    hours = (Hours(start="00:00", until="16:20"),)
    ada = msgspec.structs.replace(ADA, quiet_hours=QuietHours(hours=hours, severities=("P1",)))
    notifier = await bench.start(configured(bench, ada))
    await feed(bench, notifier, ending())
    assert fates(bench) == [("ada", "author of the silence", "quiet_hours")]
    bench.clock.advance(15 * 60)
    await feed(bench, notifier, ended())
    assert bench.console.getvalue() == ""
    await bench.settle(notifier, 6 * 60)
    said = bench.console.getvalue()
    assert "1 message was held back" in said
    assert "about" not in said.split("ada")[0]
    assert "Your silence has ended: new database" in said
    assert "Your silence ends at" not in said
    assert [fate for _, _, fate in fates(bench)] == ["overtaken by a later message", "sent"]


async def test_several_silences_that_were_held_back_are_all_in_the_digest(bench: Bench) -> None:
    hours = (Hours(start="00:00", until="16:20"),)
    ada = msgspec.structs.replace(ADA, quiet_hours=QuietHours(hours=hours, severities=("P1",)))
    notifier = await bench.start(configured(bench, ada))
    await feed(bench, notifier, *(ending(silence(id=f"s{n}", comment=f"c{n}")) for n in range(25)))
    await bench.settle(notifier, 21 * 60)
    said = bench.console.getvalue()
    assert sum(f": c{number}\n" in said for number in range(25)) == 20
    assert "and 5 more" in said


@pytest.mark.parametrize(
    ("event", "age_seconds", "why"),
    [
        (ending(time_ms=NOW_MS - 7_200_000), 7_200, "too old to be news"),
        (ending(time_ms=NOW_MS - 7_200_000), 0, "too old to be news"),
        (ending(silence(ends_ms=NOW_MS - 1)), 0, "it has ended meanwhile"),
    ],
)
async def test_what_is_no_news_any_more_is_not_told(
    bench: Bench, event: SilenceEvent, age_seconds: float, why: str
) -> None:
    notifier = await bench.start(configured(bench))
    await feed(bench, notifier, event, age_seconds=age_seconds)
    ((_, _, fate),) = fates(bench)
    assert why in fate


async def test_another_environments_silences_are_passed_over(bench: Bench) -> None:
    notifier = await bench.start(configured(bench))
    await feed(bench, notifier, ending(environment="staging"))
    assert fates(bench) == []
    assert await notifier.positions() == {(TOPIC, 0): 1}


def test_a_command_that_a_message_cannot_hold_as_it_is_is_not_shown() -> None:
    odd = silence(id="s\u202e1"), silence(matchers=tuple(f"service!=s{n:099}" for n in range(9)))
    assert extend_command(ending(odd[0])) == ""
    assert extend_command(ending(odd[1], planned=True)) == ""
    said = written(ADA, ending(odd[1], planned=True), is_author=True)
    assert "another hour" not in said


@pytest.mark.parametrize("language", ZONES)
def test_the_words_read_as_reviewed(language: str, update_golden: bool) -> None:
    window = silence(
        id="upgrade/2025-11-24T15:00:00.000Z", author="configuration", comment="upgrade"
    )
    cases: tuple[tuple[SilenceEvent, bool], ...] = (
        (ending(), True),
        (ended(), True),
        (ended(incidents=(), still_open=(), time_ms=NOW_MS, ended_by="grace"), True),
        (ending(silence(author="bob", comment=""), incidents=(), still_open=()), False),
        (ending(window, planned=True), False),
        (ended(window, planned=True, still_open=()), False),
    )
    reader = Recipient(name="ada", channel="console", language=language, time_zone=ZONES[language])
    texts = [written(reader, event, is_author=own) for event, own in cases]
    text = "\n\n".join(texts) + "\n"
    file = GOLDEN / f"silences.{language}.txt"
    if update_golden:
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


def written(reader: Recipient, event: SilenceEvent, *, is_author: bool) -> str:
    rule: Literal["author", "all"] = "author" if is_author else "all"
    notice = SilenceNotice(
        recipient=reader,
        rule=rule,
        event=event,
        is_author=is_author,
        name=event.silence.id.partition("/")[0],
        extend=extend_command(event),
    )
    said = Writer(CATALOGUE).silence(notice)
    return f"=== {event.type}\n\n{said.subject}\n\n{said.text}"
