"""What raw topics hold: metric samples, log lines, requests, request counts and heartbeats.

A raw record is one JSON object; which kind it is follows from its fields (see `kind_of` in
`streams.kinds`). Times are Unix milliseconds, UTC.
"""

from typing import Literal

import msgspec

EventKind = Literal["metric", "log", "request", "count", "heartbeat"]


class MetricSample(msgspec.Struct, frozen=True, gc=False):
    """One sample of one metric; the unit is the end of the metric's name."""

    time_ms: int
    service: str
    metric: str
    value: float
    instance: str | None = None


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One log line as its service wrote it."""

    time_ms: int
    service: str
    severity: str
    body: str
    instance: str | None = None
    trace_id: str | None = None


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request, seen by the called service, at its end.

    `client_duration_seconds` is the same call seen by its caller; the difference is network and
    queue. `status` is an HTTP or gRPC status; None where the source records none.
    """

    time_ms: int
    service: str
    operation: str
    duration_seconds: float
    caller: str | None = None
    instance: str | None = None
    client_duration_seconds: float | None = None
    status: int | str | None = None
    trace_id: str | None = None


class RequestCount(msgspec.Struct, frozen=True, gc=False):
    """Requests and errors that a service counted itself since its last report."""

    time_ms: int
    service: str
    requests: int
    errors: int
    operation: str | None = None
    instance: str | None = None


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """Moves the watermark of its partition and says nothing else: `{"time": …}` alone."""

    time_ms: int


Event = MetricSample | LogLine | Request | RequestCount | Heartbeat


class DeadLetter(msgspec.Struct, frozen=True):
    """A raw record that could not be used, with where it stood and why.

    The shell writes `value` untouched to the dead-letter topic; the rest goes into headers.
    `reason` is one word of a bounded set (a metric label), `message` says what, where and how to
    mend it and holds no payload text.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    message: str
    stage: Literal["VALUE_CONVERTER", "TRANSFORMATION"]
    key: bytes | None
    value: bytes | None
    timestamp_ms: int | None = None

    @property
    def id(self) -> str:
        """The source coordinates: the same record gives the same id after every restart."""
        return f"{self.topic}/{self.partition}/{self.offset}"
