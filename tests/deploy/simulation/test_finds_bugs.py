"""What the simulation is worth: mistakes that are easily made, and whether it finds them.

Each is made in a subclass, put in the product's place; some seed must then fail.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from deploy.consume import SinkConsumer
from deploy.simulation.plan import Plan, plan_of
from deploy.simulation.seeds import attempt
from sinks.notifier.channels.channel import Channel, Receipt
from sinks.notifier.outbox import Entry
from sinks.notifier.sender import Sender
from streams.run import Run
from streams.shell.already import Already
from streams.shell.checkpoints import Checkpoint, Outgoing
from streams.shell.keeper import Keeper, S
from streams.shell.pipeline import Pipeline

SEEDS = range(1000)
IN_PEACE = Plan(seed=0, story=0, workers=1, is_whole=False, disturbances=())


class ReadsAgain(Keeper[S]):
    """Reads the last record again, once restored, that the state holds already."""

    async def restore(self, checkpoint: Checkpoint) -> None:
        before = {source: max(0, end - 1) for source, end in checkpoint.next_offsets.items()}
        await super().restore(replace(checkpoint, next_offsets=before))


class SavesUnheard(Keeper[S]):
    """Saves a state before what was said of it is acknowledged."""

    async def checkpoint(self) -> None:
        async with self._checkpointing, self._lock:
            if not (self._cut_off or self._closed) and self._changed:
                under_way, self._under_way = self._under_way, []
                await self._write(self._take())
                await asyncio.gather(*under_way)


class TakesTwice(Keeper[S]):
    """Takes in whatever comes, whether the state holds it or not."""

    def _unread(self, run: Run) -> Run:
        return run


class SpeaksBeforeSaving(Keeper[S]):
    """Says what no replay would say again, and only then saves it."""

    async def change_exactly(self, change: Callable[[], list[Outgoing]]) -> None:
        async with self._checkpointing, self._lock:
            if not (self._cut_off or self._closed):
                await self.say(change())
                await self._settle()
                await self._write(self._take())


class ForgetsToSay(Keeper[S]):
    """Does not say again, once restored, what no replay would say."""

    async def restore(self, checkpoint: Checkpoint) -> None:
        await super().restore(replace(checkpoint, said=()))


KEEPERS = (
    ReadsAgain,
    SavesUnheard,
    TakesTwice,
    SpeaksBeforeSaving,
    ForgetsToSay,
)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("keeper", KEEPERS)
def test_a_keeper_with_a_mistake_is_found(
    keeper: type[Keeper[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.shell.pipeline.Keeper", keeper)
    assert not attempt(IN_PEACE).violations, "it cannot even work in peace"
    assert found()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_is_said_twice_after_a_restart_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Already, "take", lambda *_: False)
    assert found()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_command_that_overtakes_a_replay_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(*_: object) -> None:
        """It should wait."""

    monkeypatch.setattr(Pipeline, "_until_replayed", at_once)
    assert found()


class NotesBeforeItSends(Sender):
    """Marks a message as sent, and sends it afterwards."""

    async def attempt(self, name: str, channel: Channel, entry: Entry) -> None:
        await self._sent(name, entry, Receipt())
        try:
            await self._send(channel, entry)
        except Exception as error:
            await self._failed(name, entry, error)  # type: ignore[arg-type]
        self._on_delivery()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_message_that_is_noted_before_it_is_sent_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sinks.notifier.notifier.Sender", NotesBeforeItSends)
    assert found(is_whole)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_batch_that_is_lost_as_partitions_change_hands_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SinkConsumer, "_go_back", lambda *_: None)
    assert found(is_whole)


def is_whole(plan: Plan) -> bool:
    """Whether the sinks are there."""
    return plan.is_whole


def found(matters: Callable[[Plan], bool] = lambda _: True) -> list[str]:
    """What is violated with the first seed with which anything is; nothing if all is well."""
    for plan in filter(matters, map(plan_of, SEEDS)):
        if violations := attempt(plan).violations:
            print(f"seed {plan.seed}: {violations[0]}")
            return list(violations)
    return []
