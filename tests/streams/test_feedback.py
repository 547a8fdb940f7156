"""What people say of incidents: how it moves the bar of a pattern, and how it fades."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.anomalies import Anomaly, AnomalyKind
from schemas.incidents import Command, IncidentEvent
from streams.dossier import signal_of
from streams.explain import explain
from streams.feedback import MOST_LOWERED, MOST_RAISED, Feedback, words_of
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import (
    MINUTE,
    START,
    anomaly,
    as_bytes,
    batches,
    brief,
    stage,
    told,
)

DAY = 86_400_000
HALF_LIFE = 30 * DAY
THRESHOLD = 6.5


def out(
    score: float = 8.0,
    at: int = 0,
    *,
    service: str = "cart",
    kind: AnomalyKind = "error_ratio",
    confirmed: bool = True,
) -> Anomaly:
    """An anomaly as detection says it, with the threshold that it was held to."""
    opens = confirmed and score >= THRESHOLD
    series = f'requests{{service="{service}"}}' if kind == "error_ratio" else None
    made = anomaly(service, kind, at, score=score, series=series, opens=opens)
    return msgspec.structs.replace(made, threshold=THRESHOLD, confirmed=confirmed)


def marked(score: float, times: int = 1) -> Feedback:
    feedback = Feedback(HALF_LIFE)
    for i in range(times):
        feedback.not_an_incident([signal_of(out(score))], "ada", f"INC-{i}", START)
    return feedback


def says(kind: str, incident: str = "", number: int = 1, **fields: object) -> Command:
    command = {"id": f"c{number}", "type": kind, "incident_id": incident, "actor": "ada"}
    return msgspec.convert({**command, "issued_ms": 0, **fields}, Command)


def test_a_false_alarm_raises_the_bar_to_just_above_it() -> None:
    feedback = marked(8.0)
    assert not feedback.judge(out(8.2)).opens
    assert feedback.judge(out(8.7)).opens
    assert feedback.judge(out(8.2, service="web")).opens
    assert feedback.judge(out(8.2, kind="saturation")).opens


def test_one_voice_does_not_silence_a_far_worse_outage_and_many_do_so_only_so_far() -> None:
    assert marked(40.0).judge(out(THRESHOLD + 4.1)).opens
    many = marked(40.0, times=20)
    assert not many.judge(out(THRESHOLD + MOST_RAISED - 0.1)).opens
    assert many.judge(out(THRESHOLD + MOST_RAISED)).opens


def test_what_was_said_fades_and_is_forgotten() -> None:
    feedback = marked(THRESHOLD + 3.5)
    assert not feedback.judge(out(THRESHOLD + 3)).opens
    later = msgspec.structs.replace(out(THRESHOLD + 3), window_end_ms=START + HALF_LIFE)
    assert feedback.judge(later).opens
    assert feedback.told([("cart", "error_ratio", "requests")], START + HALF_LIFE)[0].shift == 2
    assert feedback.told([("cart", "error_ratio", "requests")], START + 9 * HALF_LIFE) == ()


def test_something_missed_lowers_the_bar_of_what_stood_out_a_little() -> None:
    feedback = Feedback(HALF_LIFE)
    assert not feedback.judge(out(5.0)).opens
    (bar,) = feedback.missed("cart", START, START + MINUTE, "ada", START + MINUTE)
    assert bar.shift == pytest.approx(-2.0)
    assert feedback.judge(out(5.0)).opens
    assert not feedback.judge(out(4.4)).opens
    assert not feedback.judge(out(5.0, confirmed=False)).opens


def test_what_was_far_out_but_unconfirmed_is_trusted_after_it_was_missed() -> None:
    feedback = Feedback(HALF_LIFE)
    assert not feedback.judge(out(9.0, confirmed=False)).opens
    (bar,) = feedback.missed("cart", START, START + MINUTE, "ada", START + MINUTE)
    assert (bar.shift, bar.trusted) == (0.0, True)
    assert feedback.judge(out(9.0, confirmed=False)).opens
    assert not feedback.judge(out(6.0, confirmed=False)).opens
    assert feedback.vouches(feedback.judge(out(9.0, confirmed=False)))


def test_novelty_is_never_more_than_evidence_whatever_was_missed() -> None:
    feedback = Feedback(HALF_LIFE)
    novel = out(30.0, kind="novelty", confirmed=False)
    assert not feedback.judge(novel).opens
    bars = feedback.missed("cart", START, START + MINUTE, "ada", START + MINUTE)
    assert [b.kind for b in bars] == ["any"]
    assert not feedback.judge(novel).opens


def test_trouble_of_which_nothing_stood_out_lowers_all_of_its_service_a_little() -> None:
    feedback = Feedback(HALF_LIFE)
    bars = feedback.missed("cart", START, START + MINUTE, "ada", START + MINUTE)
    assert [(b.kind, b.shift) for b in bars] == [("any", -0.5)]
    assert feedback.judge(out(6.1)).opens
    assert not feedback.judge(out(6.1, service="web")).opens
    assert words_of(bars) == "Thresholds: anything of cart: lowered by 0.5."


def test_what_stood_out_at_another_time_or_elsewhere_is_not_what_was_missed() -> None:
    feedback = Feedback(HALF_LIFE)
    feedback.judge(out(5.0, service="web"))
    feedback.judge(out(5.0, at=7200))
    bars = feedback.missed("cart", START, START + MINUTE, "ada", START + MINUTE)
    assert [b.kind for b in bars] == ["any"]


def test_what_was_raised_and_is_missed_comes_down_again() -> None:
    feedback = marked(9.0)
    assert not feedback.judge(out(8.0, at=600)).opens
    at = START + 600_000
    feedback.missed("cart", at, at + MINUTE, "ben", at + MINUTE)
    assert feedback.judge(out(8.0, at=1200)).opens


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(4, 60), st.booleans(), st.integers(0, 3600)),
        max_size=30,
    ),
    st.floats(4, 60),
)
def test_the_bar_stays_in_its_bounds_and_is_the_same_after_a_restart(
    said: list[tuple[bool, float, bool, int]], score: float
) -> None:
    feedback = Feedback(HALF_LIFE)
    for i, (false, height, confirmed, at) in enumerate(said):
        seen = feedback.judge(out(height, at, confirmed=confirmed))
        now = seen.window_end_ms
        if false:
            feedback.not_an_incident([signal_of(seen)], "ada", f"INC-{i}", now)
        else:
            feedback.missed("cart", now - MINUTE, now, "ada", now)
    for bar in feedback.marks.bars.values():
        assert -MOST_LOWERED <= bar.shift <= MOST_RAISED
    asked = out(score, 3700)
    data = msgspec.msgpack.encode(feedback.marks)
    again = Feedback(HALF_LIFE, msgspec.msgpack.decode(data, type=type(feedback.marks)))
    assert again.judge(asked) == feedback.judge(asked)
    if score >= THRESHOLD + MOST_RAISED:
        assert feedback.judge(asked).opens
    if score < 4.0:
        assert not feedback.judge(asked).opens


# -- through the incident stage ----------------------------------------------------------------


def played(made: IncidentStage, *anomalies: Anomaly, until: int) -> list[IncidentEvent]:
    return made.process(batches(anomalies, until=until)[1:])


def run_of(score: float, at: int) -> list[Anomaly]:
    return [out(score, at + 10 * i) for i in range(3)]


def types(events: Sequence[IncidentEvent]) -> list[str]:
    return [event.type for event in events]


def test_a_false_alarm_is_over_at_once_and_says_what_it_taught() -> None:
    made = stage()
    (opened,) = told(*run_of(8.0, 0), until=30, made=made)
    (event,) = made.command([says("not_an_incident", opened.incident_id)])
    assert (event.type, event.actor, event.command_id) == ("resolved", "ada", "c1")
    assert event.text == (
        "ada says that this was no incident. Thresholds: cart error_ratio requests: raised by 2.0."
    )
    assert event.incident.false_alarm_by == "ada"
    assert event.changes["false alarm"] == "no → says ada"
    assert [bar.shift for bar in made.learned] == [2.0]
    story = explain([opened, event])
    assert "What people's feedback changed" in story
    assert "cart: error ratio requests opens from 2.0 higher" in story
    assert f"ada said that {opened.incident_id} was no incident" in story


def test_the_same_does_not_come_again_and_worse_does() -> None:
    made = stage()
    (opened,) = told(*run_of(8.0, 0), until=30, made=made)
    made.command([says("not_an_incident", opened.incident_id)])
    assert played(made, *run_of(8.0, 3600), until=5000) == []
    assert types(played(made, *run_of(9.5, 7200), until=7240)) == ["opened"]


def test_a_second_voice_is_told_that_it_was_said_already() -> None:
    made = stage()
    (opened,) = told(*run_of(8.0, 0), until=30, made=made)
    made.command([says("not_an_incident", opened.incident_id)])
    (again,) = made.command([says("not_an_incident", opened.incident_id, number=2)])
    assert again.type == "noted"
    assert again.text.endswith("ada has said so already.")
    assert len(made.learned) == 1


def test_a_closed_incident_can_still_be_called_none() -> None:
    made = stage()
    events = told(*run_of(8.0, 0), until=2 * 86_400, made=made)
    assert types(events)[-1] == "closed"
    assert made.command([says("not_an_incident", events[0].incident_id)]) == []
    assert [bar.shift for bar in made.learned] == [2.0]
    assert made.refused == []
    made.command([says("not_an_incident", "INC-UNKNOWN", number=2)])
    assert [refusal.reason for _, refusal in made.refused] == ["unknown_incident"]


def test_what_was_missed_opens_an_incident_the_next_time() -> None:
    made = stage()
    weak = [out(5.5, 10 * i) for i in range(3)]
    assert told(*weak, until=600, made=made) == []
    missed = says("missed", service="cart", from_ms=START, to_ms=START + MINUTE)
    assert made.command([missed]) == []
    again = [out(5.5, 3600 + 10 * i) for i in range(3)]
    (opened,) = played(made, *again, until=3640)
    assert "was missed" in opened.incident.feedback[0].reason


def test_a_vague_sign_that_people_missed_is_enough_from_then_on() -> None:
    made = stage()
    vague = [out(8.0, 10 * i, kind="level") for i in range(3)]
    assert told(*vague, until=600, made=made) == []
    made.command([says("missed", service="cart", from_ms=START, to_ms=START + MINUTE)])
    again = [out(8.0, 3600 + 10 * i, kind="level") for i in range(3)]
    assert types(played(made, *again, until=3640)) == ["opened"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"service": "cart"},
        {"service": "cart", "from_ms": START + MINUTE, "to_ms": START},
        {"service": "cart", "from_ms": START + DAY, "to_ms": START + 2 * DAY},
    ],
)
def test_what_was_missed_needs_a_service_and_a_time_in_the_past(fields: dict[str, object]) -> None:
    made = stage()
    told(until=60, made=made)
    made.command([says("missed", "", 1, **fields)])
    assert [refusal.reason for _, refusal in made.refused] == ["no_effect"]
    assert made.learned == []


def test_feedback_outlives_a_restart_and_a_repeated_command_counts_once() -> None:
    first = stage()
    (opened,) = told(*run_of(40.0, 0), until=30, made=first)
    command = says("not_an_incident", opened.incident_id)
    first.command([command])
    second = stage()
    second.restore(first.snapshot())
    assert second.command([command]) == []
    later = run_of(THRESHOLD + 3.5, 3600)
    assert played(second, *later, until=3700) == played(first, *later, until=3700) == []
    worse = run_of(THRESHOLD + 4.5, 7200)
    ours, theirs = played(first, *worse, until=7240), played(second, *worse, until=7240)
    assert as_bytes(ours) == as_bytes(theirs)
    assert brief(ours) == ["opened 7215"]
