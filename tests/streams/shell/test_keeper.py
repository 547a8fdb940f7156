"""The order in which a stage's outputs, checkpoints and commits reach the broker."""

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from streams.run import Run
from streams.shell.checkpoints import Outgoing, latest
from streams.shell.keeper import Keeper


class Sum:
    """A stage whose state is one number."""

    def __init__(self) -> None:
        self.total = 0

    def snapshot(self) -> bytes:
        return str(self.total).encode()

    def restore(self, data: bytes) -> None:
        self.total = int(data)


class Broker:
    """Notes what reaches it, in order. `acknowledge` False leaves sent records in the air."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.store: dict[bytes, bytes] = {}
        self.acknowledge = True
        self.in_the_air: list[asyncio.Future[None]] = []

    async def send(self, record: Outgoing) -> asyncio.Future[None]:
        self.log.append(f"said {record.topic}")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.acknowledge:
            future.set_result(None)
        else:
            self.in_the_air.append(future)
        return future

    async def put(self, partition: int, records: Iterable[tuple[bytes, bytes]]) -> None:
        self.log.append("checkpoint")
        self.store.update(records)

    async def commit(self, next_offsets: Mapping[str, int]) -> None:
        self.log.append(f"commit {dict(next_offsets)}")


def keeper(broker: Broker) -> Keeper[Sum]:
    return Keeper("sum", 0, Sum(), table=broker, send=broker.send, commit=broker.commit)


def run(*offsets: int) -> Run:
    none = [None] * len(offsets)
    return Run("raw", 0, offsets, [0] * len(offsets), none, none)


async def take(kept: Keeper[Sum], taken: Run, topic: str = "out") -> None:
    def body(part: Run) -> list[Outgoing]:
        kept.stage.total += sum(part.offsets)
        return [Outgoing(topic, None, None)]

    await kept.take(taken, body)


async def test_outputs_are_acknowledged_then_the_checkpoint_then_the_commit() -> None:
    broker = Broker()
    kept = keeper(broker)
    broker.acknowledge = False
    await take(kept, run(1, 2, 3))
    writing = asyncio.create_task(kept.checkpoint())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert broker.log == ["said out"]
    broker.in_the_air[0].set_result(None)
    await writing
    assert broker.log == ["said out", "checkpoint", "commit {'raw/0': 4}"]


async def test_a_refused_output_is_not_covered_by_any_checkpoint() -> None:
    broker = Broker()
    kept = keeper(broker)
    broker.acknowledge = False
    await take(kept, run(1))
    broker.in_the_air[0].set_exception(ConnectionError("broker gone"))
    with pytest.raises(ConnectionError):
        await kept.checkpoint()
    assert broker.log == ["said out"]


async def test_a_refused_output_is_not_covered_by_what_comes_after_it_either() -> None:
    broker = Broker()
    kept = keeper(broker)
    broker.acknowledge = False
    await take(kept, run(1))
    broker.in_the_air[0].set_exception(ConnectionError("broker gone"))
    with pytest.raises(ConnectionError):
        await kept.checkpoint()
    broker.acknowledge = True
    await take(kept, run(2))
    await kept.change_exactly(lambda: [Outgoing("clock", None, None)])
    await kept.close()
    assert broker.log == ["said out"]
    assert latest(0, broker.store) is None


async def test_what_was_taken_before_is_not_taken_again() -> None:
    broker = Broker()
    kept = keeper(broker)
    await take(kept, run(1, 2, 3))
    await take(kept, run(2, 3, 4, 5))
    await take(kept, run(4, 5))
    assert kept.stage.total == 1 + 2 + 3 + 4 + 5
    assert broker.log == ["said out", "said out"]


async def test_a_restored_stage_goes_on_from_its_checkpoint() -> None:
    broker = Broker()
    kept = keeper(broker)
    await take(kept, run(1, 2))
    await kept.checkpoint()
    await take(kept, run(3))

    again = keeper(broker)
    found = latest(0, broker.store)
    assert found is not None
    await again.restore(found)
    await take(again, run(1, 2, 3, 4))
    assert again.stage.total == 10


async def test_a_stage_that_starts_afresh_is_not_undone_by_an_older_checkpoint() -> None:
    broker = Broker()
    kept = keeper(broker)
    for offset in (7, 8, 9):
        await take(kept, run(offset))
        await kept.checkpoint()
    old = latest(0, broker.store)
    assert old is not None

    fresh = keeper(broker)
    fresh.begin_after(old)
    await take(fresh, run(1))
    await fresh.checkpoint()
    found = latest(0, broker.store)
    assert found is not None
    assert (found.state, found.next_offsets) == (b"1", {"raw/0": 2})


async def test_nothing_new_means_no_checkpoint() -> None:
    broker = Broker()
    kept = keeper(broker)
    await kept.checkpoint()
    await take(kept, run(1))
    await kept.checkpoint()
    await kept.checkpoint()
    assert broker.log.count("checkpoint") == 1


async def test_what_no_replay_repeats_is_in_the_checkpoint_before_it_is_said() -> None:
    broker = Broker()
    kept = keeper(broker)
    await kept.change_exactly(lambda: [Outgoing("clock", None, None)])
    assert broker.log == ["checkpoint", "commit {}", "said clock"]

    again = keeper(broker)
    found = latest(0, broker.store)
    assert found is not None
    await again.restore(found)
    assert broker.log[-1] == "said clock"
    await take(again, run(1))
    await again.checkpoint()
    found = latest(0, broker.store)
    assert found is not None
    assert found.said == ()


async def test_a_stage_that_was_cut_off_is_never_checkpointed() -> None:
    broker = Broker()
    kept = keeper(broker)

    def body(part: Run) -> list[Outgoing]:
        kept.stage.total = 99
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError):
        await kept.take(run(1), body)
    await kept.checkpoint()
    await kept.change_exactly(list)
    await take(kept, run(2))
    await kept.checkpoint()
    assert broker.log == []


async def test_a_closed_keeper_takes_and_says_nothing_more() -> None:
    broker = Broker()
    kept = keeper(broker)
    await take(kept, run(1))
    await kept.close()
    before = list(broker.log)
    await take(kept, run(2))
    await kept.change_exactly(lambda: [Outgoing("clock", None, None)])
    await kept.checkpoint()
    assert broker.log == before
    assert kept.stage.total == 1


async def test_a_state_that_takes_long_to_save_is_saved_less_often_but_always_at_the_end() -> None:
    broker, now = Broker(), 0.0

    class Large(Sum):
        def snapshot(self) -> bytes:
            nonlocal now
            now += 0.5
            return super().snapshot()

    kept: Keeper[Sum] = Keeper(
        "sum", 0, Large(), table=broker, send=broker.send, commit=broker.commit, clock=lambda: now
    )
    saved_at = []
    for second in range(31):
        now = max(now, second)
        await take(kept, run(second))
        broker.log.clear()
        await kept.checkpoint_at_leisure()
        if "checkpoint" in broker.log:
            saved_at.append(second)
    assert saved_at == [0, 11, 22]
    broker.log.clear()
    await kept.close()
    assert "checkpoint" in broker.log
