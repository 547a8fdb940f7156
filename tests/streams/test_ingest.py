"""Raw records become closed windows, whatever order and grouping they arrive in."""

import random
from collections.abc import Sequence
from itertools import pairwise
from math import fsum

import msgspec
import pytest
from ddsketch.mapping import LogarithmicMapping
from hypothesis import given
from hypothesis import strategies as st

from schemas.configuration import Source, Windows
from schemas.events import DeadLetter
from schemas.observations import Observation, ObservationBatch
from streams.align import Aligner
from streams.fold import MAX_TEXTS, OTHER_TEXT
from streams.ingest import NEVER_MS, Ingest, Ingested
from streams.series import series_id, shard_of
from tests.streams.raw_records import T0, event, gauge, heartbeat, log, request, run_of

WINDOWS = Windows(window_seconds=10, allowed_lateness_seconds=5)
END = heartbeat(1_000)


def new(windows: Windows = WINDOWS, shards: int = 1, *, quick: bool = True) -> Ingest:
    return Ingest(Source(topic="raw"), "raw", 3, windows, shards, quick=quick)


@pytest.fixture(autouse=True)
def _read_at_once_however_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.ingest._WORTH_RECORDS", 1)


def ends_s(batches: Sequence[ObservationBatch]) -> list[float]:
    return [(b.window_end_ms - T0) / 1000 for b in batches]


def observations(ingested: Ingested) -> list[Observation]:
    return [o for batch in ingested.batches for o in batch.observations]


def by_series(values: Sequence[bytes]) -> dict[str, Observation]:
    ingested = new().process(run_of([*values, END]))
    assert ingested.dead_letters == []
    return {o.series: o for o in observations(ingested)}


def test_a_window_closes_with_the_record_that_passes_its_end_and_lateness() -> None:
    ingest = new()
    first = ingest.process(run_of([gauge(1, 0.5), gauge(9.999, 0.7), gauge(14.999, 9)]))
    assert ends_s(first.batches) == [-10, 0]
    assert observations(first) == []
    closing = ingest.process(run_of([heartbeat(15)], first_offset=3))
    assert ends_s(closing.batches) == [10]
    (cpu,) = observations(closing)
    assert (cpu.count, cpu.sum, cpu.min, cpu.max, cpu.last) == (2, 1.2, 0.5, 0.7, 0.7)
    assert cpu.series == 'cpu_ratio{service="cart"}'


def test_every_shard_gets_a_batch_of_every_closed_window_with_data() -> None:
    ingested = new(shards=4).process(run_of([gauge(1, 1), heartbeat(15)]))
    closed = [b for b in ingested.batches if b.window_end_ms == T0 + 10_000]
    assert [b.shard for b in closed] == [0, 1, 2, 3]
    assert [bool(b.observations) for b in closed] == [s == shard_of("cart", 4) for s in range(4)]
    assert {b.source for b in closed} == {"raw/3"}


def test_a_gap_is_one_empty_batch_at_its_end() -> None:
    ingested = new().process(run_of([gauge(1, 1), gauge(108, 1), heartbeat(115)]))
    assert ends_s(ingested.batches) == [-10, 10, 100, 110]
    assert [len(b.observations) for b in ingested.batches] == [0, 1, 0, 1]


def test_a_record_for_a_closed_window_is_late_and_counted_nowhere() -> None:
    ingest = new()
    ingested = ingest.process(run_of([heartbeat(14.9), gauge(1, 1), heartbeat(15), gauge(9, 1)]))
    assert [(d.offset, d.reason, d.stage) for d in ingested.dead_letters] == [
        (3, "late", "TRANSFORMATION")
    ]
    assert [o.count for o in observations(ingested)] == [1]


