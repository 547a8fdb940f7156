"""Identities of series, and which shard of the observations topic a service belongs to."""

from collections.abc import Mapping
from zlib import crc32

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def series_id(name: str, labels: Mapping[str, str | None]) -> str:
    """An identity that reads like a Prometheus selector; labels without a value are left out.

    >>> series_id("requests", {"service": "cart", "operation": "Get", "caller": None})
    'requests{service="cart",operation="Get"}'
    """
    written = (f'{key}="{value.translate(_ESCAPES)}"' for key, value in labels.items() if value)
    return f"{name}{{{','.join(written)}}}"


def shard_of(service: str, shards: int) -> int:
    """The shard that all series of a service share; the same on every machine and in every run."""
    return crc32(service.encode("utf-8", "replace")) % shards
