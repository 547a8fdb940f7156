"""The one flat record that every raw event is read into on its way to its window."""

import msgspec


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
