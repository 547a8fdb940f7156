"""What is said to customers, and when something is worth saying."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.incidents import IncidentEvent
from schemas.oncall import Cadence
from sinks.notifier import cadence
from sinks.status_page.components import components_of
from sinks.status_page.incident import MAX_MESSAGE_CHARACTERS, PublicIncident, publish, publishable
from sinks.status_page.tongue import ENGLISH
from tests.sinks.examples import event
from tests.sinks.status_page.examples import (
    DAY_MS,
    MINUTE_MS,
    NOW_MS,
    configuration,
    incident,
    life,
    then,
)

PAGE = components_of(configuration("unused"))  # type: ignore[arg-type]


def after(events: list[IncidentEvent]) -> PublicIncident:
    """What is public after the events."""
    known: PublicIncident | None = None
    for one in events:
        known = publish(known, one, PAGE)
    assert known is not None
    return known


def bodies(events: list[IncidentEvent]) -> list[str]:
    """What was said, in order."""
    return [update.body for update in after(events).updates]


@pytest.mark.parametrize(
    ("kinds", "severity", "title", "sentence"),
    [
        (
            ("silence",),
            "P1",
            "Checkout unavailable",
            "customers have been unable to reach Checkout.",
        ),
        (
            ("silence",),
            "P3",
            "Checkout intermittently unavailable",
            "a small number of customers may have been unable to reach Checkout.",
        ),
        (
            ("error_log_rate",),
            "P2",
            "Errors on Checkout",
            "some customers have been seeing errors when using Checkout.",
        ),
        (
            ("saturation", "latency"),
            "P2",
            "Slow responses on Checkout",
            "some customers have been seeing slow responses when using Checkout.",
        ),
        (
            ("network", "error_ratio"),
            "P1",
            "Errors and slow responses on Checkout",
            "customers have been seeing errors and slow responses when using Checkout.",
        ),
    ],
)
def test_customers_read_what_they_notice(
    kinds: Any, severity: Any, title: str, sentence: str
) -> None:
    found = after([event(incident(kinds=kinds, severity=severity), "opened")])
    assert found.name == title
    assert found.updates[0].body.startswith(f"Since 12:45 UTC, {sentence}")


@pytest.mark.parametrize("kind", ["latency", "network", "traffic", "level"])
def test_what_customers_need_not_feel_is_given_no_name(kind: Any) -> None:
    """Answers five times as fast, five times the requests, an unusual metric."""
    fast_or_many = (0.1, 0.5) if kind in ("latency", "network") else (5.0, 1.0)
    made = incident(kinds=(kind,), severity="P2")
    value, expected = fast_or_many
    signals = tuple(
        msgspec.structs.replace(one, value=value, expected=expected) for one in made.signals
    )
    found = after([event(msgspec.structs.replace(made, signals=signals), "opened")])
    assert found.name == "Problems with Checkout"
    assert "some customers have been having trouble with Checkout." in found.updates[0].body


def test_each_phase_says_what_is_being_done_and_when_more_follows() -> None:
    said = bodies(life(incident(), 60 * MINUTE_MS))
    assert said == [
        "Since 12:45 UTC, some customers have been seeing errors when using Checkout. "
        "We are looking for the cause. Next update by 13:50 UTC.",
        "We know what is causing the problem and are working on it. Since 12:45 UTC, some "
        "customers have been seeing errors when using Checkout. Next update by 14:10 UTC.",
        "Checkout is recovering. We are watching closely to be sure that the problem is over. "
        "Next update by 14:30 UTC.",
        "The problem is over. From 12:45 to 13:45 UTC (1 hour), some customers were seeing "
        "errors when using Checkout. We are sorry for the disruption.",
    ]


def test_a_persons_words_are_used_once_and_not_repeated_in_later_phases() -> None:
    opened = event(incident(), "opened")
    spoken = then(
        opened, "public_message", 2 * MINUTE_MS, public_message="Card payments fail; cash works."
    )
    resolved = then(spoken, "resolved", 9 * MINUTE_MS, public_phase="resolved", resolved_ms=NOW_MS)
    said = bodies([opened, spoken, resolved])
    assert said[1] == "Card payments fail; cash works."
    assert said[2].startswith("The problem is over.")
    assert len(said) == 3


def test_what_customers_cannot_notice_is_not_announced() -> None:
    opened = event(incident(), "opened")
    seen = then(opened, "acknowledged", 2 * MINUTE_MS, acknowledged_by="ada")
    noted = then(seen, "noted", 3 * MINUTE_MS, summary="internal")
    found = after([opened, seen, noted, then(noted, "updated", 4 * MINUTE_MS, causes=())])
    assert len(found.updates) == 1
    assert found.version == 4


def test_what_is_learned_in_the_first_minute_corrects_the_first_statement() -> None:
    opened = event(incident(kinds=("latency",), severity="P3"), "opened")
    worse = then(
        opened,
        "severity_changed",
        10_000,
        severity="P1",
        signals=incident(kinds=("error_ratio",)).signals,
    )
    later = then(worse, "severity_changed", 2 * MINUTE_MS, severity="P2")
    found = after([opened, worse, later])
    assert len(found.updates) == 2
    first = found.updates[0]
    assert first.time_ms == opened.time_ms
    assert first.edited_ms == worse.time_ms
    assert "customers have been seeing errors" in first.body
    assert [(one.old, one.new) for one in first.affected] == [("operational", "major_outage")]


def test_an_incident_that_returns_says_so_and_the_time_between_was_good() -> None:
    events = life(incident(started_ms=NOW_MS - 90 * MINUTE_MS), 30 * MINUTE_MS)
    again = then(
        events[-1],
        "reopened",
        20 * MINUTE_MS,
        public_phase="investigating",
        resolved_ms=None,
    )
    found = after([*events, again])
    assert found.updates[-1].body.startswith("The problem has returned.")
    assert found.resolved_ms is None
    assert [bool(one.statuses) for one in found.stretches] == [True, False, True]


def test_a_start_on_another_day_is_said_with_its_date() -> None:
    opened = incident(started_ms=NOW_MS - DAY_MS, opened_ms=NOW_MS, updated_ms=NOW_MS)
    assert "Since 13:05 UTC on 1 December, " in bodies([event(opened, "opened")])[0]


@given(st.text())
def test_any_text_can_be_shown_after_cleaning(text: str) -> None:
    shown = publishable(text)
    assert len(shown) <= MAX_MESSAGE_CHARACTERS
    assert publishable(shown).strip() == shown.strip()
    shown.encode()
    assert not any(ord(one) < 32 and one not in "\n\t" for one in shown)


@given(st.lists(st.integers(0, 3), max_size=12))
def test_repeats_and_older_events_in_any_order_end_in_the_newest_state(order: list[int]) -> None:
    events = life(incident())
    said = [events[index] for index in order]
    if not said:
        return
    known: PublicIncident | None = None
    for one in said:
        before = known
        known = publish(known, one, PAGE)
        if before is not None and one.version <= before.version:
            assert known is before
    assert known is not None
    assert known.version == max(one.version for one in said)
    encoded = msgspec.json.encode(known)
    assert msgspec.json.decode(encoded, type=PublicIncident) == known


def test_no_change_is_an_update_of_its_own() -> None:
    opened = life(incident())[0]
    same = then(opened, "no_change", 30 * MINUTE_MS)
    first, second = after([opened, same]).updates
    assert (first.time_ms, second.time_ms) == (opened.time_ms, same.time_ms)
    assert second.automatic


def test_words_that_are_taken_back_leave_a_trace_but_not_themselves() -> None:
    opened = life(incident())[0]
    said = then(opened, "public_message", 2 * MINUTE_MS, public_message="All data is lost.")
    back = then(said, "retracted", 2 * MINUTE_MS, public_message=None)
    found = after([opened, said, back])
    assert len(found.updates) == 3
    assert "withdrawn at" in found.updates[1].body
    assert found.updates[1].time_ms == said.time_ms
    assert found.updates[2].automatic
    assert not any("All data is lost" in update.body for update in found.updates)


def test_the_page_promises_what_messages_promise() -> None:
    opened = life(incident(severity="P1"))[0]
    for minutes in (10, 30, 45):
        rules = Cadence(minutes={"P1": minutes})
        now_ms = opened.time_ms + 7_000  # when Kafka had it, and the notifier
        shown = publish(None, opened, PAGE, rules, now_ms)
        told = cadence.make(rules, None, "P1", now_ms, automatic=False)
        assert told is not None
        assert shown.next_ms == told.due_ms
        assert f"Next update by {ENGLISH.clock(told.due_ms)}." in shown.updates[0].body


def test_a_severity_that_promises_nothing_promises_nothing_on_the_page() -> None:
    opened = life(incident(severity="P3"))[0]
    shown = publish(None, opened, PAGE, Cadence(minutes={"P1": 30}))
    assert shown.next_ms is None
    assert "Next update" not in shown.updates[0].body


def test_while_facts_change_fast_the_next_update_is_sooner_and_of_an_old_incident_later() -> None:
    opened = life(incident(severity="P1"))[0]
    spans: list[int] = []
    known = publish(None, opened, PAGE)
    event_ = opened
    for _ in range(3):
        event_ = then(event_, "public_message", 2 * MINUTE_MS, public_message=f"{len(spans)}")
        known = publish(known, event_, PAGE)
        spans.append((known.next_ms or 0) - event_.time_ms)
    assert spans[0] >= 30 * MINUTE_MS
    assert spans[2] < 20 * MINUTE_MS
    late = then(event_, "no_change", 5 * 60 * MINUTE_MS)
    known = publish(known, late, PAGE)
    assert (known.next_ms or 0) - late.time_ms >= 60 * MINUTE_MS


def test_facts_that_nobody_is_told_of_do_not_move_the_promise_that_stands() -> None:
    opened = life(incident(severity="P1"))[0]
    known = publish(None, opened, PAGE)
    promised_ms = known.next_ms
    changed = msgspec.structs.replace(
        then(opened, "updated", 10 * MINUTE_MS), changes={"causes": "none → db"}
    )
    after_it = publish(known, changed, PAGE)
    assert after_it.next_ms == promised_ms
    assert len(after_it.updates) == 1


def test_what_is_over_promises_nothing_more() -> None:
    assert after(life(incident())).next_ms is None


def test_the_page_tells_how_long_the_trouble_was_and_not_how_long_we_watched_afterwards() -> None:
    opened = event(incident(started_ms=NOW_MS), "opened")
    watched = then(opened, "updated", 6 * MINUTE_MS, public_phase="monitoring")
    ended_ms = NOW_MS + 5 * MINUTE_MS
    resolved = then(
        watched,
        "resolved",
        5 * MINUTE_MS,
        public_phase="resolved",
        resolved_ms=NOW_MS + 12 * MINUTE_MS,
        last_anomaly_ms=ended_ms,
    )
    shown = None
    for one in (opened, watched, resolved):
        shown = publish(shown, one, PAGE)
    assert shown is not None
    assert (shown.over_ms, shown.resolved_ms) == (ended_ms, NOW_MS + 12 * MINUTE_MS)
    assert "(5 minutes)" in shown.updates[-1].body
    assert [stretch.from_ms for stretch in shown.stretches] == [NOW_MS, ended_ms]
