"""A text has one number, wherever it stands and whatever stands around it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.native.tables import FULL, Texts, number_of_text, text_of, texts
from streams.packed import PADDING


def number(table: Texts, text: bytes, *, zeroed: bool = False, around: bytes = b"") -> int:
    buffer = np.frombuffer(around + text + around + PADDING, np.uint8)
    return int(number_of_text(table, buffer, len(around), len(around) + len(text), zeroed))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=100), max_size=30), st.binary(max_size=70))
def test_a_text_has_one_number_whatever_stands_around_it(
    written: list[bytes], around: bytes
) -> None:
    table = texts(64, 128)
    numbers = [number(table, text) for text in written]
    again = [number(table, text, around=around) for text in written]
    assert numbers == again
    assert len(set(numbers)) == len(set(written)) == int(table.used[0])
    assert [text_of(table, n) for n in numbers] == written


@pytest.mark.parametrize("size", range(1, 100))
def test_texts_that_differ_in_one_byte_have_other_numbers(size: int) -> None:
    table = texts(128, 128)
    plain = bytearray(b"x" * size)
    found = {number(table, bytes(plain))}
    for place in range(size):
        plain[place] = ord("y")
        found.add(number(table, bytes(plain)))
        plain[place] = ord("x")
    assert len(found) == size + 1


@settings(deadline=None)
@given(st.text(st.characters(codec="ascii"), max_size=100))
def test_lines_that_differ_in_digits_only_have_one_number(text: str) -> None:
    table = texts(64, 128)
    zeroed = "".join("0" if c in "0123456789" else c for c in text)
    found = number(table, text.encode(), zeroed=True, around=b"7")
    assert number(table, zeroed.encode()) == found
    assert text_of(table, found).decode() == zeroed


def test_a_table_without_room_says_so_and_still_knows_what_it_has() -> None:
    table = texts(2, 32)
    known = [number(table, bytes([65 + i]) * 32) for i in range(2)]
    assert number(table, b"another") == FULL
    assert [number(table, bytes([65 + i]) * 32) for i in range(2)] == known == [0, 1]
