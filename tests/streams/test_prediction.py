"""Incidents of what will be: opened, graded, followed, come true or withdrawn."""

import json
import random
from collections.abc import Callable, Sequence

import msgspec
import pytest

from schemas.anomalies import Anomaly, Forecast
from schemas.configuration import Catalogue, Configuration, GradingRules, Incidents, Service
from schemas.incidents import Command, IncidentEvent, Severity
from streams.dossier import signal_of
from streams.explain import explain
from streams.forecast_words import about, headline, plain
from streams.pipeline import TOPIC, Pipeline
from streams.run import Run
from tests.streams.incident_helpers import (
    MINUTE,
    SECOND,
    START,
    anomaly,
    as_bytes,
    batches,
    brief,
    stage,
    told,
)

HOUR = 60 * MINUTE
DISK = 'disk_used_ratio{service="store"}'
STORE = Service(name="store", tier=1, customers=5000, public_name="Orders")


def ahead(
    at: int, left: int = 3 * HOUR, *, withdrawn: str | None = None, series: str = DISK
) -> Anomaly:
    """A forecast in the window that begins `at` seconds after the start."""
    now = START + at * SECOND + 10 * SECOND
    forecast = Forecast(1.0, now + left, now + left - HOUR // 2, now + left + HOUR, withdrawn)
    made = anomaly("store", "forecast", at, series=series, since=0, opens=withdrawn is None)
    return msgspec.structs.replace(
        made, value=0.8, expected=1.0, lower=0.8, upper=1.0, forecast=forecast
    )


def every_minute(minutes: int, left: Callable[[int], int] = lambda _: 3 * HOUR) -> list[Anomaly]:
    return [ahead(60 * i, left(i)) for i in range(minutes)]


def full(at: int) -> Anomaly:
    made = anomaly("store", "saturation", at, series=DISK)
    return msgspec.structs.replace(made, value=1.0, expected=0.4, lower=0.3, upper=0.5)


def statuses(events: Sequence[IncidentEvent]) -> list[str]:
    return [e.incident.prediction.status if e.incident.prediction else "" for e in events]


def test_a_forecast_opens_an_incident_that_is_no_outage() -> None:
    (opened,) = told(*every_minute(3), until=180, made=stage(STORE))
    incident = opened.incident
    assert opened.type == "opened"
    assert incident.title == (
        "disk of store will be full in about 3 h (2.5 to 4 h): 80 % now, 100 % at about "
        "2023-11-15 01:13 UTC"
    )
    assert incident.summary.endswith("Nobody is out yet.")
    assert (incident.severity, incident.visibility) == ("P3", "internal")
    assert [step.result for step in incident.grading.steps] == [
        "impact 2",
        "0",
        "urgency 2",
        "impact 2 × urgency 2 = P3",
    ]
    assert incident.category == "capacity"


@pytest.mark.parametrize(
    ("left", "tier", "severity"),
    [
        (HOUR // 2, 1, "P2"),
        (HOUR // 2, 3, "P3"),
        (3 * HOUR, 2, "P3"),
        (3 * HOUR, 4, "P4"),
        (20 * HOUR, 1, "P4"),
    ],
)
def test_the_grade_follows_tier_and_time_left(left: int, tier: int, severity: str) -> None:
    made = stage(Service(name="store", tier=tier))
    (opened,) = told(ahead(0, left), until=10, made=made)
    assert opened.incident.severity == severity


def test_a_forecast_is_never_p1_whatever_the_matrix() -> None:
    worst: tuple[Severity, Severity, Severity] = ("P1", "P1", "P1")
    matrix = (worst, worst, worst)
    made = stage(STORE, rules=Incidents(grading=GradingRules(matrix=matrix)))
    (opened,) = told(ahead(0, MINUTE), until=10, made=made)
    assert opened.incident.severity == "P2"


def test_it_comes_true_as_the_same_incident_regraded_and_says_so() -> None:
    made = stage(STORE)
    events = told(*every_minute(5), full(300), full(310), until=320, made=made)
    assert [e.incident_id for e in events] == [events[0].incident_id] * len(events)
    assert statuses(events)[0] == "standing"
    true = next(e for e in events if statuses([e]) == ["came_true"])
    assert true.changes["forecast"].startswith("standing → came true: far above")
    assert true.text.count("came true") == 1
    assert true.incident.title.startswith("store is out of disk")
    assert true.incident.summary.endswith("It was forecast.")
    assert true.incident.prediction is not None
    assert true.incident.prediction.decided_ms == START + 300 * SECOND
    assert "users feel" in {step.name for step in true.incident.grading.steps}
    assert true.incident.severity < "P3" or true.incident.grading.steps[0].name == "tier"


def test_it_is_withdrawn_with_its_reason_and_is_over_at_once() -> None:
    gone = ahead(180, withdrawn="it has fallen to 40 %")
    events = told(*every_minute(3), gone, until=200, made=stage(STORE))
    assert brief(events) == ["opened 15", "resolved 195"]
    assert events[-1].text == ("The forecast is withdrawn: it has fallen to 40 %. Nobody was out.")
    assert statuses(events) == ["standing", "withdrawn"]


def test_one_of_two_forecasts_that_is_withdrawn_leaves_the_other_standing() -> None:
    other = 'disk_used_ratio{service="store",instance="b"}'
    both = [ahead(0), ahead(0, 5 * HOUR, series=other), ahead(60, withdrawn="cleaned")]
    events = told(*both, ahead(60, 5 * HOUR, series=other), until=80, made=stage(STORE))
    assert statuses(events)[-1] == "standing"
    assert events[-1].incident.prediction is not None
    assert events[-1].incident.prediction.series == other
    assert "limit reached" in events[-1].changes


def test_a_forecast_of_which_nothing_more_is_heard_is_given_up_after_hours() -> None:
    events = told(ahead(0), until=8 * 3600, made=stage(STORE))
    assert brief(events) == ["opened 15", "updated 10815", "resolved 21615"]
    assert events[-1].text.startswith("The forecast is withdrawn: nothing says so any more.")


def test_an_estimate_that_moves_much_is_told_and_one_that_moves_little_is_not() -> None:
    steady = told(*every_minute(30, lambda i: 3 * HOUR - i * MINUTE), until=1800, made=stage(STORE))
    assert brief(steady) == ["opened 15"]
    sooner = told(ahead(0), ahead(60, HOUR + MINUTE), until=80, made=stage(STORE))
    assert sooner[-1].changes["limit reached"].endswith(", in about 61 min (31 to 121 min)")


def test_until_it_may_have_happened_a_forecast_draws_in_no_neighbour() -> None:
    made = stage(STORE)
    events = told(*every_minute(3), anomaly("cart", "error_ratio", 120), until=130, made=made)
    assert len({e.incident_id for e in events}) == 2
    made = stage(STORE)
    late = [ahead(60 * i, 20 * MINUTE) for i in range(3)]
    events = told(*late, anomaly("cart", "error_ratio", 120), until=130, made=made)
    assert len({e.incident_id for e in events}) == 1
    assert events[-1].incident.services == ("store", "cart")


def test_forecasts_of_neighbours_are_two_incidents() -> None:
    cart = 'disk_used_ratio{service="cart"}'
    second = msgspec.structs.replace(ahead(0, series=cart), service="cart")
    assert len(told(ahead(0), second, until=10, made=stage(STORE))) == 2


def test_a_forecast_does_not_hold_an_outage_open() -> None:
    outage = [anomaly("store", "error_ratio", at) for at in range(0, 60, 10)]
    later = [ahead(60 * i) for i in range(1, 12)]
    events = told(*outage, *later, until=700, made=stage(STORE))
    first = events[0].incident_id
    resolved = [e for e in events if e.type == "resolved"]
    assert [e.incident_id for e in resolved] == [first]
    assert [e.type for e in events if e.incident_id != first][:1] == ["opened"]


def test_resolving_it_by_hand_withdraws_it_in_the_name_of_who_did() -> None:
    made = stage(STORE)
    (opened,) = told(ahead(0), until=10, made=made)
    command = Command(
        id="1", type="resolve", incident_id=opened.incident_id, actor="ada", issued_ms=0
    )
    (resolved,) = made.command([command])
    assert resolved.incident.prediction is not None
    assert resolved.incident.prediction.reason == "ada resolved it before it could come true"


def test_how_often_forecasts_came_true_is_in_the_record_of_the_next() -> None:
    made = stage(STORE)
    events = told(ahead(0), full(60), until=1200, made=made)
    assert statuses(events)[-1] == "came_true"
    restored = stage(STORE)
    restored.restore(made.snapshot())
    again = [ahead(1500), ahead(1560, withdrawn="cleaned"), ahead(3000)]
    events = restored.process(batches(again, until=3100)[1:])
    prediction = events[-1].incident.prediction
    assert prediction is not None
    assert (prediction.came_true_before, prediction.withdrawn_before) == (1, 1)
    assert events[-1].incident.summary.endswith("Of 2 forecasts before it, 1 came true.")


def test_a_restart_changes_nothing() -> None:
    history = [*every_minute(4), ahead(240, withdrawn="cleaned"), ahead(600), full(660)]
    whole = told(*history, until=1200, made=stage(STORE))
    parts = batches(history, until=1200)
    for cut in range(1, len(parts)):
        first, second = stage(STORE), stage(STORE)
        before = first.process(parts[:cut])
        second.restore(first.snapshot())
        assert as_bytes(before + second.process(parts[cut:])) == as_bytes(whole)


@pytest.mark.parametrize(
    ("series", "value", "limit", "said"),
    [
        (DISK, 0.8, 1.0, "disk of store will be full in about 3 h (2.5 to 4 h)"),
        (
            'connections_open{service="store"}',
            380.0,
            500.0,
            "connections of store will be at the limit of 500 in about 3 h (2.5 to 4 h)",
        ),
        (
            'disk_free_bytes{service="store"}',
            4e10,
            0.0,
            "disk of store will be used up in about 3 h (2.5 to 4 h)",
        ),
        (
            'tls_certificate_expires_in_seconds{service="store"}',
            10800.0,
            0.0,
            "tls certificate of store expires in 3 h",
        ),
    ],
)
def test_words_say_what_ends_and_when(series: str, value: float, limit: float, said: str) -> None:
    made = msgspec.structs.replace(ahead(0, series=series), value=value, expected=limit)
    signal = signal_of(made)
    assert headline(signal) == said
    assert plain(signal)


@pytest.mark.parametrize(
    ("left", "earliest", "latest", "said"),
    [
        (26 * MINUTE, 21 * MINUTE, 41 * MINUTE, "about 26 min (21 to 41 min)"),
        (3 * HOUR, 2 * HOUR, 5 * HOUR, "about 3 h (2 to 5 h)"),
        (20 * HOUR, 19 * HOUR, None, "about 20 h (19 h or more)"),
        (75 * HOUR, 70 * HOUR, 80 * HOUR, "about 3 d (3 to 3.5 d)"),
        (3 * MINUTE, 3 * MINUTE, 3 * MINUTE, "about 3 min"),
    ],
)
def test_time_left_is_told_in_round_numbers(
    left: int, earliest: int, latest: int | None, said: str
) -> None:
    assert about(Forecast(1.0, left, earliest, latest), 0) == said


def test_a_disk_that_fills_is_told_from_raw_samples_to_the_full_story() -> None:
    chance = random.Random(1)
    pipeline = Pipeline(Configuration(catalogue=Catalogue(services=(STORE,))))
    lines = []
    for minute in range(0, 40 * 60, 2):
        used = min(0.3 + max(minute / 60 - 24, 0) * 0.05, 1.0) + chance.gauss(0, 0.003)
        time_ms = START + minute * MINUTE
        record = {"time": time_ms, "service": "store", "metric": "disk_used_ratio", "value": used}
        lines.append(json.dumps(record).encode())
    count = len(lines)
    run = Run(TOPIC, 0, range(count), [-1] * count, [None] * count, lines)
    events = [*pipeline.process(run).events, *pipeline.finish().events]
    assert len({e.incident_id for e in events}) == 1
    opened = events[0].incident
    assert opened.title.startswith("disk of store will be full in about 1")
    true = next(e for e in events if statuses([e]) == ["came_true"])
    assert true.time_ms - START == pytest.approx(38 * HOUR, abs=HOUR / 3)
    assert opened.prediction is not None
    assert opened.prediction.forecast.latest_ms is not None
    assert opened.prediction.forecast.earliest_ms < true.time_ms
    assert true.time_ms < opened.prediction.forecast.latest_ms
    story = explain(events)
    assert "standing → came true" in story
    assert "It was forecast." in story
