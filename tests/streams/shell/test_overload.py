"""What is left out when the worker is late, and when it is taken back."""

import pytest

from streams.shell.overload import tier_to_read


@pytest.mark.parametrize(
    ("behind_seconds", "tier"), [(0, None), (59, None), (60, 3), (119, 3), (120, 2), (240, 1)]
)
def test_the_later_the_less_is_read_but_always_the_most_critical(
    behind_seconds: float, tier: int | None
) -> None:
    assert tier_to_read(None, behind_seconds, 60) == tier


def test_nothing_is_taken_back_before_almost_all_is_made_up_for() -> None:
    tier = None
    seen = []
    for behind in (10, 70, 130, 100, 61, 30, 16, 14, 30, 70):
        tier = tier_to_read(tier, behind, 60)
        seen.append(tier)
    assert seen == [None, 3, 2, 2, 2, 2, 2, None, None, 3]


def test_without_a_limit_nothing_is_ever_left_out() -> None:
    assert tier_to_read(None, 1e9, None) is None
    assert tier_to_read(2, 1e9, None) is None, "the option was taken out of the configuration"
