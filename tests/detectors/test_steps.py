"""Steps of a service's work that belong together, and what is said when one stays away."""

from collections.abc import Mapping
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.service_steps import Step
from detectors.steps import StepFinding, StepWatch
from tests.detectors.series import START_MS

REQUEST = Step("request", "/orders")
TAKEN = Step("line", "INFO order taken")
STORED = Step("line", "INFO order stored")
AUDITED = Step("line", "INFO order audited")
REFUSED = Step("error", "ERROR order refused")


def window(watch: StepWatch, i: int, steps: Mapping[Step, int]) -> list[StepFinding]:
    """The `i`th window of 10 s of the service `shop`."""
    end_ms = START_MS + i * 10_000
    return watch.process(end_ms - 10_000, end_ms, {"shop": steps} if steps else {}, 4.0)


def orders(count: int) -> dict[Step, int]:
    """So many healthy orders: two lines each are stored, every third is audited."""
    return {REQUEST: count, TAKEN: count, STORED: 2 * count, AUDITED: count // 3}


def watching(windows: int = 60) -> StepWatch:
    """A watch that knows the shop."""
    watch, random = StepWatch(), Random(1)
    for i in range(windows):
        assert window(watch, i, orders(random.randint(2, 9))) == []
    return watch


def test_a_step_that_lastingly_stays_away_is_told_with_what_it_belongs_to() -> None:
    watch = watching()
    broken = {**orders(6), STORED: 0}
    said = [window(watch, 60 + i, broken) for i in range(6)]
    assert said[:5] == [[]] * 5
    (found,) = said[5]
    assert found.service == "shop"
    assert found.since_ms == START_MS + 59 * 10_000
    assert found.score > 6.5
    assert found.explanation.confirmed
    assert (found.explanation.value, found.explanation.expected) == (0, 72)
    assert "“INFO order stored” came 0 times in 60 s, expected 72" in found.explanation.reason


def test_a_step_that_comes_half_as_often_as_always_is_told() -> None:
    watch = watching()
    said = [window(watch, 60 + i, {**orders(6), STORED: 6}) for i in range(9)]
    assert [f.step for f in said[-1]] == ["“INFO order stored”"]


def test_fewer_orders_are_no_reason_to_tell_anything() -> None:
    watch = watching()
    assert [window(watch, 60 + i, orders(1 + i % 2)) for i in range(60)] == [[]] * 60


def test_a_step_that_follows_its_own_mind_is_never_missed() -> None:
    watch, random = StepWatch(), Random(3)
    for i in range(400):
        steps = {**orders(6), AUDITED: random.choice((0, 0, 1, 2, 6))}
        assert window(watch, i, steps) == []
    assert [window(watch, 400 + i, {**orders(6), AUDITED: 0}) for i in range(30)] == [[]] * 30


def test_a_step_that_comes_back_soon_is_not_told() -> None:
    watch = watching()
    for i in range(60, 65):
        assert window(watch, i, {**orders(6), STORED: 0}) == []
    assert [window(watch, i, orders(6)) for i in range(65, 90)] == [[]] * 25


def test_a_step_is_told_when_nothing_is_heard_of_the_service_for_as_long() -> None:
    watch = watching()
    for i in range(60, 64):
        assert window(watch, i, {**orders(6), STORED: 0}) == []
    said = [window(watch, i, {}) for i in range(64, 100)]
    assert [i for i, found in enumerate(said, 64) if found] == [65]


def test_what_is_missing_from_the_start_must_be_so_for_longer() -> None:
    watch = watching()
    said = [window(watch, 100 + i, {**orders(6), STORED: 0}) for i in range(15)]
    assert [i for i, found in enumerate(said) if found] == [12, 13, 14]
    assert said[12][0].since_ms == START_MS + 99 * 10_000


def test_calls_are_not_missed_because_of_lines() -> None:
    call, watch = Step("call", "stock /reserve"), StepWatch()
    for i in range(60):
        window(watch, i, {TAKEN: 6, call: 6})
    assert [window(watch, 60 + i, {TAKEN: 6}) for i in range(9)] == [[]] * 9


def test_a_call_is_missed_because_of_requests() -> None:
    call, watch = Step("call", "stock /reserve"), StepWatch()
    for i in range(60):
        window(watch, i, {REQUEST: 6, call: 6})
    said = [window(watch, 60 + i, {REQUEST: 6}) for i in range(9)]
    assert [f.step for f in said[-1]] == ["calls to stock /reserve"]


def test_error_lines_and_requests_are_not_missed() -> None:
    watch = StepWatch()
    for i in range(60):
        window(watch, i, {**orders(6), REFUSED: 6})
    assert [window(watch, 60 + i, {**orders(6), REFUSED: 0}) for i in range(9)] == [[]] * 9
    assert [window(watch, 69 + i, {**orders(6), REQUEST: 0}) for i in range(9)] == [[]] * 9


def test_the_loss_of_all_of_a_services_lines_is_not_trusted() -> None:
    watch = watching()
    said = [window(watch, 60 + i, {REQUEST: 6}) for i in range(9)]
    assert [f.explanation.confirmed for f in said[-1]] == [False]


def test_new_lines_instead_of_the_old_are_a_change_of_the_code_and_not_trusted() -> None:
    watch = watching()
    written_anew = Step("line", "INFO order put on stock")
    changed = {**orders(6), STORED: 0, written_anew: 12}
    said = [window(watch, 60 + i, changed) for i in range(9)]
    assert [f.explanation.confirmed for f in said[-1]] == [False]


def test_what_has_stayed_away_for_half_an_hour_is_the_usual() -> None:
    watch = watching()
    said = [window(watch, 60 + i, {**orders(6), STORED: 0}) for i in range(400)]
    assert said[60]
    assert not any(said[220:])


def test_steps_of_slices_are_judged_by_the_slice() -> None:
    watch = watching()
    for start in (100, 200, 300):
        # Each slice begins and ends amid an order: some of what belongs together is cut off.
        assert window(watch, start, {REQUEST: 2, STORED: 3}) == []
        for i in range(1, 10):
            assert window(watch, start + i, orders(5)) == []
        assert window(watch, start + 10, {TAKEN: 2}) == []


def test_a_restored_watch_says_the_same_as_one_that_went_on() -> None:
    watch = watching()
    for i in range(60, 64):
        window(watch, i, {**orders(6), STORED: 0})
    restored = StepWatch()
    restored.load(msgspec.msgpack.decode(msgspec.msgpack.encode(watch.dump())))
    assert restored.dump() == watch.dump()
    for i in range(64, 120):
        steps = {**orders(6), STORED: 0 if i < 80 else 12}
        assert window(restored, i, steps) == window(watch, i, steps)
    assert restored.dump() == watch.dump()


def test_more_steps_and_services_than_there_is_room_for_are_counted() -> None:
    watch = StepWatch(most_steps=2, most=1)
    for i in range(3):
        window(watch, i, orders(3))
    watch.process(START_MS, START_MS + 10_000, {"mail": {REQUEST: 1}}, 4.0)
    assert watch.left_out > 0
    watch.forget(START_MS + 86_400_000)
    assert watch.dump() == []


def test_few_requests_are_enough_where_each_misses_the_step() -> None:
    watch, random = StepWatch(), Random(2)
    for i in range(200):
        count = random.randint(0, 1)
        assert window(watch, i, {REQUEST: count, TAKEN: count, STORED: count}) == []
    said = [window(watch, 200 + i, {REQUEST: 1, TAKEN: 1, STORED: 0}) for i in range(7)]
    assert [f.step for f in said[-1]] == ["“INFO order stored”"]
    assert said[-1][0].score > 6.5


def test_a_step_stays_away_only_from_the_first_window_on_in_which_it_was_missed() -> None:
    watch, idle = watching(), Step("line", "INFO no order to take")
    for i in range(60, 74):
        assert window(watch, i, {idle: 1}) == []
    said = [window(watch, 74 + i, {**orders(6), STORED: 0}) for i in range(6)]
    assert [len(found) for found in said] == [0, 0, 0, 0, 0, 1]
    assert said[-1][0].since_ms == START_MS + 73 * 10_000


def test_steps_that_have_long_not_come_make_room_for_new_ones() -> None:
    watch = StepWatch(most_steps=4)
    for i in range(60):
        window(watch, i, orders(6))
    watch.forget(START_MS + 59 * 10_000)
    for i in range(60, 120):
        window(watch, i, {REQUEST: 6, Step("line", "INFO order written"): 6})
    before = watch.left_out
    assert before > 0
    watch.forget(START_MS + 100 * 10_000)
    for i in range(120, 180):
        window(watch, i, {REQUEST: 6, Step("line", "INFO order written"): 6})
    assert watch.left_out == before
    assert window(watch, 180, {REQUEST: 6}) == []
    assert any(window(watch, 181 + i, {REQUEST: 6, AUDITED: 1}) for i in range(9))


WINDOWS = st.lists(
    st.dictionaries(st.sampled_from([REQUEST, TAKEN, STORED, REFUSED]), st.integers(1, 9)),
    min_size=40,
    max_size=90,
)


@settings(max_examples=25, deadline=None)
@given(WINDOWS, st.integers(1, 89))
def test_whatever_comes_a_restored_watch_says_the_same(
    windows: list[dict[Step, int]], cut: int
) -> None:
    watch, restored = StepWatch(learning_windows=5), StepWatch(learning_windows=5)
    for i, steps in enumerate(windows):
        if i == cut:
            restored.load(msgspec.msgpack.decode(msgspec.msgpack.encode(watch.dump())))
        said = window(watch, i, steps)
        if i >= cut:
            # The order in which steps are named says nothing either.
            assert window(restored, i, dict(reversed(steps.items()))) == said
    if cut < len(windows):
        assert restored.dump() == watch.dump()
