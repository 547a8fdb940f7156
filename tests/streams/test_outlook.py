"""What closed incidents teach of open ones."""

from collections.abc import Iterator

import msgspec
import pytest
from msgspec.structs import replace

from schemas.incidents import Signal
from streams.outlook import (
    FORGET,
    MOST,
    Example,
    Lessons,
    category_of,
    complexity_of,
    features_of,
    lasted,
)
from tests.sinks.examples import MINUTE_MS, cpu_incident, network_incident

LONG_MS, SHORT_MS = 60 * MINUTE_MS, 5 * MINUTE_MS


def history(count: int) -> Iterator[Example]:
    """CPU faults that last an hour and are hard, network faults that last minutes and heal."""
    for number in range(count):
        spread = 1 + 0.1 * (number % 5)
        if number % 2:
            cpu = features_of(cpu_incident(), {})
            yield Example(cpu, "capacity", "hard", round(LONG_MS * spread))
        else:
            network = features_of(network_incident(), {})
            yield Example(network, "network", "self_healing", round(SHORT_MS * spread))


def taught(count: int) -> Lessons:
    lessons = Lessons(least=20)
    for example in history(count):
        teach(lessons, example)
    return lessons


def teach(lessons: Lessons, example: Example) -> None:
    """An incident that opens and is closed before the next one opens."""
    lessons.learn(replace(example, guess=lessons.outlook(example.features)))


def test_nothing_is_said_of_too_few_closed_incidents() -> None:
    assert taught(19).outlook(features_of(cpu_incident(), {})) is None
    assert taught(20).outlook(features_of(cpu_incident(), {})) is not None


def test_category_complexity_and_duration_are_those_of_like_incidents() -> None:
    lessons = taught(60)
    cpu = lessons.outlook(features_of(cpu_incident(), {}))
    network = lessons.outlook(features_of(network_incident(), {}))
    assert cpu is not None and network is not None
    assert (cpu.category.value, cpu.complexity.value) == ("capacity", "hard")
    assert (network.category.value, network.complexity.value) == ("network", "self_healing")
    assert cpu.lasts_from_ms is not None and cpu.lasts_to_ms is not None
    assert cpu.lasts_from_ms < LONG_MS * 1.2 < cpu.lasts_to_ms
    assert network.lasts_ms == pytest.approx(SHORT_MS * 1.2, rel=0.3)
    assert cpu.examples == 60
    assert cpu.plain == ()


def test_how_sure_it_is_comes_from_predictions_made_before_learning() -> None:
    right = taught(100).validation()
    assert right.examples == 80
    assert right.category_right == 1.0
    assert right.within is not None and right.within >= 0.7

    lessons = Lessons(least=20)
    for number, example in enumerate(history(100)):
        teach(lessons, replace(example, category=("other", "demand")[number // 2 % 2]))
    guess = lessons.outlook(features_of(cpu_incident(), {}))
    assert guess is not None and guess.category.sure < 0.7


def test_where_nothing_learned_is_better_the_plainest_rule_speaks_and_says_so() -> None:
    """What is known early tells the category here, and nothing of recovery and duration."""
    lessons, like = Lessons(least=20), list(history(60))
    for number, example in enumerate(like):
        rare = number % 7 in (0, 3)
        odd = replace(example, complexity="hard" if rare else "simple", lasted_ms=SHORT_MS)
        teach(lessons, replace(odd, lasted_ms=LONG_MS) if rare else odd)
    for features in (like[0].features, like[1].features):
        said = lessons.outlook(features)
        assert said is not None and said.plain == ("complexity", "duration")
        assert (said.complexity.value, said.lasts_ms) == ("simple", SHORT_MS)
    assert {said.category.value for x in like[:2] if (said := lessons.outlook(x.features))} == {
        "capacity",
        "network",
    }


def test_what_was_said_at_the_opening_is_judged_and_not_what_would_be_said_by_now() -> None:
    """All open at once, when nothing tells CPU from network faults, and are closed one by one."""
    lessons, cpu = Lessons(least=20), features_of(cpu_incident(), {})
    for _ in range(20):
        teach(lessons, Example(cpu, "network", "self_healing", SHORT_MS))
    said = lessons.outlook(cpu)
    assert said is not None and said.category.value == "network"
    for _ in range(60):
        lessons.learn(Example(cpu, "capacity", "hard", LONG_MS, said))
    found = lessons.validation()
    assert (found.examples, found.category_right, found.complexity_right) == (60, 0.0, 0.0)
    assert found.off_by == pytest.approx(12, rel=0.3)
    later = lessons.outlook(cpu)
    assert later is not None and later.category.value == "capacity"


def test_what_is_restored_says_the_same_and_goes_on_alike() -> None:
    lessons, again = taught(MOST - 1), Lessons(least=20)
    features = features_of(cpu_incident(), {})
    lessons.outlook(features)
    saved = msgspec.msgpack.encode(lessons.examples)
    again.load(msgspec.msgpack.decode(saved, type=list[Example]))
    for example in history(FORGET + 5):
        teach(lessons, example)
        teach(again, example)
        assert lessons.outlook(features) == again.outlook(features)
    assert len(lessons) == len(again) <= MOST


def test_the_category_is_that_of_the_likely_causes_strongest_sign() -> None:
    incident = cpu_incident()
    assert category_of(incident.signals, "ts-order-service") == "capacity"
    assert category_of(incident.signals, "ts-travel-service") == "software"
    assert category_of((), None) == "other"
    vague = Signal(service="a", series="x", kind="level", first_ms=0, last_ms=1, score=99.0)
    assert category_of((*incident.signals, vague), "a") == "other"


@pytest.mark.parametrize(
    ("minutes", "by", "reopened", "complexity"),
    [
        (5, None, 0, "self_healing"),
        (5, "ada", 0, "simple"),
        (45, "ada", 0, "moderate"),
        (150, "ada", 0, "hard"),
        (5, None, 1, "hard"),
    ],
)
def test_the_complexity_of_a_recovery_is_read_off_how_it_went(
    minutes: int, by: str | None, reopened: int, complexity: str
) -> None:
    start_ms = cpu_incident().first_anomaly_ms
    incident = cpu_incident(
        last_anomaly_ms=start_ms + minutes * MINUTE_MS, acknowledged_by=by, reopened=reopened
    )
    assert lasted(incident) == minutes * MINUTE_MS
    assert complexity_of(incident) == complexity
