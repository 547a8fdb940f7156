"""The moves of an escalation, with time handed in."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.oncall import Escalation, Hours, Step
from sinks.notifier.escalation.machine import MINUTE_MS, Call, Machine, Page

START_MS = 1_773_655_200_000  # 2026-03-16 10:00 UTC, a Monday
HOUR_MS = 60 * MINUTE_MS


def policy(**changes: object) -> Escalation:
    fields: dict[str, object] = {
        "name": "shop",
        "steps": (Step(notify=("first",)), Step(notify=("second",), after_minutes=10)),
        "repeats": 1,
    }
    return Escalation(**(fields | changes))  # type: ignore[arg-type]


def begun(machine: Machine, turn: int = 0, now_ms: int = START_MS) -> Page:
    page = Page(incident_id="inc", policy=machine.policy.name, rule="all", turn=turn)
    return machine.begin(page, now_ms)


def run(machine: Machine, page: Page, limit: int = 50) -> list[tuple[float, Call]]:
    """Everything that comes if nobody does anything, with minutes since the start."""
    calls: list[tuple[float, Call]] = []
    for _ in range(limit):
        if page.due_ms is None:
            return calls
        now_ms = page.due_ms
        page, call = machine.fire(page, now_ms)
        assert call is not None
        calls.append(((now_ms - START_MS) / MINUTE_MS, call))
    raise AssertionError("it never ends")


def test_steps_come_at_their_times_and_repeat_then_it_says_that_nobody_came() -> None:
    machine = Machine(policy(), HOUR_MS)
    found = [(at, call.kind, call.targets) for at, call in run(machine, begun(machine))]
    assert found == [
        (0, "page", ("first",)),
        (10, "page", ("second",)),
        (15, "page", ("first",)),
        (25, "page", ("second",)),
        (30, "exhausted", ()),
    ]


def test_each_moment_has_a_key_of_its_own() -> None:
    machine = Machine(policy(repeats=5), HOUR_MS)
    keys = [call.key for _, call in run(machine, begun(machine)) if call.kind == "page"]
    assert len(set(keys)) == len(keys) == 12


def test_a_round_robin_pages_one_and_goes_on_with_the_next() -> None:
    step = Step(notify=("a", "b", "c"), round_robin=True)
    machine = Machine(policy(steps=(step,), repeats=2), HOUR_MS)
    for turn, expected in ((0, "abc"), (1, "bca"), (5, "cab")):
        calls = [call for _, call in run(machine, begun(machine, turn))]
        assert "".join(call.targets[0] for call in calls if call.targets) == expected


def test_outside_its_hours_it_waits_until_they_begin() -> None:
    machine = Machine(policy(hours=(Hours(),), time_zone="UTC"), HOUR_MS)
    evening_ms = START_MS + 9 * HOUR_MS
    assert begun(machine, now_ms=evening_ms).due_ms == START_MS + 23 * HOUR_MS
    late, call = machine.fire(begun(machine, now_ms=START_MS + 415 * MINUTE_MS), START_MS + 10**9)
    assert call is not None
    assert late.due_ms is not None


def test_an_acknowledgement_leaves_nothing_due() -> None:
    machine = Machine(policy(), HOUR_MS)
    page, _ = machine.fire(begun(machine), START_MS)
    page = machine.acknowledge(page, "ada", START_MS + MINUTE_MS)
    assert (page.state, page.due_ms) == ("acknowledged", None)
    assert machine.fire(page, START_MS + 1000 * HOUR_MS) == (page, None)


def test_a_reminder_comes_until_somebody_says_something() -> None:
    machine = Machine(policy(remind_after_minutes=30), HOUR_MS)
    page = machine.acknowledge(begun(machine), "ada", START_MS)
    page, call = machine.fire(page, START_MS + 30 * MINUTE_MS)
    assert call is not None and call.kind == "reminder"
    assert page.due_ms == START_MS + 60 * MINUTE_MS
    page = machine.hear(page, START_MS + 45 * MINUTE_MS)
    assert page.due_ms == START_MS + 75 * MINUTE_MS


def test_an_acknowledgement_lapses_once() -> None:
    machine = Machine(policy(unacknowledge_after_minutes=60), HOUR_MS)
    page = machine.acknowledge(begun(machine), "ada", START_MS)
    page, call = machine.fire(page, START_MS + HOUR_MS)
    assert call is not None and call.kind == "lapse"
    assert page.due_ms is None
    page = machine.begin(page, START_MS + HOUR_MS)
    assert page.state == "paging"
    again = machine.acknowledge(page, "grace", START_MS + 2 * HOUR_MS)
    assert again.due_ms is None


def test_an_old_acknowledged_incident_is_left_alone_when_the_notifier_comes_back_late() -> None:
    machine = Machine(policy(unacknowledge_after_minutes=60, remind_after_minutes=30), HOUR_MS)
    page = machine.acknowledge(begun(machine), "ada", START_MS)
    page, call = machine.fire(page, START_MS + 48 * HOUR_MS)
    assert call is not None and call.kind == "too_late"
    assert page.due_ms is None


def test_steps_missed_while_the_notifier_was_down_do_not_come_all_at_once() -> None:
    machine = Machine(policy(), HOUR_MS)
    late_ms = START_MS + 2 * HOUR_MS
    page, call = machine.fire(begun(machine), late_ms)
    assert call is not None and call.targets == ("first",)
    assert page.due_ms == late_ms + 10 * MINUTE_MS


def test_a_step_that_reaches_nobody_is_not_waited_for() -> None:
    machine = Machine(policy(), HOUR_MS)
    page, _ = machine.fire(begun(machine), START_MS)
    page = machine.skip(page, START_MS)
    page, call = machine.fire(page, START_MS)
    assert call is not None and call.targets == ("second",)
    assert machine.skip(page, START_MS) == page  # a whole round without anybody waits


moves = st.lists(
    st.tuples(st.sampled_from(["fire", "acknowledge", "hear", "end", "skip"]), st.integers(0, 90)),
    max_size=40,
)


@given(moves, st.integers(0, 5), st.sampled_from([None, 1, 20]), st.sampled_from([None, 1, 30]))
def test_whatever_happens_no_page_follows_an_acknowledgement_or_the_end(
    made: list[tuple[str, int]], repeats: int, remind: float | None, lapse: float | None
) -> None:
    machine = Machine(
        policy(repeats=repeats, remind_after_minutes=remind, unacknowledge_after_minutes=lapse),
        HOUR_MS,
    )
    page, now_ms, stopped, pages, lapses = begun(machine), START_MS, False, 0, 0
    for move, minutes in made:
        now_ms += minutes * MINUTE_MS
        if move == "fire":
            page, call = machine.fire(page, now_ms)
            if call is not None:
                assert not (stopped and call.kind in ("page", "exhausted"))
                pages += call.kind == "page"
                lapses += call.kind == "lapse"
        elif move == "acknowledge":
            page, stopped = machine.acknowledge(page, "ada", now_ms), True
        elif move == "hear":
            page = machine.hear(page, now_ms)
        elif move == "end":
            page, stopped = machine.end(page), True
        else:
            page = machine.skip(page, now_ms)
    assert pages <= 2 * (repeats + 1)
    assert lapses <= 1
