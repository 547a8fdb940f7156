"""Times, lengths, figures and lists as people of a language and a zone write them."""

import pytest

from sinks.notifier.language import Language

AT_MS = 1_764_000_000_000  # 2025-11-24T16:00:00Z
NARROW = "\u202f"


@pytest.mark.parametrize(
    ("code", "zone", "expected"),
    [
        ("en", "UTC", "24 November 2025, 16:00 UTC"),
        ("en", "Europe/Berlin", "24 November 2025, 17:00 CET"),
        ("en_US", "America/New_York", "November 24, 2025, 11:00\u202fAM EST"),
        ("de", "Europe/Berlin", "24. November 2025, 17:00 MEZ"),
        ("fr", "Europe/Paris", "24 novembre 2025, 17:00 CET"),
        ("fr", "America/Sao_Paulo", "24 novembre 2025, 13:00 UTC-03"),
    ],
)
def test_moments_are_of_the_readers_language_and_zone(code: str, zone: str, expected: str) -> None:
    assert Language(code, zone).moment(AT_MS) == expected


def test_summer_time_is_named_and_kept() -> None:
    berlin = Language("de", "Europe/Berlin")
    before_ms, after_ms = 1_792_888_200_000, 1_792_891_800_000  # 25 October 2026, 00:30 and 01:30 Z
    assert berlin.clock(before_ms) == "02:30 MESZ"
    assert berlin.clock(after_ms) == "02:30 MEZ"


def test_a_span_has_its_date_once_where_one_is_enough() -> None:
    french, english = Language("fr", "UTC"), Language("en", "UTC")
    assert french.span(AT_MS, AT_MS + 60_000) == "le 24 novembre 2025, de 16:00 à 16:01 UTC"
    assert english.span(AT_MS, AT_MS + 43_200_000) == (
        "24 November 2025, 16:00 UTC to 25 November 2025, 04:00 UTC"
    )


def test_a_time_of_another_day_has_its_date() -> None:
    english = Language("en", "UTC")
    assert english.near(AT_MS + 60_000, AT_MS) == "16:01 UTC"
    assert english.near(AT_MS + 43_200_000, AT_MS) == "25 November 2025, 04:00 UTC"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 seconds"),
        (59, "59 seconds"),
        (75, "1 minute 15 seconds"),
        (3600, "1 hour"),
        (3660, "1 hour 1 minute"),
        (90_061, "1 day 1 hour"),
        (86_405, "1 day"),
    ],
)
def test_lengths_of_time_read_well(seconds: float, expected: str) -> None:
    assert Language().duration(seconds) == expected


def test_lengths_without_seconds() -> None:
    assert Language("de").about(20) == "weniger als eine Minute"
    assert Language("de").about(130) == "2 Minuten"


def test_figures_read_well() -> None:
    english, german, french = Language("en"), Language("de"), Language("fr")
    assert [english.percent(r) for r in (0, 0.0031, 0.08, 0.5, 1)] == [
        "0 %",
        "0.31 %",
        "8 %",
        "50 %",
        "100 %",
    ]
    assert [lang.number(12_040) for lang in (english, german, french)] == [
        "12,040",
        "12.040",
        f"12{NARROW}040",
    ]
    assert german.measure(0.2571, "s") == "257 ms"
    assert german.measure(3_140_000, "B") == "3,14 MB"
    assert german.measure(12.5, "/s") == "12,5/s"


def test_lists_read_well() -> None:
    english = Language()
    assert english.words(("a",)) == "a"
    assert english.words(("a", "b", "c")) == "a, b and c"
    assert english.words(tuple("abcdefg")) == "a, b, c, d and 3 more"
    assert english.short(("a", "b")) == "a and b"
    assert english.short(("a", "b", "c")) == "a, b and c"
    assert english.short(("a", "b", "c", "d")) == "a, b and 2 more"
    assert Language("de").quoted(("a", "b")) == "„a“ und „b“"


def test_what_is_no_language_is_refused() -> None:
    with pytest.raises(ValueError, match="no language"):
        Language("xx-nothing")
