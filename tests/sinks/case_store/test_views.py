"""How the pages put things into order and words."""

import pytest

from schemas.incidents import Delivery, IncidentEvent
from sinks.case_store import views
from sinks.case_store.reader import TimelineEvent
from tests.sinks import examples

YEARS_MS = 10**11


def read(event: IncidentEvent, recorded_ms: int) -> TimelineEvent:
    """The event as the store gives it."""
    return TimelineEvent(
        id=event.id,
        version=event.version,
        type=event.type,
        time_ms=event.time_ms,
        recorded_ms=recorded_ms,
        actor=event.actor,
        text=event.text,
        changes=event.changes,
        command_id=event.command_id,
        incident=None,
    )


def order(events: list[TimelineEvent], deliveries: list[Delivery]) -> list[str]:
    """The merged timeline in brief."""
    lines = []
    for entry in views.merged(events, deliveries):
        if entry.event:
            lines.append(entry.event.type)
        if entry.delivery:
            lines.append(f"{entry.delivery.recipient} {entry.delivery.status}")
    return lines


def test_in_a_replay_deliveries_stand_between_the_events_that_they_came_between() -> None:
    life = examples.cpu_fault()
    clock = [event.time_ms + YEARS_MS for event in life]
    events = [read(event, at) for event, at in zip(life, clock, strict=True)]
    told = [
        examples.delivery(life[0], recipient="a", time_ms=clock[0] + 1),
        examples.delivery(life[0], recipient="b", time_ms=clock[2] + 1),
        examples.delivery(life[3], recipient="c", time_ms=clock[3] + 1),
    ]
    assert order(events, told) == [
        "opened",
        "a sent",
        "updated",
        "acknowledged",
        "b sent",
        "resolved",
        "c sent",
    ]


def test_a_delivery_never_stands_before_its_event_even_if_clocks_differ() -> None:
    life = examples.cpu_fault()
    events = [read(event, event.time_ms) for event in life]
    early = examples.delivery(life[3], time_ms=life[0].time_ms - 5000)
    assert order(events, [early])[-2:] == ["resolved", "on-call sent"]


def test_a_delivery_whose_event_is_not_read_yet_is_shown() -> None:
    assert order([], [examples.delivery(examples.cpu_fault()[0])]) == ["on-call sent"]


def test_the_latest_step_of_a_message_is_its_result_whatever_its_attempt() -> None:
    event = examples.cpu_fault()[0]
    steps = [
        examples.delivery(event, "failed", attempt=1, time_ms=1),
        examples.delivery(event, "sent", attempt=2, time_ms=2),
        examples.delivery(event, "acknowledged", attempt=0, time_ms=3),
    ]
    (message,) = views.messages(steps, [read(event, 0)], None)
    assert (message.latest.status, message.attempts, message.about) == ("acknowledged", 2, "opened")


@pytest.mark.parametrize(
    ("value", "series", "shown"),
    [
        (0.97, 'cpu_usage_ratio{service="a"}', "97 %"),
        (1.21, 'duration_seconds{service="a"}', "1.21 s"),
        (3_500_000_000, "memory_usage_bytes", "3.5 GB"),
        (12, "network_receive_bytes_total", "12 B"),
        (0.0944, 'network_seconds{service="a"}', "94.4 ms"),
        (0.0000772, "latency_seconds", "77.2 µs"),
        (54, "queue_wait_milliseconds", "54 ms"),
        (1300, "cpu_used_millicores", "1,300 millicores"),
        (12.5, "requests_per_second", "12.5/s"),
        (1204, "", "1,204"),
        (0.000012, "x", "1.20e-05"),
        (0, "x", "0"),
        (-2.5, "x", "-2.5"),
    ],
)
def test_numbers_are_short_and_carry_their_unit(value: float, series: str, shown: str) -> None:
    assert views.quantity(value, series) == shown


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (0, "0 s"),
        (75_000, "75 s"),
        (600_000, "10 min"),
        (12_000_000, "3 h 20 min"),
        (7_200_000, "2 h"),
        (187_200_000, "2 d 4 h"),
        (None, "–"),
    ],
)
def test_durations_are_in_words(milliseconds: int | None, shown: str) -> None:
    assert views.duration(milliseconds) == shown


def test_a_time_beyond_the_calendar_breaks_no_page() -> None:
    assert views.time(2**53) == "–"
    assert 'datetime="2022-08-29T02:34:00.000Z"' in views.time(examples.CPU_START_MS)


def test_bars_stay_within_their_line() -> None:
    page = views._signals(examples.cpu_incident(), set())
    for row in page:
        assert 0 <= row.bar.start <= row.bar.start + row.bar.width <= 100
        assert 0 < row.bar.opened < 100


def test_a_page_to_come_is_told_until_its_time_or_the_end_of_the_case() -> None:
    event = examples.cpu_fault()[0]
    page = examples.delivery(event, "scheduled", channel="escalation", due_ms=5_000, time_ms=1)

    def shown(*steps: Delivery, now_ms: int | None) -> list[str]:
        found = views.messages([page, *steps], [read(event, 0)], now_ms)
        return [views.step_words(message.latest) for message in found]

    assert shown(now_ms=4_000) == ["planned"]
    assert shown(now_ms=5_000) == []
    assert shown(now_ms=None) == []
    off = examples.delivery(event, "called_off", channel="escalation", time_ms=2)
    assert shown(off, now_ms=4_000) == []


def test_promises_are_lines_of_the_timeline_and_no_messages() -> None:
    event = examples.cpu_fault()[0]
    steps = [
        examples.delivery(event, "scheduled", channel="cadence", due_ms=9_000, time_ms=1),
        examples.delivery(event, "kept", channel="cadence", time_ms=2),
    ]
    assert views.messages(steps, [read(event, 0)], 5_000) == ()
    lines = [entry.delivery for entry in views.merged([read(event, 0)], steps) if entry.delivery]
    assert [views.step_words(line) for line in lines] == ["promised", "promise kept"]
    assert [views.way_words(line) for line in lines] == ["", ""]
