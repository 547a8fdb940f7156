"""Silences and maintenance windows wake nobody, hide nothing, and end by themselves."""

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.anomalies import Anomaly
from schemas.configuration import Incidents
from schemas.incidents import Command, CommandType, IncidentEvent, Signal
from schemas.silences import Maintenance, Silence
from schemas.times import iso
from streams.incidents import IncidentStage
from streams.silences import SilenceError, Window, event_words, matcher, named_services
from tests.streams.incident_helpers import (
    SECOND,
    START,
    anomaly,
    as_bytes,
    batches,
    brief,
    stage,
    told,
)

SIGNAL = Signal(
    service="cart",
    series='cpu_usage_ratio{service="cart",instance="cart-0"}',
    kind="saturation",
    first_ms=0,
    last_ms=1,
    score=9.0,
    instance="cart-0",
)


def ask(kind: CommandType, **changes: object) -> Command:
    known = {"id": "s1", "incident_id": "", "actor": "ada", "issued_ms": START}
    return Command(type=kind, **(known | changes))  # type: ignore[arg-type]


def silenced(*matchers: str, until: int = 600, **changes: object) -> Command:
    return ask("silence", matchers=matchers, to_ms=START + until * SECOND, **changes)


def planned(hours: float = 0.2, **changes: Any) -> Incidents:
    """A window from one minute before the start on, of everything that `cart` shows."""
    start = datetime.fromtimestamp(START / 1000 - 60, UTC)
    known = {"name": "upgrade", "matchers": ("service=cart",), "start": f"{start:%Y-%m-%dT%H:%M}"}
    return Incidents(maintenance=(Maintenance(**(known | {"hours": hours} | changes)),))


def lasting(seconds: int) -> list[Anomaly]:
    return [anomaly("cart", at=at, since=0) for at in range(0, seconds, 10)]


def states(events: list[IncidentEvent]) -> list[tuple[str, bool]]:
    return [(e.type, e.incident.silenced_by is not None) for e in events]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("service=cart", True),
        ('service="cart"', True),
        (" service = cart ", True),
        ("service=ca", False),
        ('service=~"ca.*"', True),
        ("service=~ca", False),
        ("service!=cart", False),
        ("kind!~lat.*|net.*", True),
        ("metric=cpu_usage_ratio", True),
        ("instance=cart-0", True),
        ("operation=", True),
    ],
)
def test_matchers_are_those_of_alertmanager(text: str, holds: bool) -> None:
    assert matcher(text)(SIGNAL) is holds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cart", "is no matcher"),
        ("color=red", "one of the names service, series"),
        ("service=~(", "regular expression"),
    ],
)
def test_what_is_no_matcher_is_said_with_the_way_out(text: str, says: str) -> None:
    with pytest.raises(SilenceError, match=says.replace("(", r"\(")):
        matcher(text)


def test_a_window_keeps_its_local_time_over_the_change_of_the_clocks() -> None:
    window = Window(
        Maintenance(
            name="backup",
            matchers=("service=db",),
            start="2026-10-18T01:00",
            hours=3,
            timezone="Europe/Berlin",
            rrule="FREQ=WEEKLY;BYDAY=SU",
        )
    )
    at = datetime(2026, 10, 24, 12, tzinfo=UTC).timestamp() * 1000
    starts = []
    for _ in range(2):
        turn = window.turn_at(round(at))
        assert turn is not None
        starts.append((iso(turn[0]), (turn[1] - turn[0]) / 3_600_000))
        at = turn[1]
    assert starts == [("2026-10-24T23:00:00.000Z", 3.0), ("2026-11-01T00:00:00.000Z", 3.0)]


def test_a_window_that_does_not_recur_is_over_when_it_is_over() -> None:
    window = Window(
        Maintenance(name="once", matchers=("service=db",), start="2026-11-24T10:00", hours=1)
    )
    start_ms = round(datetime(2026, 11, 24, 10, tzinfo=UTC).timestamp() * 1000)
    assert window.turn_at(start_ms) == (start_ms, start_ms + 3_600_000)
    assert window.turn_at(start_ms + 3_600_000) is None


