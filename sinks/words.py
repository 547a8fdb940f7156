"""Times, lists and what hurts, as every sink tells people of it."""

from collections.abc import Sequence

from schemas.incidents import Signal
from schemas.times import utc


def moment(time_ms: int) -> str:
    """A time with its date: `24 Nov 2026, 14:02 UTC`."""
    at = utc(time_ms)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def clock(time_ms: int) -> str:
    """A time of day: `14:02 UTC`."""
    return f"{utc(time_ms):%H:%M} UTC"


def joined(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


def hurts(signal: Signal) -> bool:
    """Whether customers feel the side on which it is out: slow answers, requests that stay away."""
    if signal.kind == "traffic":
        return signal.value < signal.expected
    return signal.kind not in ("latency", "network") or signal.value >= signal.expected
