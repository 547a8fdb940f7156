"""What is left out under overload: named in the windows, and never taken for silence."""

import json
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest

from schemas.anomalies import AnomalyBatch
from schemas.configuration import Catalogue, Detection, Fields, Service, Source, Windows
from schemas.observations import ObservationBatch
from streams.detect import Detect
from streams.ingest import Ingest
from streams.run import Run
from streams.shed import ShedIngest

START_MS = 1_767_225_600_000
WINDOWS = Windows()
TIERS = {"pay": 1, "cart": 2, "blog": 4}
SERVICES = ("pay", "cart", "blog", "unlisted")


def lines(from_s: int, to_s: int, without: Sequence[str] = ()) -> list[bytes]:
    """A gauge and a request of each service every two seconds."""
    return [
        json.dumps({"time": START_MS + s * 1000, "service": service, **fields}).encode()
        for s in range(from_s, to_s, 2)
        for service in SERVICES
        if service not in without
        for fields in (
            {"metric": "load_ratio", "value": 0.3 + 0.01 * (s % 7), "instance": f"{service}-0"},
            {"duration_seconds": 0.05, "status": 200, "operation": "GET /"},
        )
    ]


def run(values: Sequence[bytes], offset: int = 0) -> Run:
    n = len(values)
    return Run("raw", 0, range(offset, offset + n), [-1] * n, [None] * n, list(values))


def stage(source: Source = Source(topic="raw")) -> ShedIngest:  # noqa: B008
    return ShedIngest(Ingest(source, "raw", 0, WINDOWS, 1), source, WINDOWS, TIERS)


def services(batch: ObservationBatch) -> set[str]:
    return {o.service for o in batch.observations}


def by_end(batches: Sequence[ObservationBatch]) -> dict[int, tuple[int | None, set[str]]]:
    """What was shed of each window and whose observations it has, by its end in seconds."""
    return {(b.window_end_ms - START_MS) // 1000: (b.shed_tier, services(b)) for b in batches}


def test_without_overload_everything_is_as_the_stage_itself_says() -> None:
    plain = Ingest(Source(topic="raw"), "raw", 0, WINDOWS, 1)
    values = [*lines(0, 60), b"{broken", *lines(60, 90)]
    assert stage().process(run(values)) == plain.process(run(values))


def test_what_is_less_critical_is_left_out_of_every_window_that_says_so() -> None:
    valve = stage()
    batches = valve.process(run(lines(0, 34))).batches
    valve.read_up_to(2)
    batches += valve.process(run(lines(34, 70))).batches
    valve.read_up_to(None)
    batches += valve.process(run(lines(70, 110))).batches
    found = by_end(batches)
    whole, critical = set(SERVICES), {"pay", "cart"}
    assert found[20] == (None, whole)
    # Two windows were open when it began, and two when it ended: each has a part of all.
    assert [end for end, (tier, _) in found.items() if tier == 2] == [30, 40, 50, 60, 70]
    assert all(found[end][1] == critical for end in (50, 60, 70))
    assert found[80] == found[100] == (None, whole)
    assert valve.shed == {4: 36, 3: 36}


def test_the_more_is_left_out_the_earlier_it_is_said() -> None:
    valve = stage()
    valve.process(run(lines(0, 30)))
    valve.read_up_to(3)
    valve.read_up_to(1)
    batches = valve.process(run(lines(30, 70))).batches
    assert {tier for tier, _ in by_end(batches).values()} == {1}
    assert services(batches[-1]) == {"pay"}


@pytest.mark.parametrize("cuts", [(), (1, 2, 3), (50, 51), tuple(range(1, 300, 7))])
def test_how_records_are_cut_into_runs_does_not_matter(cuts: tuple[int, ...]) -> None:
    values = [*lines(0, 60), *lines(60, 100, without=("pay", "cart"))]

    def said(at: tuple[int, ...]) -> bytes:
        valve, batches = stage(), []
        valve.read_up_to(2)
        for start, end in pairwise((0, *at, len(values))):
            batches += valve.process(run(values[start:end], start)).batches
        return msgspec.json.encode(batches)

    assert said(cuts) == said(())


def test_the_time_of_what_is_left_out_closes_windows() -> None:
    valve = stage()
    valve.process(run(lines(0, 30)))
    valve.read_up_to(1)
    batches = valve.process(run(lines(30, 60, without=("pay",)))).batches
    assert max(by_end(batches)) == 50


def test_a_bad_record_is_a_dead_letter_also_under_overload() -> None:
    valve = stage()
    valve.read_up_to(1)
    bad = [b"{broken", json.dumps({"time": -5, "service": "blog", "metric": "m"}).encode()]
    assert [letter.offset for letter in valve.process(run(bad)).dead_letters] == [0, 1]


def test_fields_of_ones_own_are_understood_under_overload() -> None:
    source = Source(topic="raw", fields=Fields(service="app", time="at"))
    valve = stage(source)
    valve.read_up_to(2)
    values = [
        json.dumps({"at": START_MS + s * 1000, "app": app, "metric": "m", "value": 1}).encode()
        for s in range(40)
        for app in ("pay", "blog")
    ]
    batches = valve.process(run(values)).batches
    assert {service for batch in batches for service in services(batch)} == {"pay"}


def test_a_restart_goes_on_leaving_out_what_was_left_out() -> None:
    valve = stage()
    valve.process(run(lines(0, 34)))
    valve.read_up_to(2)
    valve.process(run(lines(34, 46)))
    again = stage()
    again.restore(valve.snapshot())
    assert again.most_tier == 2
    assert again.process(run(lines(46, 80))) == valve.process(run(lines(46, 80)))
    assert again.snapshot() == valve.snapshot()


def test_a_state_of_the_release_before_is_taken_over() -> None:
    plain = Ingest(Source(topic="raw"), "raw", 0, WINDOWS, 1)
    plain.process(run(lines(0, 34)))
    valve = stage()
    valve.restore(plain.snapshot())
    assert valve.process(run(lines(34, 80))) == plain.process(run(lines(34, 80)))


# -- detection ---------------------------------------------------------------------------------

MINUTES = 45
SHED_FROM, SHED_TO = 40 * 60, 43 * 60


def detected(*, marked: bool) -> list[AnomalyBatch]:
    """Three quarters of an hour with three minutes of shedding before the end."""
    detect = Detect(
        0,
        ["raw/0"],
        WINDOWS,
        Detection(),
        Catalogue(services=tuple(Service(name=n, tier=t) for n, t in TIERS.items())),
    )
    valve, said = stage(), []
    for start in range(0, MINUTES * 60, 10):
        if start == SHED_FROM:
            valve.read_up_to(2)
        if start == SHED_TO:
            valve.read_up_to(None)
        batches = valve.process(run(lines(start, start + 10))).batches
        if not marked:
            batches = [msgspec.structs.replace(b, shed_tier=None) for b in batches]
        said += detect.process(batches)
    return said


def kinds(said: Sequence[AnomalyBatch]) -> set[tuple[str, str]]:
    return {(a.service, a.kind) for batch in said for a in batch.anomalies}


def test_what_was_left_out_is_not_taken_for_silence_or_for_lost_traffic() -> None:
    found = kinds(detected(marked=False))
    assert {("blog", "silence"), ("unlisted", "silence")} <= found
    assert kinds(detected(marked=True)) == set()
