"""What steers a terminal or hides in a text is replaced before it is printed."""

import pytest

from schemas.printable import one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with\nlines", "plain, with\nlines"),
        ("Größe 3 µs → 40 °C", "Größe 3 µs → 40 °C"),
        ("\x1b[2J\x1b[31mred", "\ufffd[2J\ufffd[31mred"),
        ("over\rwritten\x07\x9b", "over\ufffdwritten\ufffd\ufffd"),
        ("a\u202eb\u2066c\u200bd", "a\ufffdb\ufffdc\ufffdd"),
        ("lone \ud800", "lone \ufffd"),
    ],
)
def test_what_cannot_be_seen_is_shown_as_such(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_one_line_is_one_line() -> None:
    assert one_line(" eve\nWhy\r\nit\tis\u2028P1 ") == "eve Why it is P1"
