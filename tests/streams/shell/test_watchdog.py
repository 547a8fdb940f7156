"""What counts as a stall, and what does not."""

from streams.shell.watchdog import (
    ANSWER_SECONDS,
    EXIT_SECONDS,
    STALL_SECONDS,
    TURN_SECONDS,
    WAIT_SECONDS,
    Guard,
    Progress,
    Watchdog,
)


def watched(
    seconds: float, *partitions: dict[str, Progress], watchdog: Watchdog | None = None
) -> Watchdog:
    """A watchdog that has seen the partitions change in turn, each second, for so long."""
    watchdog = watchdog or Watchdog()
    for second in range(int(seconds) + 1):
        watchdog.answered(float(second))
        watchdog.turn(float(second), partitions[min(second, len(partitions) - 1)])
    return watchdog


def test_a_worker_is_live_until_its_loop_stands_still() -> None:
    watchdog = Watchdog()
    assert watchdog.live(10_000.0)
    watchdog.turn(0.0, {})
    assert watchdog.live(TURN_SECONDS - 1)
    assert watchdog.stalls(TURN_SECONDS) == ["the event loop has stood still for 30 s"]


def test_one_partition_that_stands_still_is_told_however_busy_the_others_are() -> None:
    both = (
        {"raw/0": Progress(second, second, 9_000), "raw/1": Progress(7, 7, 9)}
        for second in range(100)
    )
    watchdog = watched(STALL_SECONDS, *both)
    assert watchdog.stalls(STALL_SECONDS) == ["raw/1 stands at 7 of 9 for 40 s"]


def test_a_partition_with_nothing_to_do_is_not_still() -> None:
    watchdog = watched(1000, {"raw/0": Progress(7, 7, 7)})
    assert watchdog.live(1000)


def test_standing_still_counts_from_when_there_is_something_to_do() -> None:
    done = [{"raw/0": Progress(7, 7, 7)}] * 900
    watchdog = watched(900 + STALL_SECONDS - 1, *done, {"raw/0": Progress(7, 7, 8)})
    assert watchdog.live(900 + STALL_SECONDS - 1)
    watchdog = watched(900 + STALL_SECONDS, *done, {"raw/0": Progress(7, 7, 8)})
    assert not watchdog.live(900 + STALL_SECONDS)


def test_progress_mends_it() -> None:
    watchdog = watched(STALL_SECONDS, {"raw/0": Progress(7, 7, 9)})
    watchdog.turn(STALL_SECONDS, {"raw/0": Progress(8, 7, 9)})
    assert watchdog.live(STALL_SECONDS)


def test_more_done_than_committed_is_told_when_no_commit_moves() -> None:
    moving = ({"raw/0": Progress(8 + second, 8, 9_000)} for second in range(1000))
    watchdog = watched(STALL_SECONDS + 1, *moving)
    assert watchdog.stalls(STALL_SECONDS + 1) == ["raw/0 is done to 49 and committed to 8 for 40 s"]


def test_large_states_may_take_longer_between_two_commits() -> None:
    moving = ({"raw/0": Progress(8 + second, 8, 9_000, 60.0)} for second in range(1000))
    assert watched(STALL_SECONDS + 30, *moving).live(STALL_SECONDS + 30)


def test_a_partition_of_another_worker_is_not_watched() -> None:
    watchdog = watched(STALL_SECONDS - 1, {"raw/0": Progress(7, 7, 9)})
    watchdog.turn(STALL_SECONDS, {})
    assert watchdog.live(STALL_SECONDS)


def test_a_broker_that_says_no_ends_for_long_is_told() -> None:
    watchdog = watched(10, {})
    for second in range(11, 11 + int(ANSWER_SECONDS)):
        watchdog.turn(float(second), {})
    assert watchdog.stalls(10 + ANSWER_SECONDS) == [
        "the broker has not said for 120 s where partitions end"
    ]


def test_a_restore_that_does_not_end_is_not_live_and_its_end_mends_it() -> None:
    watchdog = Watchdog()
    watchdog.turn(0.0, {})
    for second in range(10, 10 + int(WAIT_SECONDS) + 1):
        watchdog.wait(float(second))
    assert watchdog.live(10 + WAIT_SECONDS - 1)
    assert not watchdog.live(10 + WAIT_SECONDS)
    watchdog.turn(10 + WAIT_SECONDS, {})
    assert watchdog.live(10 + WAIT_SECONDS)


def test_a_restore_of_which_more_comes_may_take_long() -> None:
    watchdog = Watchdog()
    for second in range(300):
        watchdog.wait(float(second), restored=second // 40)
        assert watchdog.live(float(second))


def test_after_a_rebalance_standing_still_counts_anew() -> None:
    watchdog = watched(STALL_SECONDS - 1, {"raw/0": Progress(7, 7, 9)})
    watchdog.wait(STALL_SECONDS)
    watchdog.turn(STALL_SECONDS + 1, {"raw/0": Progress(7, 7, 9)})
    assert watchdog.live(STALL_SECONDS + 1)


def test_a_process_that_does_not_end_by_itself_is_ended_with_what_stands_still() -> None:
    stalls, now, ended = ["raw/1 stands at 7 of 9"], [100.0], list[str]()
    guard = Guard(lambda: stalls, end=ended.append, clock=lambda: now[0])
    guard.look()
    now[0] += EXIT_SECONDS - 1
    guard.look()
    assert ended == []
    now[0] += 1
    guard.look()
    assert ended == ["raw/1 stands at 7 of 9"]


def test_a_stall_that_has_passed_ends_nothing() -> None:
    stalls, now, ended = ["raw/1 stands at 7 of 9"], [100.0], list[str]()
    guard = Guard(lambda: stalls, end=ended.append, clock=lambda: now[0])
    guard.look()
    stalls.clear()
    now[0] += EXIT_SECONDS
    guard.look()
    stalls.append("raw/0 stands at 1 of 2")
    guard.look()
    assert ended == []
