"""What hurts, how long it lasts, and who reads of it in which language, alike for every sink."""

from collections.abc import Sequence
from typing import Literal

from babel import Locale
from babel.units import format_unit

from schemas.incidents import Signal

Length = Literal["short", "long", "narrow"]

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def lasting(seconds: int, locale: Locale, length: Length = "long") -> str:
    """A length of time in its two largest units: `2 hours 5 minutes`."""
    left = max(0, seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(_counted(count, unit, locale, length))
        elif parts:
            break
    return " ".join(parts[:2]) or _counted(0, "second", locale, length)


def _counted(count: int, unit: str, locale: Locale, length: Length) -> str:
    return str(format_unit(count, f"duration-{unit}", length, locale=locale))


def accepted(header: str, codes: Sequence[str]) -> str:
    """The first language of an `Accept-Language` header among `codes`, else the first of those.

    The order in the header counts, not its weights: browsers write what is preferred first.
    """
    parts = (part.partition(";")[0].strip() for part in header.split(","))
    wanted = (part.partition("-")[0].lower() for part in parts)
    return next((code for code in wanted if code in codes), codes[0])


def hurts(signal: Signal) -> bool:
    """Whether customers feel the side on which it is out: slow answers, requests that stay away."""
    if signal.kind == "traffic":
        return signal.value < signal.expected
    return signal.kind not in ("latency", "network") or signal.value >= signal.expected
