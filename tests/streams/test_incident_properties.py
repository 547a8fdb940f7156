"""What holds of the incident stage whatever comes, in whatever order, however it is cut."""

from itertools import pairwise
from random import Random

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.anomalies import Anomaly, AnomalyBatch, AnomalyKind, ServiceTraffic
from schemas.configuration import Catalogue, Incidents, Service, Windows
from schemas.incidents import Command, CommandType, Incident, IncidentEvent
from schemas.silences import Maintenance
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import CALLS, SECOND, START, anomaly, as_bytes

SHARDS = ("shard/0", "shard/1", "shard/2")
KINDS: tuple[AnomalyKind, ...] = ("saturation", "latency", "level", "error_ratio", "novelty")
END = 3_000

one = st.builds(
    anomaly,
    st.sampled_from(("web", "cart", "store", "mail", "smtp")),
    st.sampled_from(KINDS),
    st.integers(0, END // 10 - 40).map(lambda window: window * 10),
    score=st.sampled_from((5.0, 9.0, 30.0)),
    opens=st.booleans(),
)
many = st.lists(one, max_size=40, unique_by=lambda a: a.id)


def shard_of(item: Anomaly) -> str:
    return SHARDS[sum(map(ord, item.service)) % 3]


def batches(
    anomalies: list[Anomaly], until: int = END, *, in_step: bool = False
) -> list[AnomalyBatch]:
    """Each shard's batches for the windows in which it has something to say, and a last one.

    In step, every shard has one for each window of any, so that time goes on with each.
    """
    found = []
    windows = {a.window_end_ms for a in anomalies} if in_step else set()
    for shard in SHARDS:
        own = [a for a in anomalies if shard_of(a) == shard]
        ends = {a.window_end_ms for a in own} | windows | {START, START + until * SECOND}
        found += [
            AnomalyBatch(
                source=shard,
                window_end_ms=end,
                anomalies=tuple(
                    sorted((a for a in own if a.window_end_ms == end), key=lambda a: a.id)
                ),
                calls=CALLS if end == START else (),
            )
            for end in sorted(ends)
        ]
    return found


def made(rules: Incidents | None = None) -> IncidentStage:
    return IncidentStage("test", SHARDS, Windows(), rules or Incidents(), Catalogue())


def in_order(found: list[AnomalyBatch]) -> list[AnomalyBatch]:
    return sorted(found, key=lambda b: (b.window_end_ms, b.source))


@settings(max_examples=60, deadline=None)
@given(many, st.randoms(use_true_random=False))
def test_the_order_in_which_shards_arrive_does_not_matter(
    anomalies: list[Anomaly], chance: Random
) -> None:
    together = in_order(batches(anomalies))
    told = as_bytes(made().process(together))
    queues = {shard: [b for b in together if b.source == shard] for shard in SHARDS}
    stage, events = made(), list[IncidentEvent]()
    while any(queues.values()):
        shard = chance.choice([name for name, left in queues.items() if left])
        events += stage.process([queues[shard].pop(0)])
    assert as_bytes(events) == told


@settings(max_examples=100, deadline=None)
@given(many, st.none() | st.integers(1, 100))
def test_every_anomaly_is_in_one_incident_or_left_out_for_one_named_reason(
    anomalies: list[Anomaly], resolved_after: int | None
) -> None:
    """Whether or not somebody resolves all that is open after so many batches."""
    stage, whole = made(), in_order(batches(anomalies, in_step=True))
    stage.process(whole[:resolved_after])
    if resolved_after is not None:
        stage.command([told("resolve", i.id) for i in stage.incidents()])
        stage.process(whole[resolved_after:])
    assert stage.taken + sum(stage.left_out.values()) + stage.waiting == len(anomalies)
    # A note makes each incident tell all that it holds by now.
    found = stage.command([told("note", i.id) for i in stage.incidents()])
    homes = [sum(holds(event.incident, a) for event in found) for a in anomalies]
    assert set(homes) <= {0, 1}
    assert sum(homes) >= stage.taken


@settings(max_examples=40, deadline=None)
@given(many, st.integers(1, 120))
def test_what_goes_on_after_somebody_resolved_it_is_counted_as_that(
    others: list[Anomaly], resolved_after: int
) -> None:
    lasting = [anomaly("cart", at=at, since=0) for at in range(0, 600, 10)]
    found = list({a.id: a for a in (*others, *lasting)}.values())
    stage, whole = made(), in_order(batches(found, in_step=True))
    stage.process(whole[:resolved_after])
    stage.command([told("resolve", i.id) for i in stage.incidents()])
    stage.process(whole[resolved_after:])
    assert stage.taken + sum(stage.left_out.values()) + stage.waiting == len(found)


def told(kind: CommandType, incident: str) -> Command:
    name = f"{kind} {incident}"
    return Command(
        id=name, type=kind, incident_id=incident, actor="ada", issued_ms=START, text=name
    )


def holds(incident: Incident, item: Anomaly) -> bool:
    """Whether an anomaly lies within a signal of the incident."""
    return any(
        (signal.series, signal.kind) == (item.series, item.kind)
        and signal.first_ms <= item.window_start_ms < item.window_end_ms <= signal.last_ms
        for signal in incident.signals
    )


CATALOGUE = Catalogue(
    services=(
        Service(name="web", tier=2, customers=800),
        Service(name="cart", tier=2, revenue_per_hour=900),
        Service(name="mail", tier=4),
    )
)
WORSE: dict[str, int] = {"tier": -1, "customers": 10_000, "revenue_per_hour": 10_000}


@settings(max_examples=60, deadline=None)
@given(
    many.filter(bool),
    st.sampled_from(("value", "errors", *WORSE)),
    st.integers(1, 40),
)
def test_severity_never_falls_when_impact_grows(
    anomalies: list[Anomaly], what: str, factor: int
) -> None:
    """The same history with one fact worse: slower, more errors, or more at stake."""

    def grades(*, worse: bool) -> dict[str, list[str]]:
        services = CATALOGUE.services
        if worse and what in WORSE:
            services = tuple(
                msgspec.structs.replace(s, **{what: getattr(s, what) + WORSE[what]})
                for s in services
            )
        slower = factor if worse and what == "value" else 1
        errors = factor * 10 if worse and what == "errors" else 9
        found = [
            msgspec.structs.replace(a, value=a.value * slower) if a.kind == "latency" else a
            for a in anomalies
        ]
        stage = IncidentStage("test", SHARDS, Windows(), Incidents(), Catalogue(services=services))
        seen: dict[str, list[str]] = {}
        for number, batch in enumerate(in_order(batches(found))):
            names = {a.service for a in batch.anomalies}
            traffic = tuple(ServiceTraffic(name, 1_000, errors) for name in sorted(names))
            stage.process([msgspec.structs.replace(batch, traffic=traffic)])
            notes = [
                msgspec.structs.replace(told("note", i.id), id=f"{i.id} {number}")
                for i in stage.incidents()
            ]
            for event in stage.command(notes):
                steps = event.incident.grading.steps
                arithmetic = next(s.result for s in steps if s.name == "severity")
                seen.setdefault(event.incident_id, []).append(arithmetic.rpartition(" ")[2])
        return seen

    before, after = grades(worse=False), grades(worse=True)
    assert before.keys() == after.keys()
    for name, graded in before.items():
        assert len(graded) == len(after[name])
        assert all(now <= was for was, now in zip(graded, after[name], strict=True))


@settings(max_examples=60, deadline=None)
@given(many)
def test_versions_have_no_gaps_time_never_goes_back_and_every_incident_ends(
    anomalies: list[Anomaly],
) -> None:
    events = made().process(in_order(batches(anomalies, until=30_000)))
    assert all(a.time_ms <= b.time_ms for a, b in pairwise(events))
    for name in {event.incident_id for event in events}:
        own = [event for event in events if event.incident_id == name]
        assert [event.version for event in own] == list(range(1, len(own) + 1))
        assert own[-1].incident.state in ("resolved", "closed")


SILENCED_LATE = [
    anomaly("web", "saturation", 0, score=5.0, opens=False),
    anomaly("web", "latency", 480, score=5.0),
    anomaly("cart", "latency", 160, score=5.0),
    anomaly("cart", "latency", 270, score=5.0),
]
"""A late symptom that is silenced like the incident that it belongs to."""


@settings(max_examples=60, deadline=None)
@given(many, st.integers(1, 200))
@example(SILENCED_LATE, 23)
def test_a_silence_hides_no_incident_and_no_recovery(anomalies: list[Anomaly], hours: int) -> None:
    """But for who is woken, and for what the public reads, a silenced history is the same."""

    def course(events: list[IncidentEvent]) -> list[tuple[object, ...]]:
        return [
            (e.incident_id, e.type, e.time_ms, e.incident.severity, e.incident.services)
            for e in events
            if e.type in ("opened", "reopened", "resolved", "closed", "severity_changed")
        ]

    window = Maintenance(
        name="all", matchers=("service=~.*",), start="2023-11-14T00:00", hours=hours
    )
    told = made().process(in_order(batches(anomalies)))
    quiet = made(Incidents(maintenance=(window,))).process(in_order(batches(anomalies)))
    assert course(quiet) == course(told)
    ends_ms = 1_699_920_000_000 + hours * 3_600_000
    for event in quiet:
        is_silenced = event.incident.silenced_by is not None
        if event.type in ("opened", "severity_changed"):
            assert is_silenced == (event.time_ms < ends_ms)


@settings(max_examples=40, deadline=None)
@given(many, st.integers(1, 30))
def test_a_restart_at_any_moment_changes_nothing(anomalies: list[Anomaly], after: int) -> None:
    whole = in_order(batches(anomalies))
    straight = made()
    command = Command(
        id="c1", type="report", incident_id="", actor="ada", issued_ms=START, service="cart"
    )
    expected = straight.process(whole[:after])
    expected += straight.command([command])
    expected += straight.process(whole[after:])
    first, second = made(), made()
    events = first.process(whole[:after])
    second.restore(first.snapshot())
    # The input since the last checkpoint comes again; what was said of it is said again.
    events += second.command([command])
    events += second.process(whole[after:])
    assert as_bytes(events) == as_bytes(expected)
