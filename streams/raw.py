"""The one flat record that every raw event is read into on its way to its window."""

from typing import Annotated

import msgspec
from msgspec import Meta

MAX_NAME_CHARACTERS = 256
LARGEST_VALUE = 1e300  # sums of as many as can come in a window stay finite
LONGEST_SECONDS = 1e8  # three years
EARLIEST_MS = 946_684_800_000  # 2000-01-01
LATEST_MS = 4_102_444_800_000  # 2100-01-01


class Raw(msgspec.Struct, gc=False):
    """Any raw event: all fields of the wire format, all optional; `time` in Unix milliseconds.

    One flat type instead of one a kind, since a record does not say its kind and reading it twice
    would cost as much as folding it. What nothing uses (`trace_id`) is not read.
    """

    time: int | None = None
    service: str | None = None
    instance: str | None = None
    metric: str | None = None
    value: float | None = None
    severity: int | str | None = None
    body: str | None = None
    operation: str | None = None
    caller: str | None = None
    duration_seconds: float | None = None
    client_duration_seconds: float | None = None
    status: int | str | None = None
    requests: int | None = None
    errors: int | None = None


_Name = Annotated[str, Meta(max_length=MAX_NAME_CHARACTERS)]
_Seconds = Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)]


class SoundRaw(Raw, gc=False, kw_only=True):
    """A raw event all of whose fields are within their bounds, which decoding makes sure of."""

    time: Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS)]
    service: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
    instance: _Name | None = None
    metric: _Name | None = None
    value: Annotated[float, Meta(ge=-LARGEST_VALUE, le=LARGEST_VALUE)] | None = None
    operation: _Name | None = None
    caller: _Name | None = None
    duration_seconds: _Seconds | None = None
    client_duration_seconds: _Seconds | None = None