def test_requests_are_counted_by_service_by_operation_and_by_caller() -> None:
    series = by_series(
        [
            request(1, 0.1, operation="Get", caller="web", status=200),
            request(2, 0.3, operation="Get", caller="app", status=503),
            request(3, 0.2, operation="Put", status=404),
        ]
    )
    counts = {s: (o.count, o.errors) for s, o in series.items() if o.kind == "requests"}
    assert counts == {
        'requests{service="cart"}': (3, 1),
        'requests{service="cart",operation="Get"}': (2, 1),
        'requests{service="cart",operation="Put"}': (1, 0),
        'requests{service="cart",caller="app"}': (1, 1),
        'requests{service="cart",caller="web"}': (1, 0),
    }
    durations = series['duration_seconds{service="cart"}']
    assert (durations.count, durations.min, durations.max) == (3, 0.1, 0.3)
    assert durations.sum == pytest.approx(0.6)
    edge = series['duration_seconds{service="cart",caller="app"}']
    assert (edge.caller, edge.operation, edge.service) == ("app", None, "cart")


def test_errors_are_unknown_where_no_status_is_recorded() -> None:
    assert by_series([request(1, 0.1)])['requests{service="cart"}'].errors is None
    some = by_series([request(1, 0.1), request(2, 0.1, status=500)])
    assert some['requests{service="cart"}'].errors == 1


def test_the_networks_share_of_an_edge_is_the_clients_time_less_the_servers_but_never_below_0() -> (
    None
):
    series = by_series(
        [
            request(1, 0.1, caller="web", client_duration_seconds=0.25),
            request(2, 0.1, caller="web", client_duration_seconds=0.05),
            request(3, 0.1, client_duration_seconds=0.5),
        ]
    )
    network = series['network_seconds{service="cart",caller="web"}']
    assert (network.count, network.min, network.max) == (2, 0, 0.15)
    assert network.sketch is not None
    assert network.sketch.zeros == 1
    assert [s for s in series if s.startswith("network")] == [network.series]


def test_counts_that_a_service_made_itself_are_added_to_its_requests() -> None:
    series = by_series([event(1, requests=90, errors=3), event(2, requests=10, errors=0)])
    assert list(series) == ['requests{service="cart"}']
    total = series['requests{service="cart"}']
    assert (total.count, total.errors) == (100, 3)


def test_like_log_lines_are_one_observation_with_the_first_as_example() -> None:
    lines = [log(1, f"order {n} failed", "error", instance="cart-1") for n in range(3)]
    ingested = new().process(run_of([*lines, log(2, "order 7 failed", "WARNING"), END]))
    error, warning = observations(ingested)
    assert (error.series, error.text) == (
        'log{service="cart",severity="ERROR"}',
        "order <*> failed",
    )
    assert (error.count, error.severity, error.example) == (3, "ERROR", "order 0 failed")
    assert (warning.count, warning.severity) == (1, "WARN")


