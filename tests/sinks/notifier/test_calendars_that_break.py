"""Whatever becomes of a calendar, the notifier goes on, and so do the other schedules."""

import pytest

from schemas.configuration import Recipient
from schemas.oncall import Layer, Schedule
from sinks.notifier import notifier as notifier_module
from sinks.notifier.oncall import Roster, Shift
from tests.sinks.examples import cpu_fault
from tests.sinks.notifier.conftest import Bench, until

RECIPIENTS = (Recipient(name="ada", channel="console"),)
LAYERS = (Layer(people=("ada",), start="2026-03-16"),)
SCHEDULES = (Schedule(name="broken", layers=LAYERS), Schedule(name="whole", layers=LAYERS))


async def test_a_schedule_that_raises_ends_neither_the_notifier_nor_the_other_schedules(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = Roster.at
    asked = 0

    def breaks(roster: Roster, moment_ms: int) -> Shift:
        nonlocal asked
        if roster.name == "broken":
            asked += 1
            raise OverflowError("date value out of range")
        return works(roster, moment_ms)

    monkeypatch.setattr(Roster, "at", breaks)
    monkeypatch.setattr(notifier_module, "REFRESH_SECONDS", 0.01)
    made = bench.configuration(recipients=RECIPIENTS, schedules=SCHEDULES)
    notifier = await bench.start(made)
    await until(lambda: asked >= 3, seconds=60)
    await until(
        lambda: [step.recipient for step in bench.kafka.deliveries("scheduled")] == ["whole"]
    )
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: len(bench.kafka.deliveries("sent")) == 1)


async def test_a_refresh_that_raises_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def breaks() -> None:
        nonlocal tries
        tries += 1
        raise RuntimeError("a mistake in a library")

    monkeypatch.setattr(notifier_module, "REFRESH_SECONDS", 0.01)
    made = bench.configuration(recipients=RECIPIENTS, schedules=SCHEDULES)
    notifier = await bench.start(made)
    monkeypatch.setattr(notifier._people.rosters, "refresh", breaks)
    await until(lambda: tries >= 3, seconds=60)
    await bench.feed(notifier, cpu_fault()[0])
