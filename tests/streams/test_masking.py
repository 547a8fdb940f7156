"""Lines that differ in values only become one text; severities and statuses one vocabulary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.masking import MASK, Masker
from streams.normalise import is_failure, normal_severity


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("Connected in 35 ms", "Connected in <*> ms"),
        ("ratio 0.25, offset -17", "ratio <*>, offset <*>"),
        ("order e24bb484-516a-4aad-b37f-517e7139e913 paid", "order <*> paid"),
        ("at 2023-01-29T15:38:06.123Z failed", "at <*> failed"),
        ("at 2023-01-29 15:38:06,123 failed", "at <*> <*>,<*> failed"),
        ("commit 0xdeadbeef1 and a1b2c3", "commit <*> and <*>"),
        ("from 10.0.3.17:8080 to pod cart-5c95b49cff-tdsdz", "from <*> to pod <*>"),
        ('user "Ann Lee" not found', "user <*> not found"),
        ("user 'Ann' not found", "user <*> not found"),
        ("can't read, won't write", "can't read, won't write"),
        ("GET /api/v1/carts/77/items", "GET /api/<*>/carts/<*>/items"),
        ("SeatServiceImpl#137 [num:G1236]", "SeatServiceImpl#<*> [num:<*>]"),
        ("line one\n\tat line two", "line one at line two"),
        ("prix: 12 €, größe unverändert", "prix: <*> €, größe unverändert"),
        ("", ""),
    ],
)
def test_what_changes_from_line_to_line_is_masked(body: str, text: str) -> None:
    assert Masker()(body) == text


def test_a_text_is_cut_to_a_bounded_length() -> None:
    assert len(Masker()("word " * 10_000)) <= 400


@given(st.lists(st.text(max_size=60) | st.just("a 1\0b") | st.just("x1" * 600), max_size=20))
def test_many_lines_at_once_are_masked_as_one_by_one(bodies: list[str]) -> None:
    assert Masker().many(bodies) == [Masker()(body) for body in bodies]


@given(st.lists(st.text(max_size=60), max_size=20))
def test_the_mask_depends_on_the_line_alone(bodies: list[str]) -> None:
    used = Masker()
    for body in bodies:
        assert used(body) == Masker()(body)


@given(st.text(alphabet="ab 01:-.\"'", max_size=40))
def test_every_digit_is_masked(body: str) -> None:
    assert not any(c.isdigit() for c in Masker()(body).replace(MASK, ""))


def test_a_hostile_line_takes_no_longer_than_its_length() -> None:
    masker = Masker()
    for body in ("a" * 100_000, "'" * 100_000, '"' * 99_999, "a-" * 50_000, "0." * 50_000):
        masker(body)  # would run into the test's time limit if it were quadratic in the length


@pytest.mark.parametrize(
    ("written", "severity"),
    [
        ("warning", "WARN"),
        (" Warn ", "WARN"),
        ("ERR", "ERROR"),
        ("SEVERE", "ERROR"),
        ("critical", "FATAL"),
        ("Information", "INFO"),
        ("3", "ERROR"),
        (3, "ERROR"),
        (50, "ERROR"),
        (7, "DEBUG"),
        ("", "INFO"),
        ("purple", "INFO"),
        (None, "INFO"),
        (10**30, "INFO"),
    ],
)
def test_severities_are_brought_to_six(written: int | str | None, severity: str) -> None:
    assert normal_severity(written) == severity


@pytest.mark.parametrize(
    ("status", "failed"),
    [
        (200, False),
        (404, False),
        (499, False),
        (500, True),
        (503, True),
        ("503", True),
        (0, False),
        (5, False),
        (14, True),
        ("14", True),
        ("UNAVAILABLE", True),
        ("DEADLINE_EXCEEDED", True),
        ("NOT_FOUND", False),
        ("STATUS_CODE_ERROR", True),
        ("Ok", False),
        ("", None),
        ("purple", None),
    ],
)
def test_only_the_servers_own_failures_count_as_errors(
    status: int | str, failed: bool | None
) -> None:
    assert is_failure(status) is failed