def test_texts_beyond_the_bound_are_counted_together() -> None:
    def word(n: int) -> str:
        return "".join(chr(97 + (n // 26**i) % 26) for i in range(4))

    lines = [log(1, word(n)) for n in range(MAX_TEXTS + 50)]
    said = observations(new().process(run_of([*lines, END])))
    assert len(said) == MAX_TEXTS + 1
    assert sum(o.count for o in said) == MAX_TEXTS + 50
    assert [o.count for o in said if o.text == OTHER_TEXT] == [50]


def test_series_beyond_the_bound_are_dead_letters_and_known_ones_go_on() -> None:
    ingest = new(Windows(max_series=2))
    values = [gauge(1, 1, metric=m) for m in ("a", "b", "c", "a")]
    ingested = ingest.process(run_of([*values, END]))
    assert [(d.offset, d.reason) for d in ingested.dead_letters] == [(2, "too_many_series")]
    assert {o.series: o.count for o in observations(ingested)} == {
        'a{service="cart"}': 2,
        'b{service="cart"}': 1,
    }


def test_identities_are_escaped_as_prometheus_does() -> None:
    assert series_id("m", {"service": 'a"b\\c\nd', "x": None}) == 'm{service="a\\"b\\\\c\\nd"}'


@given(st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=300))
def test_sketches_are_those_of_the_ddsketch_library(durations: list[float]) -> None:
    mapping = LogarithmicMapping(0.01)
    said = by_series([request(1, d) for d in durations])['duration_seconds{service="cart"}']
    assert said.sketch is not None
    assert said.sum == pytest.approx(fsum(durations))
    assert sum(said.sketch.bins.values()) == said.count == len(durations)
    for duration in durations:
        near = {mapping.key(duration * (1 - 1e-12)), mapping.key(duration * (1 + 1e-12))}
        assert near & set(said.sketch.bins)
    for index in said.sketch.bins:  # relative accuracy: the value of a bin is near what is in it
        assert min(abs(mapping.value(index) / d - 1) for d in durations) <= 0.01 + 1e-9


def test_many_values_of_one_series_are_as_exact_as_few() -> None:
    rng = random.Random(4)
    values = [rng.lognormvariate(0, 1) for _ in range(1_000)]
    series = by_series([*(gauge(1, v) for v in values), *(request(2, v) for v in values)])
    for said in (series['cpu_ratio{service="cart"}'], series['duration_seconds{service="cart"}']):
        assert (said.count, said.min, said.max) == (1_000, min(values), max(values))
        assert said.sum == pytest.approx(fsum(values), rel=1e-14)
    assert series['cpu_ratio{service="cart"}'].last == max(values)  # of equal times, the greatest


def test_the_idle_clock_closes_windows_and_never_goes_back() -> None:
    ingest = new()
    ingest.process(run_of([gauge(1, 1)]))
    assert ends_s(ingest.advance(T0 + 14_999)) == [0]
    assert ends_s(ingest.advance(T0 + 15_000)) == [10]
    assert ingest.advance(T0) == []
    assert ingest.watermark_ms == T0 + 15_000


def test_an_idle_source_is_not_waited_for_until_it_speaks_again() -> None:
    aligner = Aligner[ObservationBatch](["raw/3", "other/0"])
    quiet = new()
    aligner.add([ObservationBatch(source="other/0", shard=0, window_end_ms=T0 + 10_000)])
    assert [b.window_end_ms for b in quiet.idle()] == [NEVER_MS]
    released = aligner.add(quiet.idle())
    assert [end for end, _ in released] == [T0 + 10_000]
    speaking = quiet.process(run_of([gauge(11, 1), heartbeat(36)])).batches
    assert not any(b.idle for b in speaking)
    assert [b.window_end_ms for b in quiet.idle()] == [speaking[-1].window_end_ms]


def test_a_snapshot_of_an_unknown_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 999"):
        new().restore(msgspec.msgpack.encode([999, 0, 0, 0, []]))


def test_a_snapshot_of_windows_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"windows\.window_seconds"):
        new(Windows(window_seconds=60)).restore(new().snapshot())


EVENTS = st.one_of(
    st.builds(
        gauge,
        st.integers(0, 60),
        st.floats(-1e6, 1e6),
        metric=st.sampled_from(["cpu_ratio", "queue_length"]),
        instance=st.sampled_from(["cart-1", "cart-2"]),
    ),
    st.builds(
        request,
        st.integers(0, 60),
        st.floats(0, 10),
        service=st.sampled_from(["cart", "pay"]),
        operation=st.sampled_from(["Get", "Put"]),
        caller=st.sampled_from(["web", "app", None]),
        client_duration_seconds=st.none() | st.floats(0, 10),
        status=st.sampled_from([None, 200, 500, "UNAVAILABLE"]),
    ),
    st.builds(event, st.integers(0, 60), requests=st.integers(5, 9), errors=st.integers(0, 5)),
    st.builds(log, st.integers(0, 60), st.sampled_from(["order 1", "order 2", "gone"])),
    st.builds(heartbeat, st.integers(0, 60)),
    st.sampled_from([None, b"", b"{", b"[]", b'{"time":1}']),
)
STREAMS = st.lists(EVENTS, max_size=60)
CUTS = st.lists(st.integers(0, 60), max_size=6)


def said_in_runs(
    values: Sequence[bytes | None], cuts: Sequence[int], *, restart: bool = False
) -> tuple[list[ObservationBatch], list[DeadLetter]]:
    """What is said of `values` in runs that end at `cuts`, with a restart after each on demand."""
    ingest, batches, dead_letters = new(shards=3), [], []
    bounds = sorted({0, *(c for c in cuts if c < len(values)), len(values)})
    for start, end in pairwise(bounds):
        ingested = ingest.process(run_of(values[start:end], start))
        batches += ingested.batches
        dead_letters += ingested.dead_letters
        if restart:
            data = ingest.snapshot()
            ingest = new(shards=3)
            ingest.restore(data)
            assert ingest.snapshot() == data
    return batches + ingest.advance(T0 + 1_000_000), dead_letters


@given(STREAMS, CUTS)
def test_any_split_into_runs_says_the_same(values: list[bytes | None], cuts: list[int]) -> None:
    assert said_in_runs(values, cuts) == said_in_runs(values, [])


@given(STREAMS, CUTS)
def test_records_taken_one_by_one_and_many_at_once_say_the_same(
    values: list[bytes | None], cuts: list[int]
) -> None:
    cuts = sorted({min(cut, len(values)) for cut in cuts})
    together, one_by_one = new(), new(quick=False)
    for a, b in pairwise([0, *cuts, len(values)]):
        quick = together.process(run_of(values[a:b], a))
        careful = one_by_one.process(run_of(values[a:b], a))
        assert careful == quick
        assert one_by_one.snapshot() == together.snapshot()


@given(STREAMS, CUTS)
def test_a_restart_from_a_snapshot_changes_nothing(
    values: list[bytes | None], cuts: list[int]
) -> None:
    again = said_in_runs(values, cuts, restart=True)
    assert msgspec.json.encode(again) == msgspec.json.encode(said_in_runs(values, []))


def test_sums_of_many_values_do_not_depend_on_where_runs_and_restarts_fell() -> None:
    values = [gauge(1 + n / 100, 0.1 * n) for n in range(300)]
    values += [request(2, 1 / (n + 1), caller="web", client_duration_seconds=1) for n in range(300)]
    cuts = [1, 63, 64, 65, 130, 201, 299, 301, 380, 555]
    again = said_in_runs(values, cuts, restart=True)
    assert msgspec.json.encode(again) == msgspec.json.encode(said_in_runs(values, []))


@given(STREAMS, st.randoms(use_true_random=False))
def test_order_within_the_lateness_does_not_matter(
    values: list[bytes | None], rng: random.Random
) -> None:
    windows = Windows(window_seconds=10, allowed_lateness_seconds=60)
    shuffled = list(values)
    rng.shuffle(shuffled)
    said = []
    for order in (values, shuffled):
        ingest = new(windows)
        ingested = ingest.process(run_of([heartbeat(0), *order]))
        assert {d.reason for d in ingested.dead_letters} <= {
            "empty", "not_json", "not_an_object", "out_of_range",
        }  # fmt: skip
        closed = [b for b in ingested.batches if b.observations] + ingest.advance(T0 + 1_000_000)
        said.append(closed)
    assert without_examples(said[0]) == without_examples(said[1])


def without_examples(batches: Sequence[ObservationBatch]) -> list[tuple[object, ...]]:
    """Of lines of equal time the first that came is the example, so that is left aside."""
    return [
        (b.window_end_ms, b.shard, msgspec.structs.replace(o, example=None))
        for b in batches
        for o in b.observations
    ]


@given(STREAMS, CUTS)
def test_batches_are_marks_of_progress_in_order_and_nothing_is_lost(
    values: list[bytes | None], cuts: list[int]
) -> None:
    batches, dead_letters = said_in_runs(values, cuts)
    ends = [b.window_end_ms for b in batches if b.shard == 0]
    assert ends == sorted(set(ends))
    assert len({b.id for b in batches}) == len(batches) == 3 * len(ends)
    assert all(o.series.count('service="') == 1 for b in batches for o in b.observations)
    dead = {letter.offset for letter in dead_letters}
    gauges = [i for i, v in enumerate(values) if v and b'"metric"' in v and i not in dead]
    counted = [o.count for b in batches for o in b.observations if o.kind == "gauge"]
    assert sum(counted) == len(gauges)