@pytest.mark.parametrize(
    "changes",
    [{"timezone": "Mars/Olympus"}, {"rrule": "FREQ=SOMETIMES"}, {"matchers": ("moon=full",)}],
)
def test_a_window_that_is_none_is_refused_at_the_start(changes: dict[str, Any]) -> None:
    with pytest.raises(SilenceError):
        stage(rules=planned(**changes))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL must be 1 or more"),
        ("freq=daily;interval=-1", "INTERVAL must be 1 or more"),
        ("FREQ=SECONDLY", "recurs too often"),
        ("RRULE:FREQ=MINUTELY;INTERVAL=10", "recurs too often"),
    ],
)
def test_a_rule_that_would_hold_the_worker_up_is_refused(rule: str, says: str) -> None:
    with pytest.raises(SilenceError, match=f"maintenance 'upgrade'.*{says}"):
        stage(rules=planned(rrule=rule))


@pytest.mark.parametrize(("until", "turns"), [("20270101T000000Z", 2), ("20261231T235959Z", 1)])
def test_an_end_in_utc_is_held_against_the_wall_clock_of_the_zone(until: str, turns: int) -> None:
    window = Window(
        Maintenance(
            name="backup",
            matchers=("service=db",),
            start="2026-12-31T01:00",
            hours=1,
            timezone="Europe/Berlin",
            rrule=f"FREQ=DAILY;UNTIL={until}",
        )
    )
    at, seen = round(datetime(2026, 12, 30, tzinfo=UTC).timestamp() * 1000), 0
    while turn := window.turn_at(at):
        at, seen = turn[1], seen + 1
    assert seen == turns


def test_in_a_maintenance_window_an_incident_is_logged_silenced_and_resolved_as_ever() -> None:
    events = told(anomaly("cart"), until=600, made=stage(rules=planned(hours=1)))
    assert states(events) == [("opened", True), ("updated", True), ("resolved", True)]
    assert "wakes nobody" in events[0].text
    assert events[0].incident.visibility == "internal"
    unsilenced = told(anomaly("cart"), until=600)
    assert brief(events) == brief(unsilenced)
    assert events[0].incident.severity == unsilenced[0].incident.severity


def test_a_window_that_overruns_is_told_the_moment_it_ends() -> None:
    made = stage(rules=planned(hours=0.1))  # ends five minutes after the start
    events = made.process(batches(lasting(600), until=600))
    ended = [e for e in events if e.type == "unsilenced"]
    assert brief(ended) == ["unsilenced 305"]
    assert "still out of order" in ended[0].text
    before = events[events.index(ended[0]) - 1].incident
    assert (before.visibility, ended[0].incident.visibility) == ("internal", "public")


def test_an_incident_with_one_signal_that_is_not_matched_is_not_silenced() -> None:
    made = stage(rules=planned(hours=1))
    events = made.process(batches([anomaly("cart"), anomaly("web", "latency")], until=60))
    assert [e.incident.silenced_by for e in events] == [None] * len(events)


def test_a_person_can_silence_what_goes_on_and_end_the_silence_again() -> None:
    made = stage()
    events = made.process(batches(lasting(60), until=60))
    assert states(events)[-1] == ("opened", False)
    (incident,) = made.incidents()
    assert made.command([silenced("service=cart", incident_id=incident.id)]) == []
    more = [anomaly("cart", at=at, since=0) for at in range(60, 240, 10)]
    events = made.process(batches(more[:6], until=120))
    assert states(events) == [("silenced", True)]
    assert made.incidents()[0].silenced_until_ms == START + 600 * SECOND
    made.command([ask("unsilence", id="s2", into="s1")])
    assert states(made.process(batches(more[6:], until=240)))[0] == ("unsilenced", False)


