"""Who is on call: rotations over daylight saving, overrides, swaps, calendars and gaps."""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.oncall import Hours, Layer, Override, Schedule, Swap
from schemas.times import DAY_MS
from sinks.notifier.oncall import Roster, Shift
from sinks.notifier.oncall.calendar import CalendarError, OnCallCalendar
from sinks.notifier.oncall.walltime import WallTimeError

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_MS = 3_600_000


def ms(text: str, zone: ZoneInfo = BERLIN) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


def wall(at_ms: int, zone: ZoneInfo = BERLIN) -> str:
    return datetime.fromtimestamp(at_ms / 1000, zone).strftime("%Y-%m-%d %H:%M")


def is_at(hour: int, at_ms: int, zone: ZoneInfo) -> bool:
    """Whether it is the full hour, or as soon after it as the clocks have been put forward."""
    local = datetime.fromtimestamp(at_ms / 1000, zone)
    nominal = local.replace(hour=hour, minute=0)
    return nominal.timestamp() * 1000 == at_ms


def weekly(**changes: object) -> Schedule:
    fields: dict[str, object] = {
        "name": "shop",
        "time_zone": "Europe/Berlin",
        "layers": (Layer(people=("ada", "grace"), start="2026-03-16"),),
    }
    return Schedule(**(fields | changes))  # type: ignore[arg-type]


def people(roster: Roster, start: str, until: str) -> list[tuple[str, str | None]]:
    return [(wall(s.start_ms), s.person) for s in roster.shifts(ms(start), ms(until))]


