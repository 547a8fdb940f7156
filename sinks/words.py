"""What hurts, and in which language somebody wants to read of it, alike for every sink."""

from collections.abc import Sequence

from schemas.incidents import Signal


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
