"""What must always hold of the incident stage, whatever comes."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.anomalies import Anomaly, AnomalyBatch
from schemas.incidents import IncidentEvent
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import anomaly, as_bytes, batches, stage

SERVICES = ("web", "cart", "store", "search", "mail", "smtp", "alone")
UNTIL = 4_000

anomalies = st.lists(
    st.builds(
        anomaly,
        st.sampled_from(SERVICES),
        st.sampled_from(("saturation", "latency", "level", "network", "silence")),
        st.integers(0, 350).map(lambda tick: tick * 10),
        score=st.floats(6, 40),
        opens=st.booleans(),
    ),
    max_size=40,
    unique_by=lambda a: a.id,
)


def run(made: IncidentStage, given_batches: Sequence[AnomalyBatch], cuts: Sequence[int]) -> bytes:
    events: list[IncidentEvent] = []
    edges = [0, *sorted(cuts), len(given_batches)]
    for start, end in pairwise(edges):
        events += made.process(given_batches[start:end])
    return as_bytes(events)


@given(anomalies, st.lists(st.integers(0, 40), max_size=6))
@settings(max_examples=60, deadline=None)
def test_how_the_input_is_batched_does_not_matter(found: list[Anomaly], cuts: list[int]) -> None:
    whole = batches(found, until=UNTIL)
    inside = [min(cut, len(whole)) for cut in cuts]
    assert run(stage(), whole, []) == run(stage(), whole, inside)


@given(anomalies, st.sets(st.integers(0, UNTIL // 10), max_size=10))
@settings(max_examples=60, deadline=None)
def test_batches_that_hold_nothing_change_nothing(found: list[Anomaly], extra: set[int]) -> None:
    whole = batches(found, until=UNTIL)
    ends = {batch.window_end_ms for batch in whole}
    first = whole[0]
    more = [
        AnomalyBatch(source=first.source, window_end_ms=first.window_end_ms + tick * 10_000)
        for tick in sorted(extra)
    ]
    more = [batch for batch in more if batch.window_end_ms not in ends]
    padded = sorted([*whole, *more], key=lambda batch: batch.window_end_ms)
    assert run(stage(), whole, []) == run(stage(), padded, [])


@given(anomalies, st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_snapshot_and_restore_change_nothing(found: list[Anomaly], cut: int) -> None:
    whole = batches(found, until=UNTIL)
    straight = stage()
    expected = [*straight.process(whole[:cut]), *straight.process(whole[cut:])]
    first, second = stage(), stage()
    before = first.process(whole[:cut])
    second.restore(first.snapshot())
    assert second.snapshot() == first.snapshot()
    after = second.process(whole[cut:])
    assert as_bytes([*before, *after]) == as_bytes(expected)
    assert second.snapshot() == straight.snapshot()


@given(anomalies)
@settings(max_examples=100, deadline=None)
def test_every_anomaly_belongs_to_one_incident_or_to_one_reason_for_none(
    found: list[Anomaly],
) -> None:
    made = stage()
    events = made.process(batches(found, until=UNTIL))
    last = {event.incident_id: event.incident for event in events}
    shown = {(s.series, s.kind) for incident in last.values() for s in incident.signals}
    assert made.taken + sum(made.left_out.values()) + made.waiting == len(found)
    assert shown <= {(a.series, a.kind) for a in found}
    assert bool(made.taken) == bool(shown)


@given(anomalies)
@settings(max_examples=100, deadline=None)
def test_every_log_counts_without_gaps_and_never_goes_back(found: list[Anomaly]) -> None:
    events = stage().process(batches(found, until=UNTIL))
    logs: dict[str, list[IncidentEvent]] = {}
    for event in events:
        logs.setdefault(event.incident_id, []).append(event)
    for log in logs.values():
        assert [event.version for event in log] == list(range(1, len(log) + 1))
        assert log[0].type == "opened"
        assert [event.time_ms for event in log] == sorted({event.time_ms for event in log})
        assert all(abs(sum(c.weight for c in e.incident.causes) - 1) < 1e-9 for e in log)
