"""The same notifier on PostgreSQL."""

import pytest

from schemas.configuration import Channels, Recipient, WebhookChannel
from tests.sinks.conftest import new_database
from tests.sinks.examples import cpu_fault
from tests.sinks.notifier.conftest import TOPIC, Bench, until
from tests.sinks.notifier.receivers import receiver

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
