"""Who has not been confirmed within its session says nothing."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import RebalanceInProgressError

from streams.shell.connection import WorkerError
from streams.shell.consumer_thread import renew_by_heartbeats
from streams.shell.lease import Lease, LeaseLostError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """Of six seconds, confirmed just now; waiting passes time on the clock."""
    made = Lease(6, clock)
    made.renew(clock.now)
    sleep = asyncio.sleep

    async def pass_time(seconds: float) -> None:
        clock.now += seconds
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", pass_time)
    return made


async def test_it_holds_for_a_session_after_the_heartbeat_was_sent(
    lease: Lease, clock: Clock
) -> None:
    clock.now += 5.9
    assert lease.holds()
    await lease.confirmed()
    clock.now += 0.1
    assert not lease.holds()


async def test_an_answer_to_an_older_heartbeat_does_not_shorten_it(
    lease: Lease, clock: Clock
) -> None:
    lease.renew(clock.now - 5)
    clock.now += 5
    assert lease.holds()


async def test_a_late_answer_lets_go_on_who_waited_for_it(lease: Lease, clock: Clock) -> None:
    clock.now += 10
    waiting = asyncio.create_task(lease.confirmed())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    lease.renew(clock.now)
    await waiting


async def test_who_waits_is_told_when_the_partitions_are_taken_away(
    lease: Lease, clock: Clock
) -> None:
    clock.now += 10
    waiting = asyncio.create_task(lease.confirmed())
    await asyncio.sleep(0)
    lease.give_up()
    with pytest.raises(LeaseLostError):
        await waiting


async def test_partitions_that_are_given_back_in_time_are_closed_as_ever(lease: Lease) -> None:
    lease.give_up()
    await lease.confirmed()


async def test_a_new_assignment_is_a_new_confirmation(lease: Lease, clock: Clock) -> None:
    clock.now += 10
    lease.give_up()
    lease.renew(clock.now)
    await lease.confirmed()


async def test_a_coordinator_that_is_silent_for_too_long_ends_the_worker(
    lease: Lease, clock: Clock
) -> None:
    clock.now += 10
    with pytest.raises(WorkerError, match="has said nothing for 45 s"):
        await lease.confirmed()


def test_before_the_first_word_there_is_nothing_to_speak_for() -> None:
    assert Lease(6).holds()


class Coordinator:
    """Takes in answers to heartbeats as aiokafka does; what the broker answers is said here."""

    group_id, generation, member_id = "tocsin-worker", 7, "a"
    _do_heartbeat: Any = GroupCoordinator._do_heartbeat
    request_rejoin: Any = GroupCoordinator.request_rejoin

    def __init__(self) -> None:
        self._rejoin_needed_fut: asyncio.Future[None] = asyncio.Future()
        self.answer = 0

    async def _send_req(self, _request: object) -> SimpleNamespace:
        return SimpleNamespace(error_code=self.answer)


class Renewals(Lease):
    count = 0

    def renew(self, at_seconds: float) -> None:
        self.count += 1


async def test_a_heartbeat_renews_it_unless_the_group_is_rebalancing() -> None:
    coordinator, lease = Coordinator(), Renewals(6)
    renew_by_heartbeats(coordinator, lease)
    assert await coordinator._do_heartbeat()
    assert lease.count == 1
    coordinator.answer = RebalanceInProgressError.errno
    assert await coordinator._do_heartbeat(), "aiokafka goes on with its heartbeats"
    assert lease.count == 1
