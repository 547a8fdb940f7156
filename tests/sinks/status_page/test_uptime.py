"""The arithmetic of uptime, for any intervals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import DAY_MS
from sinks.status_page.components import STATUSES
from sinks.status_page.uptime import (
    WEIGHTS,
    Interval,
    day_of,
    days,
    merged,
    percentage,
    uptime_ratio,
)

START = 100 * DAY_MS
END = 110 * DAY_MS
times = st.integers(START - 2 * DAY_MS, END + 2 * DAY_MS)
intervals = st.lists(
    st.builds(
        lambda left, right, status: Interval(min(left, right), max(left, right), status),
        times,
        times,
        st.sampled_from(STATUSES),
    ),
    max_size=12,
)


@given(intervals)
def test_uptime_lies_between_nothing_and_everything(some: list[Interval]) -> None:
    assert 0.0 <= uptime_ratio(some, START, END) <= 1.0


@given(intervals, intervals)
def test_another_incident_never_raises_uptime(some: list[Interval], more: list[Interval]) -> None:
    both = uptime_ratio(some + more, START, END)
    assert both <= uptime_ratio(some, START, END) + 1e-12


@given(intervals)
def test_saying_the_same_twice_in_any_order_changes_nothing(some: list[Interval]) -> None:
    assert merged(some + some[::-1], START, END) == merged(some, START, END)


@given(intervals, st.integers(START, END - 1))
def test_at_each_moment_the_worst_state_counts(some: list[Interval], at_ms: int) -> None:
    states = [one.status for one in some if one.start_ms <= at_ms < one.end_ms]
    worst = max(states, key=STATUSES.index, default="operational")
    found = [one.status for one in merged(some, START, END) if one.start_ms <= at_ms < one.end_ms]
    assert found == ([] if worst == "operational" else [worst])


@given(intervals, st.integers(START, END - 1))
def test_the_bars_of_the_days_add_up_to_the_percentage(some: list[Interval], since: int) -> None:
    bars = days(some, since, START, END - 1)
    assert [day.start_ms for day in bars] == list(range(START, END, DAY_MS))
    down_ms = sum(WEIGHTS[key] * spent for day in bars for key, spent in day.spent_ms.items())
    time_ms = END - 1 - since
    if time_ms > 0:
        assert uptime_ratio(some, since, END - 1) == pytest.approx(1 - down_ms / time_ms)
    for day in bars:
        assert sum(day.spent_ms.values()) <= DAY_MS
        assert (day.status is None) == (day.start_ms + DAY_MS <= since)


@pytest.mark.parametrize(
    ("status", "expected"),
    [("major_outage", 0.9), ("partial_outage", 0.97), ("degraded_performance", 1.0)],
)
def test_a_day_of_ten_counts_by_its_weight(status: str, expected: float) -> None:
    one = [Interval(START + DAY_MS, START + 2 * DAY_MS, status)]  # type: ignore[arg-type]
    assert uptime_ratio(one, START, END) == pytest.approx(expected)


def test_an_outage_over_midnight_is_on_both_days() -> None:
    night = [Interval(START + DAY_MS - 600_000, START + DAY_MS + 1_200_000, "major_outage")]
    first, second, third = days(night, 0, START, START + 2 * DAY_MS + 1)
    assert first.spent_ms == {"major_outage": 600_000}
    assert second.spent_ms == {"major_outage": 1_200_000}
    assert third.spent_ms == {}


@given(st.floats(0, 1))
def test_only_an_undisturbed_time_reads_as_100(ratio: float) -> None:
    text = percentage(ratio)
    assert (text == "100") == (ratio == 1)
    assert float(text) <= ratio * 100 + 1e-4


def test_percentages_are_cut_and_not_rounded() -> None:
    assert [percentage(one) for one in (0.99999, 0.9997, 0.99949, 0.5, 0.0)] == [
        "99.99",
        "99.97",
        "99.94",
        "50.00",
        "0.00",
    ]


def test_days_are_utc_days() -> None:
    assert day_of(1_796_216_700_000) == 1_796_169_600_000
