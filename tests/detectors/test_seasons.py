"""Days, weeks, holidays, changed clocks, shifts and gaps, on recorded and on made-up series."""

import csv
import gzip
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from math import exp
from pathlib import Path

import pytest

from detectors.base import Sample
from detectors.seasonal import SeasonalDetector
from detectors.silence import SilenceWatch
from tests.detectors.series import DAY_MS, START_MS, gauge

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
FIVE_MINUTES_MS = 300_000
RECORDED = Path(__file__).parent / "recorded"
TIER_2 = 6.0


class Told:
    """What a detector said: samples that would open an incident, and the highest score."""

    def __init__(self, samples: Iterator[Sample], threshold: float = TIER_2) -> None:
        self.opening: list[int] = []
        self.highest: dict[int, float] = {}
        detector = SeasonalDetector()
        for x in samples:
            score = detector.score_one(x)
            if score >= threshold and detector.explain().confirmed:
                self.opening.append(x.end_ms)
            day = x.end_ms // DAY_MS
            self.highest[day] = max(self.highest.get(day, 0.0), score)
            detector.learn_one(x)

    def between(self, start_ms: int, end_ms: int) -> list[int]:
        """Times after `start_ms` at which an incident would open, milliseconds since then."""
        return [t - start_ms for t in self.opening if start_ms <= t < end_ms]


