"""Idle sources, by a clock that is passed in."""

from schemas.configuration import Source, Windows
from schemas.observations import ObservationBatch
from streams.align import Aligner
from streams.ingest import Ingest
from streams.run import Run
from streams.shell.clock import IdleClock

START_MS = 1_700_000_000_000
WATERMARK_MS = START_MS + 3_000


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
    idle.advance_to_ms("raw/0", 130.0)
    assert idle.advance_to_ms("raw/0", 150.0) is None
    idle.newly_idle("raw/1", WATERMARK_MS, 155.0)
    # 55 s after 3 s past a full ten: 58 s, and windows can be closed at 55 s.
    assert idle.advance_to_ms("raw/0", 155.0) == WATERMARK_MS + 52_000
    assert idle.advance_to_ms("raw/0", 161.0) is None
    assert idle.advance_to_ms("raw/0", 162.0) == WATERMARK_MS + 62_000


def test_a_source_that_falls_idle_while_others_go_on_closes_what_it_has_begun() -> None:
    idle = clock()
    idle.heard("raw/0", 100.0)
    idle.heard("raw/1", 125.0)
    assert idle.advance_to_ms("raw/0", 129.0) is None
    assert idle.newly_idle("raw/0", WATERMARK_MS, 130.0)
    # The window that holds the watermark ends 7 s after it, and is closed 5 s later.
    assert idle.advance_to_ms("raw/0", 130.0) == WATERMARK_MS + 12_000


def test_a_source_is_not_idle_before_its_windows_can_be_closed() -> None:
    idle = IdleClock(timeout_seconds=1, window_ms=10_000, lateness_ms=5_000)
    idle.heard("raw/0", 100.0)
    assert not idle.newly_idle("raw/0", WATERMARK_MS, 114.9)
    assert idle.newly_idle("raw/0", WATERMARK_MS, 115.0)


def test_what_a_source_says_rarely_is_not_overtaken_by_those_that_speak_often() -> None:
    windows = Windows(window_seconds=10, allowed_lateness_seconds=5, idle_timeout_seconds=30)
    idle = clock()
    stages = {f"raw/{n}": Ingest(Source(topic="raw"), "raw", n, windows, 1) for n in (0, 1)}
    pace_seconds = {"raw/0": 60, "raw/1": 5}
    aligner = Aligner[ObservationBatch](stages)
    counted = dict.fromkeys(stages, 0)
    for source in stages:
        idle.heard(source, 0.0)
    for second in range(301):
        said: list[ObservationBatch] = []
        for source, stage in stages.items():
            if second % pace_seconds[source] == 0:
                said += stage.process(sample(source, START_MS + second * 1000)).batches
                idle.heard(source, float(second))
            is_new = idle.newly_idle(source, stage.watermark_ms, float(second))
            to_ms = idle.advance_to_ms(source, float(second))
            said += stage.advance(to_ms) if to_ms is not None else []
            said += stage.idle() if is_new or to_ms is not None else []
        for _, held in aligner.add(said):
            for batch in held:
                counted[batch.source] += sum(o.count for o in batch.observations)
    assert counted["raw/0"] == 5  # at 0, 60, 120, 180 and 240 s; the last window is still open
    assert aligner.late == 0


def sample(source: str, time_ms: int) -> Run:
    value = b'{"time": %d, "service": "cart", "metric": "m", "value": 1}' % time_ms
    topic, _, partition = source.partition("/")
    return Run(topic, int(partition), [time_ms], [time_ms], [None], [value])


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


def test_while_the_broker_says_nothing_no_quiet_passes_and_it_counts_anew_after_that() -> None:
    idle = clock()
    idle.heard("raw/0", 100.0)
    for second in range(101, 130):
        idle.seen("raw/0", float(second))
    assert not idle.newly_idle("raw/0", WATERMARK_MS, 129.0)
    for second in range(190, 220):  # away for a minute
        idle.seen("raw/0", float(second))
        assert not idle.newly_idle("raw/0", WATERMARK_MS, float(second))
    idle.seen("raw/0", 220.0)
    assert idle.newly_idle("raw/0", WATERMARK_MS, 220.0)


def test_a_source_that_was_idle_before_the_broker_was_away_must_become_so_again() -> None:
    idle = clock()
    idle.heard("raw/0", 100.0)
    assert idle.newly_idle("raw/0", WATERMARK_MS, 130.0)
    idle.seen("raw/0", 190.0)
    assert idle.advance_to_ms("raw/0", 190.0) is None
    assert not idle.newly_idle("raw/0", WATERMARK_MS, 219.0)
    assert idle.newly_idle("raw/0", WATERMARK_MS, 220.0)


def test_a_slow_broker_s_words_in_between_are_enough() -> None:
    idle = clock()
    idle.heard("raw/0", 100.0)
    for second in range(106, 136, 6):
        idle.seen("raw/0", float(second))
    assert idle.newly_idle("raw/0", WATERMARK_MS, 130.0)
