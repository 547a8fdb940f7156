"""What the incident stage tells operators: in metrics and in the worker's log."""

import logging

import pytest
from prometheus_client import REGISTRY

from schemas.configuration import Incidents
from schemas.incidents import Command
from streams.shell.telling import tell_incidents, tell_silences
from tests.streams.incident_helpers import SECOND, START, anomaly, batches, stage


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_how_good_guesses_were_before_their_answer_was_known_is_a_metric() -> None:
    made = stage(rules=Incidents(outlook_after_incidents=3, close_after_seconds=600))
    for number in range(6):
        at = number * 4_000
        many = [anomaly(at=at + after, since=at) for after in range(0, 120, 10)]
        tell_incidents(made.process(batches(many, until=at + 3_000)), made)
    found = made.validation()
    assert found is not None and found.examples == 3
    for what, share in (
        ("category", found.category_right),
        ("recovery", found.complexity_right),
        ("duration", found.within),
    ):
        assert value("tocsin_outlook_right_ratio", what=what) == share
    assert found.category_right == 1.0


def test_a_silence_that_ends_is_logged_and_counted_with_what_it_held_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended, held = "tocsin_silences_expired_total", "tocsin_silences_held_back_total"
    before = value(ended), value(held)
    made = stage()
    made.process(batches([], until=10))
    to_ms = START + 300 * SECOND
    silence = Command(
        id="s1",
        type="silence",
        incident_id="",
        actor="ada",
        issued_ms=START,
        matchers=("service=cart",),
        to_ms=to_ms,
    )
    made.command([silence])
    with caplog.at_level(logging.INFO):
        made.process(batches([anomaly("cart", at=20)], until=2_000))
        told = tell_silences(made)
    assert [event.type for event in told] == ["ended"]
    assert (value(ended), value(held)) == (before[0] + 1, before[1] + 1)
    assert made.silence_events == []
    assert "silence s1 of ada has ended at" in caplog.text
    assert "it held back 1 incident: INC-" in caplog.text
