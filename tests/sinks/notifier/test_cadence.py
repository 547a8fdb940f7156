"""Promises of the next update: how far off they are, and what comes as they fall due."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.incidents import Severity
from schemas.oncall import Cadence
from sinks.cadence import HOUR_MS, MINUTE_MS
from sinks.notifier import cadence
from sinks.notifier.cadence import Promise

NOW_MS = 1_764_000_000_000
RULES = Cadence()


def promise(severity: Severity = "P1", before: Promise | None = None, **more: bool) -> Promise:
    made = cadence.make(RULES, before, severity, NOW_MS, automatic=more.get("automatic", False))
    assert made is not None
    return made


@pytest.mark.parametrize(("severity", "minutes"), [("P1", 30), ("P2", 60), ("P3", 120)])
def test_the_span_follows_the_severity(severity: Severity, minutes: int) -> None:
    assert promise(severity).due_ms == NOW_MS + minutes * MINUTE_MS


def test_a_severity_that_is_left_out_promises_nothing() -> None:
    rules = Cadence(minutes={"P1": 30})
    assert cadence.make(rules, None, "P4", NOW_MS, automatic=False) is None


def test_an_old_incident_is_told_of_less_often_and_one_that_changes_fast_more_often() -> None:
    old = msgspec.structs.replace(promise(), began_ms=NOW_MS - 5 * HOUR_MS)
    assert promise(before=old).due_ms == NOW_MS + 60 * MINUTE_MS
    busy = promise()
    for minutes in (9, 5, 1):
        busy = cadence.changed(busy, NOW_MS - minutes * MINUTE_MS)
    assert promise(before=busy).due_ms == NOW_MS + 15 * MINUTE_MS
    long_ago = msgspec.structs.replace(
        busy, changes_ms=tuple(at - HOUR_MS for at in busy.changes_ms)
    )
    assert promise(before=long_ago).due_ms == NOW_MS + 30 * MINUTE_MS


def test_the_promised_time_is_one_that_people_would_name() -> None:
    made = cadence.make(RULES, None, "P1", NOW_MS + 1, automatic=False)
    assert made is not None
    assert made.due_ms == NOW_MS + 35 * MINUTE_MS
    soon = cadence.make(Cadence(minutes={"P1": 3}), None, "P1", NOW_MS + 1, automatic=False)
    assert soon is not None
    assert soon.due_ms == NOW_MS + 4 * MINUTE_MS


def test_first_a_reminder_then_no_change_twice_then_an_escalation() -> None:
    made, said = promise(), []
    for _ in range(20):
        if made.fire_ms is None:
            break
        at_ms = made.fire_ms
        made, action = cadence.fire(RULES, made, at_ms, may_speak=True)
        said.append((action, (at_ms - NOW_MS) // MINUTE_MS))
        if action == "no_change":
            following = cadence.make(RULES, made, "P1", at_ms, automatic=True)
            assert following is not None
            made = following
    assert said[:6] == [
        ("remind", 25),
        ("no_change", 30),
        ("remind", 55),
        ("no_change", 60),
        ("remind", 85),
        ("escalate", 90),
    ]
    assert [action for action, _ in said[5:]] == ["escalate"] * 5


def test_a_promise_of_what_has_become_more_severe_is_kept_sooner_and_never_later() -> None:
    slow = promise("P3")
    assert cadence.tightened(RULES, slow, "P1", NOW_MS).due_ms == NOW_MS + 30 * MINUTE_MS
    soon = promise("P1")
    later = cadence.tightened(RULES, soon, "P3", NOW_MS)
    assert (later.due_ms, later.severity) == (soon.due_ms, "P3")


def test_a_person_who_speaks_lets_no_change_begin_anew() -> None:
    third = promise(before=promise(before=promise(automatic=True), automatic=True))
    assert third.automatic == 0


def test_where_public_words_are_reviewed_tocsin_does_not_speak_by_itself() -> None:
    made, _ = cadence.fire(RULES, promise(), NOW_MS + 25 * MINUTE_MS, may_speak=False)
    _, action = cadence.fire(RULES, made, NOW_MS + 30 * MINUTE_MS, may_speak=False)
    assert action == "escalate"


def test_what_became_of_a_promise_is_counted_once() -> None:
    made = promise()
    assert cadence.result(made, made.due_ms, automatic=False) == "kept"
    assert cadence.result(made, made.due_ms, automatic=True) == "kept_by_no_change"
    assert cadence.result(made, made.due_ms + 2 * MINUTE_MS, automatic=False) == "late"
    missed, action = cadence.fire(RULES, made, made.due_ms, may_speak=False)
    assert action == "escalate"
    assert cadence.result(missed, made.due_ms, automatic=False) is None


@given(st.lists(st.tuples(st.integers(0, 90), st.booleans()), max_size=60))
def test_a_promise_is_never_overdue_without_something_to_come_or_having_escalated(
    steps: list[tuple[int, bool]],
) -> None:
    made, now_ms = promise(), NOW_MS
    for minutes, may_speak in steps:
        now_ms += minutes * MINUTE_MS
        made, action = cadence.fire(RULES, made, now_ms, may_speak=may_speak)
        if action == "no_change":
            following = cadence.make(RULES, made, "P1", now_ms, automatic=True)
            assert following is not None
            made = following
        assert made.fire_ms is not None or made.escalated == cadence.MOST_ESCALATIONS
        assert made.fire_ms is None or made.fire_ms <= made.due_ms or made.escalated