def test_an_incident_can_be_silenced_as_a_whole_without_matchers() -> None:
    made = stage()
    made.process(batches([anomaly("cart"), anomaly("web", "latency")], until=20))
    (incident,) = made.incidents()
    made.command([silenced(incident_id=incident.id)])
    assert states(made.process(batches([anomaly("web", "latency", at=20)], until=30))) == [
        ("silenced", True)
    ]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (silenced("moon=full"), "is no matcher"),
        (silenced(), "at least one matcher"),
        (silenced("service=cart", until=-5), "before it begins"),
        (ask("silence", matchers=("service=cart",)), "when it ends"),
        (silenced("service=cart", actor=" "), "nobody gave it"),
        (ask("unsilence", into="nothing"), "no silence nothing"),
    ],
)
def test_a_silence_that_is_none_is_refused_with_the_reason(command: Command, says: str) -> None:
    made = stage()
    made.process(batches([], until=10))
    made.command([command])
    assert [says in refusal.text for _, refusal in made.refused] == [True]


def test_a_silence_ends_by_itself_and_that_is_announced_though_it_held_nothing_back() -> None:
    made = stage()
    made.process(batches([], until=10))
    made.command([silenced("service=cart", until=120, text="upgrade")])
    made.process(batches([], until=100))
    assert made.silence_events == []
    made.process(batches([], until=200))
    [end] = made.silence_events
    assert (end.type, end.services, end.still_open) == ("ended", (), ())
    assert (end.silence.id, end.time_ms, end.ended_by) == ("s1", START + 120 * SECOND, None)
    assert event_words(end) == (
        f"silence s1 of ada (upgrade) has ended at {iso(START + 120 * SECOND)}: service=cart; "
        "it held back no incident"
    )


def test_what_a_silence_held_back_is_told_when_it_ends_whoever_ended_it() -> None:
    """Also what is over by then, and after a restart in between."""
    made, again = stage(), stage()
    made.process(batches([], until=10))
    made.command([silenced("service=~cart|smtp", until=9_000)])
    events = made.process(batches([anomaly("cart", at=10), anomaly("smtp", at=10)], until=2_000))
    held = {event.incident_id for event in events}
    assert len(held) == 2
    assert {e.incident.silences for e in events} == {("s1",)}
    again.restore(made.snapshot())
    again.command([ask("unsilence", id="s2", into="s1", actor="bob")])
    [end] = again.silence_events
    assert (set(end.incidents), end.ended_by) == (held, "bob")
    assert end.services == ("cart", "smtp")
    assert set(end.still_open) == {i.id for i in again.incidents() if i.resolved_ms is None}
    assert "was ended by bob" in event_words(end)
    assert "held back 2 incidents: INC-" in event_words(end)


@pytest.mark.parametrize("step", [10, 60, 800])
def test_the_end_of_a_maintenance_window_is_announced_however_far_apart_batches_are(
    step: int,
) -> None:
    made = stage(rules=planned(hours=0.1))  # ends five minutes after the start
    for until in range(0, 801, step):
        made.process(batches([], until=until))
    [end] = made.silence_events
    assert end.silence.id.startswith("upgrade/")
    assert end.time_ms == START + 300 * SECOND


def test_of_a_window_that_recurs_each_turn_is_announced_with_what_it_held_back() -> None:
    made = stage(rules=planned(hours=0.1, rrule="FREQ=HOURLY;BYMINUTE=2,12,22,32,42,52"))
    events = made.process(batches([anomaly("cart", at=0)], until=2_000))
    assert events[0].incident.silenced_by is not None
    assert [len(end.incidents) for end in made.silence_events] == [1, 0, 0]
    assert len({end.silence.id for end in made.silence_events}) == 3


@pytest.mark.parametrize("step", [10, 60, 4_000])
def test_a_silence_is_announced_to_end_a_while_before_and_once(step: int) -> None:
    made = stage()
    made.process(batches([], until=10))
    made.command([silenced("service=cart", until=3_600)])
    for until in range(10, 4_011, step):
        made.process(batches([], until=until))
        made.restore(made.snapshot())
    ending, ended = made.silence_events
    assert (ending.type, ended.type) == ("ending", "ended")
    assert ending.time_ms == START + 2_700 * SECOND
    assert len({ending.id, ended.id}) == 2
    assert f"ends at {iso(START + 3_600 * SECOND)}: service=cart" in event_words(ending)


