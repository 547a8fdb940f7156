"""Calendars as other tools write them: cancelled, declined, broken and endless events."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.configuration import Notifier, Recipient
from schemas.oncall import Layer, Schedule
from schemas.times import DAY_MS
from sinks.notifier.oncall import Roster
from sinks.notifier.oncall.calendar import MAX_SLOTS, OnCallCalendar
from sinks.notifier.oncall.files import Rosters
from tests.sinks.notifier.oncall.test_roster import ms

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
FROM_MS, UNTIL_MS = ms("2026-11-01", UTC), ms("2026-12-01", UTC)
KNOWN = {"ada@example.org": "ada", "grace@example.org": "grace", "ada": "ada"}
ENDLESS = ("DTSTART:20261101T000000Z", "DTEND:99991231T000000Z", "SUMMARY:Ada")
DAY = ("DTSTART:20261110T090000Z", "DTEND:20261111T090000Z")


def event(*lines: str, uid: str = "one") -> list[str]:
    return ["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", *lines, "END:VEVENT"]


def text(*events: list[str]) -> bytes:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//y//EN"]
    lines += [line for each in events for line in each]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


def calendar(*events: list[str]) -> OnCallCalendar:
    return OnCallCalendar(text(*events), BERLIN, lambda said: KNOWN.get(said.casefold()))


def on_call(made: OnCallCalendar) -> list[str | None]:
    return [slot.person for slot in made.slots(FROM_MS, UNTIL_MS)]


GOOD = event(*DAY, "ATTENDEE:mailto:grace@example.org", uid="good")


def test_a_cancelled_event_counts_for_nobody() -> None:
    assert on_call(calendar(event(*DAY, "SUMMARY:Ada", "STATUS:CANCELLED"))) == []
    assert on_call(calendar(event(*DAY, "SUMMARY:Ada", "STATUS:CONFIRMED"))) == ["ada"]


def test_one_cancelled_recurrence_leaves_the_others() -> None:
    weekly = event(
        "DTSTART:20261102T090000Z",
        "DTEND:20261103T090000Z",
        "RRULE:FREQ=WEEKLY;COUNT=3",
        "SUMMARY:Ada",
    )
    cancelled = event(
        "RECURRENCE-ID:20261109T090000Z",
        "DTSTART:20261109T090000Z",
        "DTEND:20261110T090000Z",
        "STATUS:CANCELLED",
        "SUMMARY:Ada",
    )
    slots = calendar(weekly, cancelled).slots(FROM_MS, UNTIL_MS)
    assert [slot.start_ms for slot in slots] == [
        ms("2026-11-02T09:00", UTC),
        ms("2026-11-16T09:00", UTC),
    ]


def test_who_has_declined_is_not_on_call() -> None:
    declined = "ATTENDEE;PARTSTAT=DECLINED;CN=Ada:mailto:ada@example.org"
    accepted = "ATTENDEE;PARTSTAT=ACCEPTED:mailto:grace@example.org"
    assert on_call(calendar(event(*DAY, declined, accepted, "SUMMARY:Ada"))) == ["grace"]
    assert on_call(calendar(event(*DAY, declined, "SUMMARY:Ada"))) == []


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (ENDLESS, "its times are too far apart"),
        (("DTSTART:rubbish", "SUMMARY:Ada"), "its DTSTART cannot be read"),
        (("SUMMARY:Ada",), "it has no DTSTART"),
        ((*DAY, "RRULE:FREQ=WHENEVER", "SUMMARY:Ada"), "its RRULE cannot be read"),
        ((*DAY, "RRULE:FREQ=WEEKLY;BYDAY=XX", "SUMMARY:Ada"), "its RRULE cannot be read"),
        (("DTSTART:20200101T000000Z", "RRULE:FREQ=SECONDLY"), "more often than hourly"),
        (("DTSTART:20200101T000000Z", "RRULE:FREQ=MINUTELY;INTERVAL=5"), "more often than hourly"),
        (
            (
                "DTSTART:20200101T000000Z",
                f"RRULE:FREQ=HOURLY;BYMINUTE={','.join(map(str, range(60)))}",
            ),
            "more often than hourly",
        ),
        (("DTSTART:00010101T000000Z", "RRULE:FREQ=HOURLY"), "since before 2010"),
        (("DTSTART:00010101T000000Z", "RRULE:FREQ=DAILY"), "since before 1970"),
        (
            ("DTSTART:20200101T000000Z", "RRULE:FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30"),
            "write it as daily",
        ),
    ],
)
def test_an_unusable_event_is_left_out_and_named_and_the_others_count(
    lines: tuple[str, ...], why: str
) -> None:
    made = calendar(event(*lines, uid="bad"), GOOD)
    assert on_call(made) == ["grace"]
    (complaint,) = made.complaints()
    assert complaint.startswith("event 'bad' is left out: ")
    assert why in complaint
    roster = Roster(Schedule(name="shop"), {"team.ics": made})
    assert roster.complaints(FROM_MS, UNTIL_MS) == [f"calendar team.ics {complaint}"]


def test_an_unknown_zone_is_said() -> None:
    there = ("DTSTART;TZID=Mars/Olympus:20261110T090000", "DTEND;TZID=Mars/Olympus:20261111T090000")
    made = calendar(event(*there, "SUMMARY:Ada"))
    assert [slot.start_ms for slot in made.slots(FROM_MS, UNTIL_MS)] == [ms("2026-11-10T09:00")]
    assert made.complaints() == [
        "names the unknown zone Mars/Olympus; Europe/Berlin is taken for it"
    ]
    assert calendar(GOOD).complaints() == []


def test_so_many_events_are_cut_off_and_that_is_said() -> None:
    many = [event(*DAY, "SUMMARY:Ada", uid=str(number)) for number in range(MAX_SLOTS + 1)]
    made = calendar(*many)
    assert len(made.slots(FROM_MS, UNTIL_MS)) == MAX_SLOTS
    assert made.complaints() == [
        f"has more than {MAX_SLOTS} shifts at once; later ones are left out"
    ]


def test_a_calendar_that_changes_to_an_endless_event_ends_nothing(tmp_path: Path) -> None:
    file = tmp_path / "team.ics"
    file.write_bytes(text(GOOD))
    section = Notifier(
        recipients=(
            Recipient(name="ada", channel="console"),
            Recipient(name="grace", channel="console", address="grace@example.org"),
        ),
        schedules=(
            Schedule(
                name="shop",
                calendars=(str(file),),
                layers=(Layer(people=("ada",), start="2026-01-05"),),
            ),
        ),
    )
    rosters = Rosters(section)
    at_ms = ms("2026-11-10T12:00", UTC)
    assert rosters.person("shop", at_ms) == "grace"
    file.write_bytes(text(event(*ENDLESS)))
    rosters.refresh()
    assert rosters.person("shop", at_ms) == "ada"
    assert "too far apart" in rosters["shop"].complaints(at_ms, at_ms + DAY_MS)[0]
