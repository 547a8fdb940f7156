"""Idle sources, by a clock that is passed in."""

from streams.shell.clock import IdleClock
from streams.shell.watchdog import PROGRESS_SECONDS, RESTORE_SECONDS, TURN_SECONDS, Watchdog

WATERMARK_MS = 1_700_000_003_000


def clock() -> IdleClock:
    return IdleClock(timeout_seconds=30, window_ms=10_000, lateness_ms=5_000)


def test_a_source_is_idle_once_when_its_time_out_is_over() -> None:
    idle = clock()
    idle.heard("raw/0", 100.0)
    assert not idle.newly_idle("raw/0", WATERMARK_MS, 129.9)
    assert idle.newly_idle("raw/0", WATERMARK_MS, 130.0)
    assert not idle.newly_idle("raw/0", WATERMARK_MS, 131.0)


def test_a_source_that_speaks_again_can_become_idle_again() -> None:
    idle = clock()
    idle.heard("raw/0", 100.0)
    idle.newly_idle("raw/0", WATERMARK_MS, 130.0)
    idle.heard("raw/0", 140.0)
    assert not idle.newly_idle("raw/0", WATERMARK_MS, 169.0)
    assert idle.newly_idle("raw/0", WATERMARK_MS, 170.0)


def test_event_time_goes_on_with_the_wall_clock_only_while_all_are_idle() -> None:
    idle = clock()
    idle.heard("raw/0", 100.0)
    idle.heard("raw/1", 125.0)
    idle.newly_idle("raw/0", WATERMARK_MS, 130.0)
    assert idle.advance_to_ms("raw/0", 150.0) is None
    idle.newly_idle("raw/1", WATERMARK_MS, 155.0)
    # 55 s after 3 s past a full ten: 58 s, and windows can be closed at 55 s.
    assert idle.advance_to_ms("raw/0", 155.0) == WATERMARK_MS + 52_000
    assert idle.advance_to_ms("raw/0", 161.0) is None
    assert idle.advance_to_ms("raw/0", 162.0) == WATERMARK_MS + 62_000


def test_a_source_that_was_never_heard_has_no_event_time_to_go_on() -> None:
    idle = clock()
    idle.heard("raw/0", 100.0)
    assert idle.newly_idle("raw/0", -1, 130.0)
    assert idle.advance_to_ms("raw/0", 500.0) is None


def test_a_source_of_another_worker_is_not_waited_for() -> None:
    idle = clock()
    idle.heard("raw/0", 100.0)
    idle.heard("raw/1", 130.0)
    idle.newly_idle("raw/0", WATERMARK_MS, 130.0)
    idle.remove("raw/1")
    assert idle.advance_to_ms("raw/0", 140.0) is not None


def test_a_worker_is_live_until_its_loop_stands_still() -> None:
    watchdog = Watchdog()
    assert watchdog.live(10_000.0)
    watchdog.turn(0.0, lag_records=0, processed_records=0)
    assert watchdog.live(TURN_SECONDS - 1)
    assert not watchdog.live(TURN_SECONDS)


def test_lag_without_progress_is_not_live_and_progress_mends_it() -> None:
    watchdog = Watchdog()
    for second in range(int(PROGRESS_SECONDS) + 1):
        watchdog.turn(float(second), lag_records=5, processed_records=100)
    assert not watchdog.live(PROGRESS_SECONDS)
    watchdog.turn(PROGRESS_SECONDS, lag_records=5, processed_records=101)
    assert watchdog.live(PROGRESS_SECONDS)


def test_nothing_to_do_is_live_for_ever() -> None:
    watchdog = Watchdog()
    for second in range(0, 1000, 10):
        watchdog.turn(float(second), lag_records=0, processed_records=100)
    assert watchdog.live(999.0)


def test_a_restore_that_does_not_end_is_not_live_and_its_end_mends_it() -> None:
    watchdog = Watchdog()
    watchdog.turn(0.0, lag_records=0, processed_records=0)
    for second in range(10, 10 + int(RESTORE_SECONDS) + 1):
        watchdog.wait(float(second))
    assert watchdog.live(10 + RESTORE_SECONDS - 1)
    assert not watchdog.live(10 + RESTORE_SECONDS)
    watchdog.turn(10 + RESTORE_SECONDS, lag_records=0, processed_records=0)
    assert watchdog.live(10 + RESTORE_SECONDS)