def recorded(name: str) -> Iterator[Sample]:
    """A recorded series; its local times are taken for UTC."""
    with gzip.open(RECORDED / f"{name}.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            time = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
            yield sample(int(time.timestamp() * 1000), float(row["value"]))


def sample(time_ms: int, value: float) -> Sample:
    x = gauge(0, value)
    return Sample(time_ms - 10_000, time_ms, x.observation)


def usual(time_ms: int) -> float:
    """A shop's load: three humps on workdays, one flat hump at weekends."""
    hour = time_ms % DAY_MS / HOUR_MS
    if (time_ms // DAY_MS + 3) % 7 >= 5:
        return 30 + 50 * exp(-(((hour - 15) / 5) ** 2))
    humps = ((9.5, 2.2, 1.0), (14.5, 3.0, 0.9), (20.0, 2.0, 0.7))
    return 30 + 70 * sum(h * exp(-(((hour - at) / width) ** 2)) for at, width, h in humps)


WEEKS = 4
EVENT_MS = START_MS + (7 * WEEKS - 3) * DAY_MS  # a Sunday, midnight
END_MS = EVENT_MS + 5 * DAY_MS


def made_up(
    step_ms: int, at: Callable[[int], float] = usual, gap: range = range(0), seed: int = 1
) -> Iterator[Sample]:
    """Four weeks as usual, then after `at`; noise of 5 %, nothing in the gap."""
    chance = random.Random(seed)
    for time_ms in range(START_MS, END_MS, step_ms):
        value = usual(time_ms) if time_ms < EVENT_MS else at(time_ms)
        noise = chance.gauss(1, 0.05)
        if time_ms not in gap:
            yield sample(time_ms, value * noise)


STEPS = pytest.mark.parametrize("step_ms", [MINUTE_MS, FIVE_MINUTES_MS, 6 * FIVE_MINUTES_MS])


def test_seven_months_of_new_york_have_one_incident_and_that_is_the_blizzard() -> None:
    told = Told(recorded("nyc_taxi"))
    days = {datetime.fromtimestamp(t / 1000, UTC).strftime("%m-%d") for t in told.opening}
    assert days == {"01-26"}


@pytest.mark.parametrize("name", ["rds_cpu_utilization_cc0c53", "ec2_cpu_utilization_5f5533"])
def test_a_fortnight_of_a_recorded_server_opens_nothing_before_its_first_fault(name: str) -> None:
    faults = {
        "rds_cpu_utilization_cc0c53": "2014-02-24",
        "ec2_cpu_utilization_5f5533": "2014-02-18",
    }
    until_ms = datetime.fromisoformat(f"{faults[name]}T00:00+00:00").timestamp() * 1000
    assert [t for t in Told(recorded(name)).opening if t < until_ms] == []


@STEPS
@pytest.mark.parametrize("hours", [-1, 1])
def test_changed_clocks_open_nothing(step_ms: int, hours: int) -> None:
    told = Told(made_up(step_ms, lambda t: usual(t + hours * HOUR_MS)))
    assert told.opening == []


@STEPS
def test_a_workday_that_is_like_a_sunday_opens_nothing_nor_does_the_day_after(
    step_ms: int,
) -> None:
    monday = EVENT_MS + DAY_MS

    def holiday(t: int) -> float:
        return usual(t - DAY_MS) if monday <= t < monday + DAY_MS else usual(t)

    assert Told(made_up(step_ms, holiday)).opening == []


@STEPS
def test_hours_at_a_tenth_of_the_usual_load_are_told(step_ms: int) -> None:
    noon = EVENT_MS + DAY_MS + 11 * HOUR_MS
    told = Told(
        made_up(step_ms, lambda t: usual(t) * (0.1 if noon <= t < noon + 4 * HOUR_MS else 1))
    )
    assert told.between(noon, noon + 4 * HOUR_MS)
    assert told.between(noon, noon + 4 * HOUR_MS)[0] <= 3 * step_ms + 10_000
    assert told.between(START_MS, noon) == told.between(noon + 4 * HOUR_MS, END_MS) == []


@pytest.mark.parametrize("step_ms", [MINUTE_MS, FIVE_MINUTES_MS])
def test_the_load_of_noon_in_the_dead_of_night_is_told(step_ms: int) -> None:
    night = EVENT_MS + DAY_MS + 3 * HOUR_MS
    told = Told(made_up(step_ms, lambda t: 120.0 if night <= t < night + HOUR_MS else usual(t)))
    assert told.between(night, night + HOUR_MS)


@pytest.mark.parametrize(
    ("step_ms", "adopted_ms"), [(MINUTE_MS, HOUR_MS), (6 * FIVE_MINUTES_MS, 5 * HOUR_MS)]
)
def test_a_level_that_doubles_is_told_and_adopted_after_an_hour_or_ten_samples(
    step_ms: int, adopted_ms: int
) -> None:
    noon = EVENT_MS + DAY_MS + 11 * HOUR_MS
    told = Told(made_up(step_ms, lambda t: usual(t) * (2.5 if t >= noon else 1)))
    times = told.between(noon, END_MS)
    assert times
    assert max(times) <= adopted_ms


@STEPS
@pytest.mark.parametrize("hours", [1, 7, 50])
def test_missing_data_are_no_outage_neither_then_nor_when_they_come_again(
    step_ms: int, hours: int
) -> None:
    start = EVENT_MS + DAY_MS + 5 * HOUR_MS
    assert Told(made_up(step_ms, gap=range(start, start + hours * HOUR_MS))).opening == []


def silences(pauses: Sequence[int]) -> list[tuple[int, int]]:
    """When a series that pauses for so many hours each night is told: the night, and the hour."""
    watch = SilenceWatch(10_000, 5)
    told: dict[int, int] = {}
    for minute in range(len(pauses) * 24 * 60):
        night, of_day = divmod(minute, 24 * 60)
        time_ms = START_MS + minute * MINUTE_MS
        if of_day >= pauses[night] * 60:
            watch.heard(gauge(0, 1.0).observation, time_ms)
        while (deadline := watch.next_deadline()) is not None and deadline <= time_ms:
            if watch.due(deadline):
                told.setdefault(night, of_day // 60)
    return sorted(told.items())


def test_a_series_that_is_switched_off_every_night_is_told_as_silent_only_at_first() -> None:
    assert silences([4] * 14) == [(1, 0), (2, 0), (3, 0)]


def test_a_longer_pause_than_usual_is_told_all_the_same() -> None:
    assert silences([4] * 8 + [12])[-1] == (8, 6)
