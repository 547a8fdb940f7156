"""Each fault by itself, on several stories: what comes out is what would have come without it."""

import pytest

from deploy.simulation.plan import Disturbance, Plan
from deploy.simulation.seeds import attempt
from deploy.simulation.story import STORIES


def violations(*disturbances: Disturbance, is_whole: bool = False) -> list[str]:
    """Of a few stories, with two workers."""
    return [
        f"story {number}: {violation}"
        for number in range(2 if is_whole else 4)
        for violation in attempt(
            Plan(number, number % STORIES, 2, is_whole, disturbances)
        ).violations
    ]


@pytest.mark.parametrize("step", [1, 5, 25, 125])
def test_a_worker_is_killed(step: int) -> None:
    assert not violations(
        Disturbance("kill", 9.0, whom="worker 0", step=step),
        Disturbance("kill", 17.0, whom="worker 1", step=step),
    )


def test_a_worker_is_stopped_by_a_signal() -> None:
    assert not violations(
        Disturbance("stop", 9.0, whom="worker 0"), Disturbance("stop", 17.0, whom="worker 1")
    )


def test_a_worker_joins_and_leaves() -> None:
    assert not violations(
        Disturbance("join", 8.0, whom="the group"), Disturbance("stop", 20.0, whom="worker 2")
    )


def test_a_worker_joins_and_crashes() -> None:
    assert not violations(
        Disturbance("join", 8.0, whom="the group"),
        Disturbance("kill", 20.0, whom="worker 2", step=9),
    )


def test_partitions_are_handed_out_again_and_again() -> None:
    assert not violations(
        *(Disturbance("rebalance", at, whom="the group") for at in (6.0, 6.5, 13.0, 25.0))
    )


def test_a_worker_stands_still_for_longer_than_its_session() -> None:
    assert not violations(Disturbance("freeze", 9.0, 11.0, "worker 0"))


def test_the_broker_restarts() -> None:
    """It is away for a while, and who had written before does not hear that it was taken."""
    assert not violations(
        Disturbance("unsure", 8.9, 0.2, "the broker"), Disturbance("away", 9.0, 8.0, "the broker")
    )


def test_the_broker_is_away_for_a_minute() -> None:
    assert not violations(Disturbance("away", 9.0, 60.0, "the broker"))


def test_the_broker_takes_five_seconds_for_everything() -> None:
    assert not violations(Disturbance("slow", 9.0, 20.0, "the broker"))


@pytest.mark.parametrize("sink", ["notifier", "case-store", "status-page"])
def test_the_disk_of_a_sink_is_full(sink: str) -> None:
    assert not violations(Disturbance("full", 9.0, 20.0, sink), is_whole=True)


@pytest.mark.parametrize("sink", ["notifier", "case-store", "status-page"])
def test_a_sink_is_killed(sink: str) -> None:
    assert not violations(
        *(Disturbance("kill", at, whom=sink, step=step) for at, step in ((9, 1), (15, 9))),
        is_whole=True,
    )


def test_a_receiver_is_down_for_minutes() -> None:
    assert not violations(Disturbance("deaf", 9.0, 400.0, "pager"), is_whole=True)
