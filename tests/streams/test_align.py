"""Batches of several sources come out in one order, however they arrive."""

from itertools import permutations

from msgspec.structs import replace

from schemas.observations import Observation, ObservationBatch
from streams.align import Aligner


def batch(source: str, end_ms: int, *, idle: bool = False) -> ObservationBatch:
    return ObservationBatch(source=source, shard=0, window_end_ms=end_ms, idle=idle)


def test_nothing_is_released_before_every_source_was_heard() -> None:
    aligner = Aligner[ObservationBatch](["a", "b"])
    assert aligner.add([batch("a", 10), batch("a", 20)]) == []
    released = aligner.add([batch("b", 10)])
    assert [(end, [b.source for b in held]) for end, held in released] == [(10, ["a", "b"])]


def test_order_of_arrival_between_sources_does_not_matter() -> None:
    a = [batch("a", 10), batch("a", 20), batch("a", 30)]
    b = [batch("b", 10), batch("b", 30)]
    seen = set()
    for order in set(permutations("aaabb")):
        aligner, left = Aligner[ObservationBatch](["a", "b"]), {"a": list(a), "b": list(b)}
        released = [
            (end, tuple(x.source for x in held))
            for name in order
            for end, held in aligner.add([left[name].pop(0)])
            if held
        ]
        seen.add(tuple(released))
    assert seen == {((10, ("a", "b")), (20, ("a",)), (30, ("a", "b")))}


def test_a_repeat_is_dropped_and_an_idle_source_is_not_waited_for() -> None:
    aligner = Aligner[ObservationBatch](["a", "b"])
    aligner.add([batch("a", 10), batch("b", 10, idle=True)])
    assert aligner.watermark_ms == 10
    assert aligner.add([batch("a", 10)]) == []
    aligner.add([batch("a", 40)])
    assert aligner.watermark_ms == 40
    aligner.add([batch("b", 20)])
    assert aligner.late == 0  # it said nothing, so nothing was lost
    said = Observation('m{service="s"}', "s", "gauge", 1)
    aligner.add([replace(batch("b", 30), observations=(said,))])
    assert aligner.late == 1


def test_snapshot_and_restore_change_nothing() -> None:
    one = Aligner[ObservationBatch](["a", "b"])
    one.add([batch("a", 10), batch("b", 10), batch("a", 20)])
    two = Aligner[ObservationBatch](["a", "b"])
    two.restore(one.snapshot(), ObservationBatch)
    assert two.snapshot() == one.snapshot()
    assert two.add([batch("b", 20)]) == one.add([batch("b", 20)])
