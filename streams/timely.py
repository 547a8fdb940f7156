"""Whether a record's time can be true."""

from streams.raw import EARLIEST_MS, LATEST_MS
from streams.reject import Rejected
from streams.run import Run


def surely_ms(run: Run, ahead_ms: int) -> int:
    """The latest time that is not too far ahead of any Kafka timestamp of the run (-1: unknown)."""
    least_ms = min(run.timestamps_ms, default=-1) if run.least_ms is None else run.least_ms
    if least_ms < 0:
        least_ms = min((t for t in run.timestamps_ms if t >= 0), default=LATEST_MS)
    return min(least_ms + ahead_ms, LATEST_MS)


def checked(time_ms: int | None, timestamp_ms: int, ahead_ms: int) -> int:
    """The time, if it can be true of a record with this Kafka timestamp. Raises `Rejected`."""
    if time_ms is None:
        raise Rejected("missing_field", "$.time is missing; send Unix milliseconds, or map it")
    if time_ms < 0:
        raise Rejected("negative", "$.time is negative; send Unix milliseconds, UTC")
    if not EARLIEST_MS <= time_ms <= LATEST_MS:
        raise Rejected(
            "out_of_range", "$.time is not between 2000 and 2100; check sources[].time_unit"
        )
    if timestamp_ms >= 0 and time_ms > timestamp_ms + ahead_ms:
        raise Rejected(
            "in_the_future",
            "$.time is further ahead of the record's Kafka timestamp than"
            f" windows.max_ahead_seconds = {ahead_ms / 1_000:g}; check the clock of the sender",
        )
    return time_ms
