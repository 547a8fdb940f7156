"""The same notifier on PostgreSQL."""

import msgspec
import pytest

from schemas.configuration import Channels, Recipient, Route, WebhookChannel
from schemas.oncall import Escalation, Hours, MessageLimit, QuietHours, Step
from sinks.sink import Record
from tests.sinks.conftest import new_database
from tests.sinks.examples import cpu_fault, cpu_incident, event
from tests.sinks.notifier.conftest import NOW_MS, TOPIC, Bench, until
from tests.sinks.notifier.receivers import receiver
from tests.sinks.notifier.test_silences import TOPIC as SILENCES
from tests.sinks.notifier.test_silences import ended, ending

pytestmark = pytest.mark.postgres


@pytest.fixture
def store(postgres_url: str) -> str:
    """A database of this test's own."""
    return new_database(postgres_url, "notifier")


async def test_a_life_is_told_over_a_restart_with_threads_and_retries(
    bench: Bench, store: str
) -> None:
    async with receiver() as hook:
        hook.script = [500]
        bench.store = store
        configuration = bench.configuration(
            channels=Channels(webhooks={"desk": WebhookChannel(url=hook.url)}),
            recipients=(Recipient(name="desk", channel="webhook:desk"),),
        )
        notifier = await bench.start(configuration)
        await bench.feed(notifier, *cpu_fault())
        await until(lambda: bench.kafka.deliveries("failed"))
        await notifier.stop()
        bench._running.clear()
        again = await bench.start(configuration)
        assert await again.positions() == {(TOPIC, 0): 4}
        bench.clock.advance(2)
        again.wake()
        await until(lambda: len(bench.kafka.deliveries("sent")) == 3)
        assert len(set(hook.ids)) == 3
        assert len(hook.ids) == 4


async def test_pages_digests_and_promises_come_by_their_timers(bench: Bench, store: str) -> None:
    bench.store = store
    people = (
        Recipient(name="ada", channel="console"),
        Recipient(name="grace", channel="console"),
        Recipient(name="desk", channel="console", audience="support"),
    )
    policy = Escalation(
        name="shop", steps=(Step(notify=("ada",)), Step(notify=("grace",), after_minutes=10))
    )
    routes = (
        Route(name="pages", severities=("P1",), escalation="shop"),
        Route(name="desk", recipients=("desk",)),
    )
    notifier = await bench.start(
        bench.configuration(
            recipients=people,
            routes=routes,
            escalations=(policy,),
            limit=MessageLimit(messages=4, per_seconds=300),
        )
    )
    await bench.feed(notifier, event(cpu_incident(id="inc-worst", severity="P1"), "opened"))
    for number in range(6):
        incident = cpu_incident(id=f"inc-{number}", severity="P3")
        await bench.feed(notifier, event(incident, "opened"))
    await until(lambda: "ada" in told(bench), "the first page")
    for seconds in (60, 540, 900):
        bench.clock.advance(seconds)
        notifier.wake()
        await until(lambda: "grace" in told(bench) or bench.clock.now_ms < NOW_MS + 600_000)
    await until(lambda: told(bench).count("desk") >= 7, "the digest")
    await until(lambda: "cadence" in {made.rule for made in bench.kafka.deliveries()}, "reminder")


def told(bench: Bench) -> list[str]:
    return [made.recipient for made in bench.kafka.deliveries("sent")]


async def test_of_a_silence_its_latest_end_waits_once_for_the_morning(
    bench: Bench, store: str
) -> None:
    bench.store = store
    quiet = QuietHours(hours=(Hours(start="00:00", until="23:00"),), severities=("P1",))
    ada = Recipient(name="ada", channel="console", quiet_hours=quiet)
    notifier = await bench.start(bench.configuration(recipients=(ada,)))
    events = (ending(), ending(), ended(), ended())
    values = [msgspec.json.encode(event) for event in events]
    records = [Record(SILENCES, 0, n, NOW_MS, b"s", value) for n, value in enumerate(values)]
    await notifier.apply(records)
    await until(lambda: len(bench.kafka.deliveries("held")) == 2)
    await until(lambda: len(bench.kafka.deliveries("withheld")) == 1)
    (overtaken,) = bench.kafka.deliveries("withheld")
    assert "/ending/" in overtaken.event_id
