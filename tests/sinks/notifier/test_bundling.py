"""Limits and quiet hours: what goes out, what waits, and until when."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.configuration import Recipient
from schemas.incidents import Severity
from schemas.oncall import Hours, MessageLimit, QuietHours
from sinks.notifier.bundling import (
    Hold,
    Load,
    digest_ms,
    has_room,
    has_room_for_digest,
    hold,
)

LIMIT = MessageLimit(messages=8, per_seconds=300)
ADA = Recipient(name="ada", channel="console", time_zone="Europe/Berlin")
NIGHT = QuietHours(hours=(Hours(start="22:00", until="07:00"),), severities=("P1",))


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(("severity", "fits"), [("P1", 7), ("P2", 6), ("P3", 4), ("P4", 4)])
def test_the_less_severe_leave_room_and_the_last_one_is_for_the_digest(
    severity: Severity, fits: int
) -> None:
    counts = [count for count in range(20) if has_room(LIMIT, Load(count, None), severity)]
    assert len(counts) == fits
    assert has_room_for_digest(LIMIT, Load(7, 0))
    assert not has_room_for_digest(LIMIT, Load(8, 0))


def test_what_is_too_much_waits_for_a_digest() -> None:
    assert hold("news", "P3", ADA, limit=LIMIT, load=Load(3, 0), now_ms=1000) is None
    assert hold("news", "P3", ADA, limit=LIMIT, load=Load(4, 0), now_ms=1000) == Hold(
        61_000, "limit"
    )
    assert digest_ms(LIMIT, Load(8, 5_000), 10_000) == 305_000


def test_no_limit_holds_nothing_back() -> None:
    assert (
        hold("news", "P4", ADA, limit=MessageLimit(messages=0), load=Load(10**6, 0), now_ms=1000)
        is None
    )


@pytest.mark.parametrize("messages", [1, 2, 3])
def test_a_small_limit_still_lets_one_through(messages: int) -> None:
    limit = MessageLimit(messages=messages)
    assert has_room(limit, Load(0, None), "P4")
    assert not has_room(limit, Load(messages, 0), "P1")


def test_quiet_hours_hold_back_what_is_not_urgent_until_they_end() -> None:
    quiet = Recipient(name="ada", channel="x", time_zone="Europe/Berlin", quiet_hours=NIGHT)
    night, end = ms("2026-11-24T23:30"), ms("2026-11-25T06:00")
    assert hold("news", "P2", quiet, limit=LIMIT, load=Load(0, None), now_ms=night) == Hold(
        end, "quiet_hours"
    )
    assert hold("news", "P1", quiet, limit=LIMIT, load=Load(0, None), now_ms=night) is None
    assert hold("page", "P2", quiet, limit=LIMIT, load=Load(0, None), now_ms=night) is None
    assert hold("news", "P2", quiet, limit=LIMIT, load=Load(0, None), now_ms=end) is None


@given(
    st.integers(1, 30),
    st.lists(
        st.tuples(st.integers(0, 20_000), st.sampled_from(["P1", "P2", "P3", "P4"])), max_size=200
    ),
)
def test_no_span_ever_holds_more_than_the_limit(
    messages: int, asked: list[tuple[int, Severity]]
) -> None:
    limit = MessageLimit(messages=messages, per_seconds=60)
    sent: list[int] = []
    held, due, now_ms = 0, None, 0

    def load() -> Load:
        inside = [at for at in sent if at > now_ms - 60_000]
        return Load(len(inside), min(inside, default=None))

    for after_ms, severity in asked:
        until_ms = now_ms + after_ms
        while due is not None and due <= until_ms:
            now_ms = due
            if has_room_for_digest(limit, load()):
                sent.append(now_ms)
                held, due = 0, None
            else:
                due = digest_ms(limit, load(), now_ms)
                assert due > now_ms
        now_ms = until_ms
        found = hold("news", severity, ADA, limit=limit, load=load(), now_ms=now_ms)
        if found is None:
            sent.append(now_ms)
        else:
            held += 1
            due = min(due or found.until_ms, found.until_ms)
        assert held == 0 or due is not None
    for at in sent:
        assert sum(at - 60_000 < other <= at for other in sent) <= messages
