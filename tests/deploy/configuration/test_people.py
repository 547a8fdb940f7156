"""Mistakes in schedules and escalations are named with file and line, all at once."""

from pathlib import Path

import pytest

from deploy.configuration import load
from deploy.configuration.mistakes import ConfigurationError

GOOD = """notifier:
  recipients:
    - {name: ada, channel: console, roles: [lead], time_zone: Europe/Berlin}
    - {name: grace, channel: console}
  schedules:
    - name: shop
      time_zone: Europe/Berlin
      layers: [{people: [ada, grace], start: 2026-03-16}]
      overrides: [{person: ada, start: 2026-11-24T18:00, until: 2026-11-25}]
      calendars: [team.ics]
  escalations:
    - name: shop first
      steps: [{notify: [shop]}, {notify: [grace], after_minutes: 10}]
  cadence: {escalate_to: [shop]}
  routes:
    - {name: all, recipients: [shop], roles: [lead], escalation: shop first}
"""
CALENDAR = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\nEND:VCALENDAR\r\n"


def mistakes(folder: Path, text: str) -> list[str]:
    file = folder / "tocsin.yaml"
    file.write_text(text)
    (folder / "team.ics").write_text(CALENDAR)
    with pytest.raises(ConfigurationError) as raised:
        load(file, {})
    return [f"{made.line} {made.path}: {made.message}" for made in raised.value.mistakes]


def test_a_good_file_is_taken_and_its_calendars_are_found_beside_it(tmp_path: Path) -> None:
    (tmp_path / "tocsin.yaml").write_text(GOOD)
    (tmp_path / "team.ics").write_text(CALENDAR)
    (schedule,) = load(tmp_path / "tocsin.yaml", {}).notifier.schedules
    assert schedule.calendars == (str(tmp_path / "team.ics"),)


@pytest.mark.parametrize(
    ("good", "bad", "line", "said"),
    [
        ("people: [ada, grace]", "people: [ada, bob]", 8, "'bob' is none of the recipients"),
        ("start: 2026-03-16", "start: '2026-02-30'", 8, "'2026-02-30' is no day"),
        ("until: 2026-11-25", "until: 2026-11-23", 9, "2026-11-23 is not after 2026-11-24T18:00"),
        ("notify: [shop]", "notify: [shp]", 13, "'shp' is none of the recipients and schedules"),
        ("escalation: shop first", "escalation: x", 16, "'x' is none of the escalations"),
        (
            "roles: [lead], escalation",
            "roles: [boss], escalation",
            16,
            "'boss' is none of the roles",
        ),
        ("{name: ada,", '{name: " ",', 3, "recipients[0].name: is empty"),
        ("{name: ada,", '{name: "a\\nda",', 3, "recipients[0].name: has a line break"),
        ("calendars: [team.ics]", "calendars: [none.ics]", 10, "none.ics cannot be read"),
        ("escalate_to: [shop]", "escalate_to: [you]", 14, "'you' is none of"),
        ("- name: shop\n", "- name: ada\n", 6, "'ada' is a recipient's name too"),
        (
            "name: shop\n      time_zone: Europe/Berlin",
            "name: shop\n      time_zone: Mars/Base",
            7,
            "'Mars/Base' is no time zone",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, good: str, bad: str, line: int, said: str
) -> None:
    found = mistakes(tmp_path, GOOD.replace(good, bad))
    assert any(each.startswith(f"{line} ") and said in each for each in found), found


def test_more_than_five_repeats_are_refused(tmp_path: Path) -> None:
    text = GOOD.replace("- name: shop first", "- name: shop first\n      repeats: 6")
    assert any("repeats" in each and "at most 5" in each for each in mistakes(tmp_path, text))


def test_a_date_that_is_in_no_calendar_is_a_mistake_and_no_crash(tmp_path: Path) -> None:
    (made,) = mistakes(tmp_path, GOOD.replace("start: 2026-03-16", "start: 2026-02-30"))
    assert made == "8 : here stands a date that is in no calendar"
