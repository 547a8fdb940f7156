"""Times that people give on the command line."""

import pytest

from schemas.times import moment_of

NOW_MS = 1_764_000_000_000


@pytest.mark.parametrize(
    ("when", "expected_ms"),
    [
        ("45m", NOW_MS + 45 * 60_000),
        ("2h", NOW_MS + 7_200_000),
        ("1h30m", NOW_MS + 5_400_000),
        ("2025-11-24T18:00+01:00", 1_764_003_600_000),
        ("2025-11-24T17:00:00Z", 1_764_003_600_000),
    ],
)
def test_a_span_from_now_or_a_time_with_its_zone_is_understood(when: str, expected_ms: int) -> None:
    assert moment_of(when, NOW_MS) == expected_ms


@pytest.mark.parametrize("when", ["", "soon", "2026-11-24T18:00", "0m", "90"])
def test_what_is_no_moment_is_refused_with_a_way_to_mend_it(when: str) -> None:
    with pytest.raises(ValueError, match="such as 45m"):
        moment_of(when, NOW_MS)