@pytest.mark.parametrize("second", range(10))
def test_that_a_silence_ends_soon_is_said_once_wherever_in_a_window_that_falls(second: int) -> None:
    made = stage()
    made.process(batches([], until=10))
    made.command([silenced("service=cart", until=1_200 + second)])
    for until in range(10, 600, 10):
        made.process(batches([], until=until))
    assert [event.type for event in made.silence_events] == ["ending"]


def test_a_silence_that_is_as_short_as_the_announcement_is_told_at_its_end_alone() -> None:
    made = stage()
    made.process(batches([], until=10))
    made.command([silenced("service=cart", until=900)])
    for until in range(10, 2_000, 10):
        made.process(batches([], until=until))
    assert [event.type for event in made.silence_events] == ["ended"]


def test_a_maintenance_window_is_announced_to_end_as_what_was_planned() -> None:
    made = stage(rules=planned(hours=1))
    for until in range(0, 4_000, 10):
        made.process(batches([], until=until))
    assert [(e.type, e.planned) for e in made.silence_events] == [("ending", True), ("ended", True)]


def test_a_silence_whose_end_is_moved_ends_then_and_is_announced_again() -> None:
    made = stage()
    made.process(batches([], until=10))
    made.command([silenced("service=cart", until=3_600)])
    for until in range(10, 3_000, 10):
        made.process(batches([], until=until))
    later = START + 7_200 * SECOND
    made.command([ask("silence", id="s2", into="s1", to_ms=later, actor="bob")])
    assert made.refused == []
    for until in range(3_000, 8_000, 10):
        made.process(batches([], until=until))
    assert [(e.type, e.time_ms) for e in made.silence_events] == [
        ("ending", START + 2_700 * SECOND),
        ("ending", START + 6_300 * SECOND),
        ("ended", later),
    ]


@pytest.mark.parametrize(
    ("into", "until", "says"),
    [("s1", 5, "that is to come"), ("s9", 9_000, "no silence s9")],
)
def test_an_end_that_cannot_be_moved_is_refused(into: str, until: int, says: str) -> None:
    made = stage()
    made.process(batches([], until=10))
    made.command([silenced("service=cart", until=3_600)])
    made.command([ask("silence", id="s2", into=into, to_ms=START + until * SECOND)])
    assert [says in refusal.text for _, refusal in made.refused] == [True]


def test_the_services_that_matchers_name_are_those_of_the_catalogue() -> None:
    def named(*matchers: str) -> list[str]:
        silence = Silence(id="s1", matchers=matchers, starts_ms=0, ends_ms=1, author="ada")
        return named_services(silence, ("cart", "smtp", "web"))

    assert named("service=~cart|web", "kind=latency") == ["cart", "web"]
    assert named("service!=cart", "service!=web") == ["smtp"]
    assert named("kind=latency") == []


def test_silences_survive_a_restart() -> None:
    made, again = stage(), stage()
    made.process(batches([], until=10))
    made.command([silenced("service=cart")])
    again.restore(made.snapshot())
    more = batches([anomaly("cart", at=20)], until=1_000)
    events = made.process(more)
    assert states(events)[0] == ("opened", True)
    assert as_bytes(events) == as_bytes(again.process(more))


def test_how_far_apart_batches_are_does_not_move_the_end_of_a_silence() -> None:
    def said(step: int) -> bytes:
        made: IncidentStage = stage(rules=planned(hours=0.1))
        anomalies = lasting(600)
        events = []
        for at in range(0, 600, step):
            part = [a for a in anomalies if at <= (a.window_start_ms - START) / SECOND < at + step]
            events += made.process(batches(part, until=at + step))
        return as_bytes(events)

    assert said(600) == said(60) == said(20)
