"""Where a string ends, wherever in a block of bytes that is."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.native.scan import string_end
from streams.packed import PADDING


def end_of(text: bytes) -> tuple[int, bool]:
    """Of a string that begins at the second byte."""
    buffer = np.frombuffer(b"{" + text + PADDING, np.uint8)
    at, escaped = string_end(buffer, 1, len(text) + 1)
    return at - 1, bool(escaped)


@pytest.mark.parametrize("size", range(100))
def test_a_string_of_any_length_ends_at_its_quote(size: int) -> None:
    assert end_of(b"x" * size + b'","b":"c"}') == (size, False)
    assert end_of(b"x" * size)[0] < 0, "without a quote"


@pytest.mark.parametrize("before", range(70))
def test_what_is_not_plain_is_seen_wherever_it_stands(before: int) -> None:
    x = b"x" * before
    assert end_of(x + b'\\"y"') == (before + 3, True)
    assert end_of(x + "ü€😀".encode() + b'"') == (before + 9, False)
    for wrong in (b"\n", b"\x1f", b"\xff", b"\\u0041", b"\xc3"):
        assert end_of(x + wrong + b'"')[0] < 0, wrong


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_a_string_as_json_has_it_ends_where_json_says(text: str) -> None:
    written = json.dumps(text, ensure_ascii=False).encode()[1:]
    at, escaped = end_of(written + b', "more"')
    assert at == len(written) - 1 if b"\\u" not in written else at < len(written)
    assert escaped == (b"\\" in written) or at < 0
