"""The order in which a stage's outputs, checkpoints and commits reach the broker."""

import asyncio
from collections.abc import Iterable, Mapping

import pytest
from aiokafka.structs import RecordMetadata, TopicPartition

from streams.run import Run
from streams.shell.already import Already
from streams.shell.checkpoints import Checkpoint, Outgoing, latest
from streams.shell.keeper import Keeper
from streams.shell.lease import LeaseLostError


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
        self.topics: dict[str, list[Outgoing]] = {}
        self.store: dict[bytes, bytes] = {}
        self.acknowledge = True
        self.rebalancing = False
        self.in_the_air: list[asyncio.Future[RecordMetadata]] = []

    async def send(self, record: Outgoing) -> asyncio.Future[RecordMetadata]:
        self.log.append(f"said {record.topic}")
        future: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        written = self.topics.setdefault(record.topic, [])
        written.append(record)
        if self.acknowledge:
            offset = len(written) - 1
            place = TopicPartition(record.topic, 0)
            future.set_result(RecordMetadata(record.topic, 0, place, offset, 0, 0, 0))
        else:
            self.in_the_air.append(future)
        return future

    async def put(self, partition: int, records: Iterable[tuple[bytes, bytes]]) -> None:
        self.log.append("checkpoint")
        self.store.update(records)

    async def commit(self, next_offsets: Mapping[str, int]) -> bool:
        if self.rebalancing:
            return False
        self.log.append(f"commit {dict(next_offsets)}")
        return True


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
    await again.go_on(Already(), {})
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
    assert broker.log == ["checkpoint", "said clock"]

    again = keeper(broker)
    found = latest(0, broker.store)
    assert found is not None
    await again.restore(found)
    await again.go_on(Already(), {})
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


async def test_it_closes_once_the_broker_has_answered_what_was_said_exactly() -> None:
    """Else the next keeper would not find it on the topic, and say it again."""
    broker = Broker()
    kept = keeper(broker)
    broker.acknowledge = False
    await kept.change_exactly(lambda: [Outgoing("clock", None, None)])
    closing = asyncio.create_task(kept.close())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not closing.done()
    broker.in_the_air[0].set_exception(ConnectionError("said by the next keeper, then"))
    await closing


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


async def test_what_was_said_after_the_checkpoint_is_not_said_again() -> None:
    broker = Broker()
    kept = keeper(broker)
    await say(kept, run(1), "one")
    await kept.checkpoint()
    await say(kept, run(2), "two")  # and here it is killed
    found = checkpoint_of(broker)

    again = keeper(broker)
    await again.restore(found)
    assert again.repeats({"raw/0": 3})
    await again.go_on(standing(broker, found.said_to["out/0"]), {"out/0": 2})
    await say(again, run(2), "two")
    await say(again, run(3), "three")
    assert values(broker) == [b"one", b"two", b"three"]


async def test_what_was_said_while_a_checkpoint_was_written_counts_as_said_after_it() -> None:
    broker = Broker()
    kept = keeper(broker)
    await say(kept, run(1), "one")
    slow = asyncio.Event()
    put = broker.put

    async def put_slowly(partition: int, records: Iterable[tuple[bytes, bytes]]) -> None:
        await slow.wait()
        await put(partition, records)

    broker.put = put_slowly  # type: ignore[method-assign]
    writing = asyncio.create_task(kept.checkpoint())
    await asyncio.sleep(0)
    await say(kept, run(2), "two")
    slow.set()
    await writing
    assert checkpoint_of(broker).said_to == {"out/0": 1}


async def test_a_clock_s_words_that_stand_on_their_topic_are_not_said_after_a_restore() -> None:
    broker = Broker()
    kept = keeper(broker)
    await kept.change_exactly(lambda: [Outgoing("out", None, b"idle")])
    found = checkpoint_of(broker)

    again = keeper(broker)
    await again.restore(found)
    assert again.repeats({})
    await again.go_on(standing(broker, 0), {"out/0": 1})
    assert values(broker) == [b"idle"]


async def test_a_stage_without_a_checkpoint_notes_from_where_on_it_speaks() -> None:
    broker = Broker()
    kept = keeper(broker)
    await kept.go_on(Already(), {"out/0": 7})
    assert checkpoint_of(broker) == Checkpoint(1, b"0", {}, (), {"out/0": 7})


async def test_a_stage_that_has_read_everything_repeats_nothing() -> None:
    kept = keeper(Broker())
    await kept.restore(Checkpoint(3, b"1", {"raw/0": 4}))
    assert not kept.repeats({"raw/0": 4})
    assert kept.repeats({"raw/0": 5})


async def test_what_a_rebalance_kept_from_being_committed_is_committed_at_the_next_turn() -> None:
    broker = Broker()
    kept = keeper(broker)
    broker.rebalancing = True
    await take(kept, run(1))
    await kept.checkpoint()
    assert (kept.committed, broker.log) == ({}, ["said out", "checkpoint"])
    broker.rebalancing = False
    await kept.checkpoint()
    await kept.checkpoint()
    assert (kept.committed, broker.log[2:]) == ({"raw/0": 2}, ["commit {'raw/0': 2}"])


async def test_a_stage_whose_partition_is_taken_away_says_and_writes_nothing_more() -> None:
    broker, lost = Broker(), False

    async def confirmed() -> None:
        if lost:
            raise LeaseLostError

    kept = Keeper(
        "sum",
        0,
        Sum(),
        table=broker,
        send=broker.send,
        commit=broker.commit,
        confirmed=confirmed,
    )
    await say(kept, run(1), "one")
    lost = True
    with pytest.raises(LeaseLostError):
        await say(kept, run(2), "two")
    lost = False
    await say(kept, run(3), "three")
    await kept.close()
    assert values(broker) == [b"one"]
    assert "checkpoint" not in broker.log


async def say(kept: Keeper[Sum], taken: Run, text: str) -> None:
    await kept.take(taken, lambda _: [Outgoing("out", None, text.encode())])


def checkpoint_of(broker: Broker) -> Checkpoint:
    found = latest(0, broker.store)
    assert found is not None
    return found


def standing(broker: Broker, offset: int) -> Already:
    """What stands on the topic from an offset on."""
    already = Already()
    for record in broker.topics["out"][offset:]:
        already.add(record)
    return already


def values(broker: Broker) -> list[bytes | None]:
    return [record.value for record in broker.topics["out"]]