def test_a_weekly_hand_over_is_at_nine_before_and_after_the_clocks_change() -> None:
    roster = Roster(weekly())
    assert people(roster, "2026-03-16T09:00", "2026-04-13T09:00") == [
        ("2026-03-16 09:00", "ada"),
        ("2026-03-23 09:00", "grace"),
        ("2026-03-30 09:00", "ada"),  # summer time began on 29 March
        ("2026-04-06 09:00", "grace"),
    ]
    before, over, after, _ = roster.shifts(ms("2026-03-16T09:00"), ms("2026-04-13T09:00"))
    lengths = [(s.until_ms - s.start_ms) // HOUR_MS for s in (before, over, after)]
    assert lengths == [168, 167, 168]


def test_autumn_gives_the_hour_back() -> None:
    roster = Roster(weekly())
    shift = roster.at(ms("2026-10-24T12:00"))
    assert (wall(shift.start_ms), wall(shift.until_ms)) == ("2026-10-19 09:00", "2026-10-26 09:00")
    assert shift.until_ms - shift.start_ms == 169 * HOUR_MS


def test_a_hand_over_that_the_clock_skips_is_at_the_first_moment_after() -> None:
    layer = Layer(people=("ada", "grace"), start="2026-03-28", rotation="daily", hand_over="02:30")
    roster = Roster(weekly(layers=(layer,)))
    shift = roster.at(ms("2026-03-29T12:00"))
    assert (wall(shift.start_ms), shift.person) == ("2026-03-29 03:30", "grace")
    assert roster.at(shift.start_ms - 1).person == "ada"


def test_nobody_is_on_call_before_a_rotation_begins() -> None:
    roster = Roster(weekly())
    assert roster.at(ms("2026-03-16T08:59")).person is None
    assert roster.at(ms("2026-03-16T09:00")).person == "ada"


def test_a_later_layer_covers_an_earlier_one_in_its_hours_only() -> None:
    nights = Layer(
        people=("night",),
        start="2026-03-01",
        rotation="daily",
        hours=(Hours(start="22:00", until="06:00", days=("friday",)),),
    )
    roster = Roster(weekly(layers=(*weekly().layers, nights)))
    assert roster.at(ms("2026-03-20T21:59")).person == "ada"
    assert roster.at(ms("2026-03-20T22:00")).person == "night"
    assert roster.at(ms("2026-03-21T05:59")).person == "night"
    assert roster.at(ms("2026-03-21T06:00")).person == "ada"
    assert roster.at(ms("2026-03-21T23:00")).person == "ada"


def test_an_override_takes_over_and_gives_back() -> None:
    override = Override(person="linus", start="2026-03-18T18:00", until="2026-03-19T08:00")
    roster = Roster(weekly(overrides=(override,)))
    assert people(roster, "2026-03-18T00:00", "2026-03-20T00:00") == [
        ("2026-03-18 00:00", "ada"),
        ("2026-03-18 18:00", "linus"),
        ("2026-03-19 08:00", "ada"),
    ]


def test_a_swap_turns_two_people_round_and_leaves_others() -> None:
    swap = Swap(people=("ada", "grace"), start="2026-03-16", until="2026-03-30T09:00")
    override = Override(person="linus", start="2026-03-17", until="2026-03-18")
    roster = Roster(weekly(swaps=(swap,), overrides=(override,)))
    assert people(roster, "2026-03-16T09:00", "2026-03-31T00:00") == [
        ("2026-03-16 09:00", "grace"),
        ("2026-03-17 00:00", "linus"),
        ("2026-03-18 00:00", "grace"),
        ("2026-03-23 09:00", "ada"),
        ("2026-03-30 09:00", "ada"),
    ]


def test_who_is_next_is_the_next_shift_of_somebody() -> None:
    roster = Roster(weekly())
    following = roster.next_after(ms("2026-03-18T12:00"))
    assert following is not None
    assert (wall(following.start_ms), following.person) == ("2026-03-23 09:00", "grace")
    alone = Roster(weekly(layers=()))
    assert alone.next_after(ms("2026-03-18T12:00")) is None


def test_who_stays_on_by_another_source_is_not_next() -> None:
    override = Override(person="ada", start="2026-03-18T10:00", until="2026-03-18T18:00")
    roster = Roster(weekly(overrides=(override,)))
    following = roster.next_after(ms("2026-03-18T12:00"))
    assert following is not None
    assert (wall(following.start_ms), following.person) == ("2026-03-23 09:00", "grace")


def test_of_swaps_at_one_time_the_later_one_counts() -> None:
    first = Swap(people=("ada", "grace"), start="2026-03-16", until="2026-03-30")
    later = Swap(people=("ada", "linus"), start="2026-03-18", until="2026-03-19")
    roster = Roster(weekly(swaps=(first, later)))
    assert roster.at(ms("2026-03-17T12:00")).person == "grace"
    assert roster.at(ms("2026-03-18T12:00")).person == "linus"


def test_gaps_are_found_to_the_minute() -> None:
    office = Layer(people=("ada",), start="2026-03-02", hours=(Hours(),))
    gaps = Roster(weekly(layers=(office,))).gaps(ms("2026-03-16T12:00"), ms("2026-03-17T12:00"))
    assert [(wall(g.start_ms), wall(g.until_ms)) for g in gaps] == [
        ("2026-03-16 17:00", "2026-03-17 09:00")
    ]


def calendar(body: str) -> OnCallCalendar:
    head = ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//y//EN")
    text = "\r\n".join((*head, *body.splitlines(), "END:VCALENDAR", ""))
    known = {"ada@example.org": "ada", "grace": "grace"}
    return OnCallCalendar(text.encode(), BERLIN, lambda said: known.get(said.casefold()))


RECURRING = """BEGIN:VEVENT
UID:1
DTSTAMP:20260101T000000Z
DTSTART;TZID=Europe/Berlin:20260316T090000
DTEND;TZID=Europe/Berlin:20260323T090000
RRULE:FREQ=WEEKLY;INTERVAL=2
EXDATE;TZID=Europe/Berlin:20260413T090000
SUMMARY:On call
ATTENDEE;CN=Ada L:mailto:Ada@example.org
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTAMP:20260101T000000Z
DTSTART;VALUE=DATE:20260401
DTEND;VALUE=DATE:20260403
SUMMARY:Grace
END:VEVENT"""


def test_a_calendar_recurs_at_the_same_local_time_and_knows_exceptions() -> None:
    roster = Roster(weekly(layers=()), {"team.ics": calendar(RECURRING)})
    assert people(roster, "2026-03-16T09:00", "2026-04-20T00:00") == [
        ("2026-03-16 09:00", "ada"),
        ("2026-03-23 09:00", None),
        ("2026-03-30 09:00", "ada"),
        ("2026-04-01 00:00", "grace"),
        ("2026-04-03 00:00", "ada"),
        ("2026-04-06 09:00", None),
    ]


def test_a_calendar_counts_more_than_the_layers_and_a_stranger_in_it_nothing() -> None:
    stranger = RECURRING.replace("mailto:Ada@", "mailto:who@").replace("SUMMARY:Grace", "SUMMARY:X")
    roster = Roster(weekly(), {"team.ics": calendar(stranger)})
    assert roster.at(ms("2026-04-01T12:00")) == Roster(weekly()).at(ms("2026-04-01T12:00"))
    assert roster.strangers(ms("2026-03-16"), ms("2026-04-20")) == ["who@example.org", "X"]
    known = Roster(weekly(), {"team.ics": calendar(RECURRING)})
    assert known.at(ms("2026-04-01T12:00")).source == "calendar team.ics"


@pytest.mark.parametrize("text", [b"", b"hello", b"BEGIN:VCALENDAR", b"\xff\xfe\x00"])
def test_what_is_no_calendar_is_refused(text: bytes) -> None:
    with pytest.raises(CalendarError):
        OnCallCalendar(text, BERLIN, lambda said: said)


def test_zones_and_days_that_there_are_not_are_named() -> None:
    with pytest.raises(WallTimeError, match="'Europe/Atlantis' is no time zone"):
        Roster(weekly(time_zone="Europe/Atlantis"))
    with pytest.raises(WallTimeError, match="'2026-02-30'"):
        Roster(weekly(layers=(Layer(people=("ada",), start="2026-02-30"),)))


zones = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]
)


@given(
    zones,
    st.sampled_from(["daily", "weekly"]),
    st.integers(1, 3),
    st.integers(0, 23),
    st.integers(ms("2026-01-01"), ms("2027-01-01")),
)
def test_shifts_have_no_holes_and_agree_with_each_moment(
    zone: str, rotation: str, every: int, hour: int, from_ms: int
) -> None:
    layer = Layer(
        people=("a", "b", "c"),
        start="2025-12-29",
        rotation=rotation,  # type: ignore[arg-type]
        every=every,
        hand_over=f"{hour:02}:00",
    )
    roster = Roster(Schedule(name="s", time_zone=zone, layers=(layer,)))
    until_ms = from_ms + 20 * DAY_MS
    shifts = roster.shifts(from_ms, until_ms)
    assert shifts[0].start_ms == from_ms
    assert shifts[-1].until_ms == until_ms
    for shift, following in pairwise(shifts):
        assert shift.until_ms == following.start_ms
        assert shift.person != following.person
        assert is_at(hour, following.start_ms, ZoneInfo(zone))
    for shift in shifts:
        assert_same(roster, shift)


def assert_same(roster: Roster, shift: Shift) -> None:
    for moment_ms in (shift.start_ms, shift.until_ms - 1):
        assert roster.at(moment_ms).person == shift.person
